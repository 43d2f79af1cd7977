// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

/// Pays without a call, by selfdestruct: while it is created, when it is given a receiver, otherwise when told.
contract SelfDestructPayer {
    constructor(address payable to) payable {
        if (to != address(0)) selfdestruct(to);
    }

    function destruct(address payable to) external payable {
        selfdestruct(to);
    }
}
