// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

import {DemoToken} from "../DemoToken.sol";

/// Logs transfers that never happened, in the right form and in wrong ones. It is a token as well, which may be listed.
contract EventForger is DemoToken {
    uint256 private constant FORGED = 10 ** 30;

    constructor(string memory name_, string memory symbol_, uint8 decimals_) DemoToken(name_, symbol_, decimals_) {}

    function forge(address victim) public {
        emit Transfer(msg.sender, victim, FORGED);
    }

    /// Forge, and then move one unit of a real token that this contract holds.
    function forgeBesideReal(address victim, DemoToken real) external {
        forge(victim);
        real.transfer(victim, 1);
    }

    /// As tokens older than ERC-20's final text do: the receiver stands in the data.
    function forgeTwoTopics(address victim) external {
        bytes32 signature = Transfer.selector;
        bytes memory data = abi.encode(victim, FORGED);
        assembly {
            log2(add(data, 32), mload(data), signature, caller())
        }
    }

    /// As ERC-721 does: the last topic is the number of a thing.
    function forgeFourTopics(address victim) external {
        bytes32 signature = Transfer.selector;
        assembly {
            log4(0, 0, signature, caller(), victim, FORGED)
        }
    }

    /// With 31 bytes of data, where an amount has 32.
    function forgeShortData(address victim) external {
        bytes32 signature = Transfer.selector;
        bytes memory data = abi.encode(FORGED);
        assembly {
            log3(add(data, 32), 31, signature, caller(), victim)
        }
    }

    /// With bits above the 160 of the receiver's address.
    function forgeDirtyTopic(address victim) external {
        bytes32 signature = Transfer.selector;
        bytes memory data = abi.encode(FORGED);
        assembly {
            log3(add(data, 32), 32, signature, caller(), or(shl(160, 0xdead), victim))
        }
    }
}
