"""How the contracts behind the tokens look now: their decimals, their code, and the code behind a proxy."""

from collections.abc import Sequence

from kassa.chains.evm.hexadecimal import data
from kassa.chains.evm.keccak import keccak
from kassa.chains.evm.messages import Names
from kassa.chains.evm.state import is_failed
from kassa.chains.rpc import Call, Fault, JsonRpc
from kassa.core.facts import Contract

_DECIMALS = "0x313ce567"  # decimals()
_IMPLEMENTATION = "0x5c60da1b"  # implementation(), of a beacon
_SLOTS = (
    "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc",  # EIP-1967, the code behind a proxy
    "0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50",  # EIP-1967, a beacon that names it
    "0x7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3",  # before the standard: USDC's
)
_NOBODY = bytes(20)


async def look(rpc: JsonRpc, names: Names, block: str) -> Sequence[Contract]:
    """Return how each token's contract looks after one block."""
    at = {"blockHash": block}
    found = []
    for contract, asset in names.tokens.items():
        calls: list[Call] = [("eth_call", ({"to": contract, "data": _DECIMALS}, at)), ("eth_getCode", (contract, at))]
        calls += [("eth_getStorageAt", (contract, slot, at)) for slot in _SLOTS]
        decimals, code, *slots = await rpc.batch_raw(calls)
        parts = [_hash(_bytes(rpc, code, "eth_getCode"))]
        for slot in slots:
            behind = _bytes(rpc, slot, "eth_getStorageAt").rjust(32, b"\0")[-20:]
            if behind != _NOBODY:
                parts.append(await _behind(rpc, behind, at))
        found.append(Contract(asset, _decimals(rpc, decimals), "+".join(parts)))
    return found


async def _behind(rpc: JsonRpc, address: bytes, at: object) -> str:
    """Name the code at an address that a proxy points to, and what that names if it is a beacon."""
    there = f"0x{address.hex()}"
    code, named = await rpc.batch_raw(
        [("eth_getCode", (there, at)), ("eth_call", ({"to": there, "data": _IMPLEMENTATION}, at))]
    )
    text = f"{there}:{_hash(_bytes(rpc, code, 'eth_getCode'))}"
    beacon = b"" if isinstance(named, Fault) and is_failed(named) else _bytes(rpc, named, "eth_call")
    if len(beacon) != 32 or beacon[:12] != bytes(12) or beacon[12:] == _NOBODY:
        return text
    (code,) = await rpc.batch_raw([("eth_getCode", (f"0x{beacon[12:].hex()}", at))])
    return f"{text}>0x{beacon[12:].hex()}:{_hash(_bytes(rpc, code, 'eth_getCode'))}"


def _decimals(rpc: JsonRpc, answer: bytes | Fault) -> int | None:
    """Read what decimals() says; None for what is no such number."""
    if isinstance(answer, Fault) and is_failed(answer):
        return None
    said = _bytes(rpc, answer, "eth_call")
    value = int.from_bytes(said) if len(said) == 32 else 256
    return value if value < 256 else None


def _bytes(rpc: JsonRpc, answer: bytes | Fault, method: str) -> bytes:
    return data(rpc.take(str, answer, method))


def _hash(code: bytes) -> str:
    return keccak(code).hex()
