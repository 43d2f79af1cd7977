"""The demo token's calls, written by hand: a sandbox needs no general encoder (contract ABI specification)."""

import json
from importlib.resources import files
from typing import Any


def creation(name: str, symbol: str, decimals: int) -> str:
    """Return what deploys the token, as hex text."""
    texts = [_text(name), _text(symbol)]
    head = [_number(3 * 32), _number(3 * 32 + len(texts[0])), _number(decimals)]
    return str(_artifact()["bytecode"]) + b"".join([*head, *texts]).hex()


def mint(to: str, units: int) -> str:
    """Return the call by which the token's deployer makes units for an address, as hex text."""
    return f"0x{_artifact()['selectors']['mint(address,uint256)']}{int(to, 16):064x}{units:064x}"


def _artifact() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((files("kassa.chains.evm") / "demo_token.json").read_text("utf-8"))
    return read


def _number(value: int) -> bytes:
    return value.to_bytes(32)


def _text(value: str) -> bytes:
    raw = value.encode()
    return _number(len(raw)) + raw.ljust(-(-len(raw) // 32) * 32, b"\0")
