// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

/// Pays by a call from inside and takes it back by reverting.
contract RevertingPayer {
    error TakenBack();
    error Unpaid(address to);

    /// The whole transaction fails.
    function payAndRevert(address to) external payable {
        (bool done,) = to.call{value: msg.value}("");
        if (!done) revert Unpaid(to);
        revert TakenBack();
    }

    /// The transaction succeeds, the call inside it that paid does not; this contract keeps the ether.
    function payInCallThatReverts(address to) external payable {
        try this.payAndRevert{value: msg.value}(to) {} catch {}
    }
}
