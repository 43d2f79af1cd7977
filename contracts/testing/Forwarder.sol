// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

/// A contract wallet: it keeps what it is sent, and pays by a call from inside.
contract Forwarder {
    error Unpaid(address to);

    receive() external payable {}

    function forward(address to, uint256 amount) external payable {
        (bool done,) = to.call{value: amount}("");
        if (!done) revert Unpaid(to);
    }
}
