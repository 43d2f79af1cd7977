"""Extended public keys as wallets write them (BIP 32, SLIP-132, BIP 380), for every family that derives addresses.

Nothing of a text that is refused is ever repeated in the message: it may be a secret.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import wallycore as wally  # type: ignore[import-untyped]  # ships no types

from kassa.core.errors import FieldFault, Invalid

MAX_TEXT = 4096
PRIVATE_KEYS = frozenset(
    bytes.fromhex(version)
    for version in (
        "0488ade4 049d7878 04b2430c 0295b005 02aa7a99 "  # xprv yprv zprv Yprv Zprv
        "04358394 044a4e28 045f18bc 024285b5 02575048 "  # tprv uprv vprv Uprv Vprv
        "019d9cfe 01b26792 0436ef7d"  # Ltpv Mtpv ttpv
    ).split()
)
"""Version bytes of extended private keys, of every network we know of."""

MULTISIG_KEYS = frozenset([0x0295B43F, 0x02AA7ED3, 0x024289EF, 0x02575483])
"""Ypub, Zpub, Upub, Vpub: one signer's part of a multisignature wallet, useless alone."""
_BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]{50,115}")
_PRIVATE_LOOK = re.compile(r"[A-Za-z](?:prv|tpv)[1-9A-HJ-NP-Za-km-z]{20,}|Ltpv|Mtpv")
_WORDS = re.compile(r"(?<![^\W\d_])[^\W\d_]+(?:[\s,]+[^\W\d_]+){8,}")  # not from within a word: linear
_SEED = re.compile(r"(?:0x)?(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{48}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128})")
ORIGIN = re.compile(r"\[([0-9a-fA-F]{8})((?:/\d{1,10}['hH]?)*)\]")
_STEPS = re.compile(r"((?:/(?:\d{1,10}|<\d{1,10};\d{1,10}>))*)/\*\Z")
_CHARSET = (
    "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "  # BIP 380
)
_CHECKSUM = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)
_PUBLIC = wally.BIP32_FLAG_KEY_PUBLIC | wally.BIP32_FLAG_SKIP_HASH

Branch = Any  # wallycore has no type for its keys


@dataclass(frozen=True, slots=True)
class KeyText:
    """One key expression, [origin]KEY/steps/*: the key's 78 bytes, the steps below it, and its origin if it has one."""

    serialized: bytes
    steps: tuple[int, ...]
    origin: str | None
    origin_path: tuple[int, ...]

    @property
    def version(self) -> int:
        return int.from_bytes(self.serialized[:4])

    @property
    def depth(self) -> int:
        return self.serialized[4]


def read_text(text: str, wanted: str, example: str) -> str:
    """Return a text that may be a wallet's public half, stripped; raise `Invalid` for anything private, long or odd."""
    text = text.strip()
    if not text or len(text) > MAX_TEXT:
        raise refused(f"must be {wanted} of at most {MAX_TEXT} characters")
    _refuse_private(text, example)
    if not text.isascii():
        raise refused(f"must be plain ASCII: {wanted}")
    return text


def read_key(text: str, versions: Collection[int], chain: str) -> KeyText:
    """Read one key expression whose key has one of these versions; raise `Invalid` saying what is wrong with it."""
    origin, origin_path = None, tuple[int, ...]()
    if match := ORIGIN.match(text):
        origin, text = match[1].lower(), text[match.end() :]
        origin_path = _path(match[2])
    encoded, slash, rest = text.partition("/")
    serialized = _public_key(encoded, versions, chain)
    if re.search(r"['hH]", rest):
        raise refused("has a hardened step (' or h) after a public key: export the key at account level instead")
    match = _STEPS.match(slash + rest)
    if match is None:
        raise refused("each key must end in /*, for example KEY/0/*: that is where the addresses are numbered")
    # Of the pair <receive;change> (BIP 389) payers get the first.
    steps = tuple([int(step.strip("<>").partition(";")[0]) for step in match[1].split("/")[1:]])
    if any(step >= 2**31 for step in steps):
        raise refused("has a step of 2147483648 or more")
    return KeyText(serialized, steps, origin, origin_path)


