// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

import {DemoToken} from "../DemoToken.sol";

/// Every balance is a share of a supply that its minter moves, up or down, without a log.
contract RebasingToken is DemoToken {
    /// What 100 shares are worth, in units.
    uint256 public percent = 100;

    constructor(string memory name_, string memory symbol_, uint8 decimals_) DemoToken(name_, symbol_, decimals_) {}

    function rebase(uint256 percent_) external {
        if (msg.sender != minter) revert NotMinter(msg.sender);
        percent = percent_;
    }

    function balanceOf(address owner) public view override returns (uint256) {
        return _balances[owner] * percent / 100;
    }

    /// Moves shares, rounded up in favour of who keeps the rest; logs units.
    function _move(address from, address to, uint256 value) internal override {
        uint256 shares = (value * 100 + percent - 1) / percent;
        _take(from, to, shares);
        _balances[to] += shares;
        emit Transfer(from, to, value);
    }
}
