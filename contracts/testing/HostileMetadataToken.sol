// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

import {DemoToken} from "../DemoToken.sol";

/// Answers name() and symbol() with any bytes at all: markup, a megabyte, broken UTF-8, no string.
contract HostileMetadataToken is DemoToken {
    bytes private _head;
    uint256 private immutable _zeros;

    /// `head` is what the answer begins with, its encoding included; `zeros` is how many empty bytes follow.
    constructor(bytes memory head, uint256 zeros) DemoToken("", "", 6) {
        _head = head;
        _zeros = zeros;
    }

    function name() public view override returns (string memory) {
        return _raw();
    }

    function symbol() public view override returns (string memory) {
        return _raw();
    }

    /// End the call with the bytes as they are; memory that nobody wrote is zero.
    function _raw() private view returns (string memory) {
        bytes memory head = _head;
        uint256 size = head.length + _zeros;
        assembly {
            return(add(head, 32), size)
        }
    }
}
