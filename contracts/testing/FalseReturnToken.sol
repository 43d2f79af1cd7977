// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

import {DemoToken} from "../DemoToken.sol";

/// Answers false to a transfer that lacks the balance, where others revert: the transaction succeeds, nothing moves.
contract FalseReturnToken is DemoToken {
    /// Whether such a transfer is logged all the same.
    bool public immutable logs;

    constructor(string memory name_, string memory symbol_, uint8 decimals_, bool logs_)
        DemoToken(name_, symbol_, decimals_)
    {
        logs = logs_;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        if (value <= _balances[msg.sender]) return super.transfer(to, value);
        if (logs) emit Transfer(msg.sender, to, value);
        return false;
    }
}
