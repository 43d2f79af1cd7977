// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.15;

import {DemoToken} from "../DemoToken.sol";

/// A token behind a proxy (EIP-1967): its address stays, its code is whatever its admin names.
contract UpgradeableToken {
    bytes32 private constant IMPLEMENTATION = bytes32(uint256(keccak256("eip1967.proxy.implementation")) - 1);
    bytes32 private constant ADMIN = bytes32(uint256(keccak256("eip1967.proxy.admin")) - 1);

    event Upgraded(address indexed implementation);

    error NotAdmin(address caller);

    constructor(address implementation) {
        _store(ADMIN, msg.sender);
        _upgrade(implementation);
    }

    function upgradeTo(address implementation) external {
        if (msg.sender != _load(ADMIN)) revert NotAdmin(msg.sender);
        _upgrade(implementation);
    }

    fallback() external {
        address implementation = _load(IMPLEMENTATION);
        assembly {
            calldatacopy(0, 0, calldatasize())
            let done := delegatecall(gas(), implementation, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if done { return(0, returndatasize()) }
            revert(0, returndatasize())
        }
    }

    function _upgrade(address implementation) private {
        _store(IMPLEMENTATION, implementation);
        emit Upgraded(implementation);
    }

    function _store(bytes32 slot, address value) private {
        assembly {
            sstore(slot, value)
        }
    }

    function _load(bytes32 slot) private view returns (address value) {
        assembly {
            value := sload(slot)
        }
    }
}

/// Behind a proxy nothing is there that a constructor stored: name and symbol are code, and who may mint is as well.
contract UpgradeableTokenV1 is DemoToken("", "", 6) {
    function name() public pure override returns (string memory) {
        return "Upgradeable Dollar";
    }

    function symbol() public pure override returns (string memory) {
        return "UPUSD";
    }

    function version() external pure virtual returns (uint256) {
        return 1;
    }
}

/// The same balances, other rules: now the minter can take anybody's units.
contract UpgradeableTokenV2 is UpgradeableTokenV1 {
    function version() external pure override returns (uint256) {
        return 2;
    }

    function seize(address owner) external {
        if (msg.sender != minter) revert NotMinter(msg.sender);
        _move(owner, minter, _balances[owner]);
    }
}
