"""Keccak-256, and the checksum that the capitals of an address are (EIP-55)."""

from sha3 import keccak_256  # type: ignore[import-untyped]  # ships no types


def keccak(data: bytes) -> bytes:
    """Return the Keccak-256 hash: Ethereum's, not the later SHA3-256."""
    return bytes(keccak_256(data).digest())


def checksummed(address: bytes) -> str:
    """Write an address of 20 bytes as text whose capitals are a checksum (EIP-55)."""
    digits = address.hex()
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join([digit.upper() if mark > "7" else digit for digit, mark in zip(digits, marks, strict=False)])
