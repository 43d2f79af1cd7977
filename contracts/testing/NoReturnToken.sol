// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

import {DemoToken} from "../DemoToken.sol";

/// Answers nothing where ERC-20 answers true, as USDT on Ethereum does.
contract NoReturnToken is DemoToken {
    constructor(string memory name_, string memory symbol_, uint8 decimals_) DemoToken(name_, symbol_, decimals_) {}

    function transfer(address to, uint256 value) public override returns (bool) {
        super.transfer(to, value);
        return _nothing();
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        super.transferFrom(from, to, value);
        return _nothing();
    }

    function approve(address spender, uint256 value) public override returns (bool) {
        super.approve(spender, value);
        return _nothing();
    }

    /// End the call with an empty answer.
    function _nothing() private pure returns (bool) {
        assembly {
            return(0, 0)
        }
    }
}
