// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

import {DemoToken} from "../DemoToken.sol";

/// Keeps 1 % of each transfer for its minter, rounded down.
contract FeeToken is DemoToken {
    /// Whether the log names what was sent, though less arrives; otherwise there are two logs, and both are true.
    bool public immutable logsGross;

    constructor(string memory name_, string memory symbol_, uint8 decimals_, bool logsGross_)
        DemoToken(name_, symbol_, decimals_)
    {
        logsGross = logsGross_;
    }

    function _move(address from, address to, uint256 value) internal override {
        uint256 fee = value / 100;
        _take(from, to, value);
        _balances[to] += value - fee;
        _balances[minter] += fee;
        if (logsGross) {
            emit Transfer(from, to, value);
        } else {
            emit Transfer(from, to, value - fee);
            emit Transfer(from, minter, fee);
        }
    }
}
