// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

import {DemoToken} from "../DemoToken.sol";

/// Pays many at once, as an exchange does: any number of ether amounts and of token amounts in one transaction.
contract BatchPayer {
    error Unpaid(address to);

    /// The tokens must be this contract's own.
    function pay(
        address[] calldata etherTo,
        uint256[] calldata amounts,
        DemoToken token,
        address[] calldata tokenTo,
        uint256[] calldata values
    ) external payable {
        for (uint256 i = 0; i < etherTo.length; i++) {
            (bool done,) = etherTo[i].call{value: amounts[i]}("");
            if (!done) revert Unpaid(etherTo[i]);
        }
        for (uint256 i = 0; i < tokenTo.length; i++) {
            // A bare call: some tokens answer nothing.
            (bool done,) = address(token).call(abi.encodeCall(DemoToken.transfer, (tokenTo[i], values[i])));
            if (!done) revert Unpaid(tokenTo[i]);
        }
    }
}
