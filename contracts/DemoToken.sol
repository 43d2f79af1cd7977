// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.0;

/// A plain ERC-20 token that its deployer mints: the sandbox's demo money, and what the odd tokens of the tests change.
contract DemoToken {
    address public immutable minter;
    uint256 public totalSupply;
    mapping(address owner => mapping(address spender => uint256 units)) public allowance;

    string private _name;
    string private _symbol;
    uint8 private immutable _decimals;
    mapping(address owner => uint256 units) internal _balances;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    error NotMinter(address caller);
    error NoReceiver();
    error TooLittle(address owner, uint256 has, uint256 needs);
    error NotAllowed(address owner, address spender, uint256 has, uint256 needs);

    constructor(string memory name_, string memory symbol_, uint8 decimals_) {
        minter = msg.sender;
        _name = name_;
        _symbol = symbol_;
        _decimals = decimals_;
    }

    function name() public view virtual returns (string memory) {
        return _name;
    }

    function symbol() public view virtual returns (string memory) {
        return _symbol;
    }

    function decimals() public view virtual returns (uint8) {
        return _decimals;
    }

    function balanceOf(address owner) public view virtual returns (uint256) {
        return _balances[owner];
    }

    function transfer(address to, uint256 value) public virtual returns (bool) {
        _move(msg.sender, to, value);
        return true;
    }

    function transferFrom(address from, address to, uint256 value) public virtual returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        if (allowed < value) revert NotAllowed(from, msg.sender, allowed, value);
        allowance[from][msg.sender] = allowed - value;
        _move(from, to, value);
        return true;
    }

    function approve(address spender, uint256 value) public virtual returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function mint(address to, uint256 value) external {
        if (msg.sender != minter) revert NotMinter(msg.sender);
        if (to == address(0)) revert NoReceiver();
        totalSupply += value;
        _balances[to] += value;
        emit Transfer(address(0), to, value);
    }

    function _move(address from, address to, uint256 value) internal virtual {
        _take(from, to, value);
        _balances[to] += value;
        emit Transfer(from, to, value);
    }

    function _take(address from, address to, uint256 value) internal {
        if (to == address(0)) revert NoReceiver();
        uint256 has = _balances[from];
        if (has < value) revert TooLittle(from, has, value);
        _balances[from] = has - value;
    }
}
