// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

/// Calls itself two levels deep with ether. The innermost call pays and succeeds, the middle one reverts, and so the
/// payment never was. Before and after that, a third of the ether is paid for good; the last third stays here.
contract ReenteringPayer {
    error TakenBack();
    error Unpaid(address to);

    function outer(address to) external payable {
        uint256 third = msg.value / 3;
        _pay(to, third);
        try this.middle{value: third}(to) {} catch {}
        _pay(to, third);
    }

    function middle(address to) external payable {
        this.inner{value: msg.value}(to);
        revert TakenBack();
    }

    function inner(address to) external payable {
        _pay(to, msg.value);
    }

    function _pay(address to, uint256 amount) private {
        (bool done,) = to.call{value: amount}("");
        if (!done) revert Unpaid(to);
    }
}
