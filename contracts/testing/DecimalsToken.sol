// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

import {DemoToken} from "../DemoToken.sol";

/// Its decimals change when its minter says so; balances and logs stay what they were.
contract DecimalsToken is DemoToken {
    uint8 private _now;

    constructor(string memory name_, string memory symbol_, uint8 decimals_) DemoToken(name_, symbol_, decimals_) {
        _now = decimals_;
    }

    function setDecimals(uint8 decimals_) external {
        if (msg.sender != minter) revert NotMinter(msg.sender);
        _now = decimals_;
    }

    function decimals() public view override returns (uint8) {
        return _now;
    }
}