def encode(serialized: bytes) -> str:
    """Write an extended key's 78 bytes as text."""
    return str(wally.base58check_from_bytes(serialized))


def branch(serialized: bytes, steps: Collection[int]) -> Branch:
    """Derive all but the last step below an extended key whose version is xpub's or tpub's (wally knows no other)."""
    found = wally.bip32_key_unserialize(serialized)
    for step in steps:
        found = wally.bip32_key_from_parent(found, step, _PUBLIC)
    return found


def child(parent: Branch, index: int) -> bytes:
    """Return the compressed public key of a branch's child."""
    return wally.bip32_key_get_pub_key(wally.bip32_key_from_parent(parent, index, _PUBLIC))  # type: ignore[no-any-return]


def fingerprint(serialized: bytes) -> str:
    """Return an extended key's own fingerprint (BIP 32): the first four bytes of its public key's hash."""
    return str(wally.hash160(serialized[45:])[:4].hex())


def checksum(text: str) -> str:
    """Return the eight characters that follow # in a descriptor (BIP 380)."""
    value, group, count = 1, 0, 0
    for character in text:
        place = _CHARSET.find(character)
        if place < 0:
            raise refused("holds a character that no descriptor has")
        value = _polymod(value, place & 31)
        group, count = group * 3 + (place >> 5), count + 1
        if count == 3:
            value, group, count = _polymod(value, group), 0, 0
    if count:
        value = _polymod(value, group)
    for _ in range(8):
        value = _polymod(value, 0)
    value ^= 1
    return "".join([_CHECKSUM[value >> 5 * (7 - place) & 31] for place in range(8)])


def _polymod(value: int, symbol: int) -> int:
    top = value >> 35
    value = (value & 0x7FFFFFFFF) << 5 ^ symbol
    for bit, generator in enumerate(_GENERATOR):
        if top >> bit & 1:
            value ^= generator
    return value


def refused(message: str) -> Invalid:
    """Make the error for a text that cannot be used."""
    return Invalid(FieldFault("descriptor", message))


def _refuse_private(text: str, example: str) -> None:
    """Refuse whatever can spend, in any spelling that we can recognise."""
    secret = (
        _PRIVATE_LOOK.search(text) is not None
        or _WORDS.search(text) is not None
        or _SEED.fullmatch(text) is not None
        or any(_is_private(token) for token in _BASE58.findall(text))
    )
    if secret:
        raise refused(
            "this is a PRIVATE key or seed, which can spend the money and must never be given here. It was not stored; "
            f"treat it as exposed if you do not trust this connection. Give {example} instead"
        )


def _is_private(token: str) -> bool:
    try:
        payload = wally.base58check_to_bytes(token)
    except ValueError:
        return False
    wif = len(payload) in (33, 34) and payload[0] in (0x80, 0xB0, 0xEF)
    return wif or (len(payload) == 78 and (bytes(payload[:4]) in PRIVATE_KEYS or payload[45] == 0))


def _public_key(encoded: str, versions: Collection[int], chain: str) -> bytes:
    """Decode an extended public key and check that its point lies on the curve."""
    try:
        payload = bytes(wally.base58check_to_bytes(encoded))
    except ValueError:
        payload = b""
    version = int.from_bytes(payload[:4])
    if len(payload) != 78:
        raise refused("holds a key that is not an extended public key (xpub…): it may be mistyped or cut off")
    if version in MULTISIG_KEYS:
        raise refused("a Ypub, Zpub, Upub or Vpub is one part of a multisignature wallet: give its whole descriptor")
    if version not in versions:
        raise refused(f"holds a key of another network than {chain}: export the wallet's key for {chain}")
    try:
        wally.ec_public_key_verify(payload[45:])
    except ValueError:
        raise refused("holds a key that is damaged: copy it again") from None
    return payload


def _path(text: str) -> tuple[int, ...]:
    steps = []
    for part in text.split("/")[1:]:
        number = int(part.rstrip("'hH"))
        if number >= 2**31:
            raise refused("has a step of 2147483648 or more")
        steps.append(number | (0x80000000 if part[-1] in "'hH" else 0))
    return tuple(steps)
