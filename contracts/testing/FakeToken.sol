// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

import {DemoToken} from "../DemoToken.sol";

/// Says of itself what another token says: name, symbol and decimals are the same, the money is not.
contract FakeToken is DemoToken {
    constructor(DemoToken real) DemoToken(real.name(), real.symbol(), real.decimals()) {}
}
