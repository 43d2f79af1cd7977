"""Read a wallet's public half: an output descriptor (BIP 380-389) or a bare account key (SLIP-132).

Only descriptors of extended public keys that end in /* are read. Nothing of a text that is refused is ever repeated in
the message: it may be a secret.
"""

import re
from dataclasses import dataclass

import wallycore as wally  # type: ignore[import-untyped]  # ships no types

from kassa.chains.bitcoin.networks import MULTISIG_KEYS, PRIVATE_KEYS, BitcoinNetwork
from kassa.core.errors import FieldFault, Invalid

MAX_TEXT = 4096
FORMS = ("pkh", "wpkh", "sh(wpkh", "tr", "wsh(sortedmulti", "sh(wsh(sortedmulti")
_BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]{50,115}")
_PRIVATE_LOOK = re.compile(r"[A-Za-z](?:prv|tpv)[1-9A-HJ-NP-Za-km-z]{20,}|Ltpv|Mtpv")
_WORDS = re.compile(r"[^\W\d_]+(?:[\s,]+[^\W\d_]+){8,}")
_SEED = re.compile(r"(?:0x)?(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{48}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128})")
_SINGLE = re.compile(r"(pkh|wpkh|tr)\(([^(),]+)\)\Z")
_NESTED = re.compile(r"sh\(wpkh\(([^(),]+)\)\)\Z")
_MULTI = re.compile(r"(sh\()?wsh\(sortedmulti\((\d{1,2}),([^()]+)\)\)(\))?\Z")
_ORIGIN = re.compile(r"\[([0-9a-fA-F]{8})((?:/\d{1,10}['hH]?)*)\]")
_STEPS = re.compile(r"((?:/(?:\d{1,10}|<\d{1,10};\d{1,10}>))*)/\*\Z")
_PURPOSES = {44: "pkh", 49: "sh(wpkh", 84: "wpkh", 86: "tr"}
_CHARSET = (
    "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "  # BIP 380
)
_CHECKSUM = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)


@dataclass(frozen=True, slots=True)
class Key:
    """One extended public key below which addresses are numbered.

    Its 78 bytes with the network's own version, the steps below it, its master's fingerprint and path if the text named
    them, and the form that its version stands for.
    """

    serialized: bytes
    steps: tuple[int, ...]
    origin: str | None
    origin_path: tuple[int, ...]
    form: str

    @property
    def text(self) -> str:
        steps = "".join([f"/{step}" for step in self.steps])
        return f"{wally.base58check_from_bytes(self.serialized)}{steps}/*"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A parsed descriptor: its form (one of `FORMS`), its keys, and how many of them must sign."""

    form: str
    keys: tuple[Key, ...]
    threshold: int = 1

    @property
    def text(self) -> str:
        """The canonical text, with checksum. The origin is left out, so that the same wallet has the same text."""
        keys = ",".join([key.text for key in self.keys])
        inner = f"{self.threshold},{keys}" if "multi" in self.form else keys
        text = f"{self.form}({inner}" + ")" * (self.form.count("(") + 1)
        return f"{text}#{checksum(text)}"


def read(text: str, network: BitcoinNetwork) -> Descriptor:
    """Read a descriptor or a bare account key; raise `Invalid` (field `descriptor`) saying what is wrong with it."""
    text = text.strip()
    if not text or len(text) > MAX_TEXT:
        raise _refused(
            f"must be an output descriptor or an account's extended public key of at most {MAX_TEXT} characters"
        )
    _refuse_private(text)
    if not text.isascii():
        raise _refused("must be plain ASCII: an output descriptor or an account's extended public key")
    body, mark, given = text.partition("#")
    if mark and given != checksum(body):
        raise _refused("its checksum is wrong: copy the descriptor again, or leave out the part from # on")
    if "(" not in body:
        return _bare(body, network)
    return _descriptor(re.sub(r"\s", "", body) if not mark else body, network)


def checksum(text: str) -> str:
    """Return the eight characters that follow # in a descriptor (BIP 380)."""
    value, group, count = 1, 0, 0
    for character in text:
        place = _CHARSET.find(character)
        if place < 0:
            raise _refused("holds a character that no descriptor has")
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


def _refused(message: str) -> Invalid:
    return Invalid(FieldFault("descriptor", message))


def _refuse_private(text: str) -> None:
    """Refuse whatever can spend, in any spelling that we can recognise."""
    secret = (
        _PRIVATE_LOOK.search(text) is not None
        or _WORDS.search(text) is not None
        or _SEED.fullmatch(text) is not None
        or any(_is_private(token) for token in _BASE58.findall(text))
    )
    if secret:
        raise _refused(
            "this is a PRIVATE key or seed, which can spend the money and must never be given here. It was not stored; "
            "treat it as exposed if you do not trust this connection. Give the account's extended PUBLIC key instead "
            "(xpub…, ypub…, zpub…, tpub…) or a descriptor such as wpkh(xpub…/0/*)"
        )


def _is_private(token: str) -> bool:
    try:
        payload = wally.base58check_to_bytes(token)
    except ValueError:
        return False
    wif = len(payload) in (33, 34) and payload[0] in (0x80, 0xB0, 0xEF)
    return wif or (len(payload) == 78 and (bytes(payload[:4]) in PRIVATE_KEYS or payload[45] == 0))


def _bare(text: str, network: BitcoinNetwork) -> Descriptor:
    """Turn an account key into the descriptor of its receiving addresses."""
    key = _key(text.strip() + "/0/*", network) if not text.rstrip().endswith("*") else None
    if key is None:
        raise _refused("name the kind of address too: for example wpkh(KEY/0/*)")
    if key.serialized[4] > 3:
        raise _refused(
            "this key lies below an account: write a descriptor such as wpkh(KEY/*), or give the account's key"
        )
    form = key.form
    if int.from_bytes(wally.base58check_to_bytes(_key_text(text))[:4]) == network.key_version and key.origin_path:
        form = _PURPOSES.get(key.origin_path[0] & 0x7FFFFFFF, form)
    return Descriptor(form, (key,))


def _descriptor(text: str, network: BitcoinNetwork) -> Descriptor:
    if match := _SINGLE.match(text):
        return Descriptor(match[1], (_key(match[2], network),))
    if match := _NESTED.match(text):
        return Descriptor("sh(wpkh", (_key(match[1], network),))
    match = _MULTI.match(text)
    if match is None or bool(match[1]) != bool(match[4]):
        raise _refused(
            "must be one of pkh(KEY/0/*), wpkh(KEY/0/*), sh(wpkh(KEY/0/*)), tr(KEY/0/*), "
            "wsh(sortedmulti(K,KEY/0/*,…)), sh(wsh(sortedmulti(K,KEY/0/*,…)))"
        )
    keys = tuple([_key(part, network) for part in match[3].split(",")])
    threshold = int(match[2])
    if not 1 <= threshold <= len(keys) <= 15:
        raise _refused("of a multisignature wallet's keys (15 at most) at least one and not more than all must sign")
    if len({(key.serialized[13:], key.steps) for key in keys}) < len(keys):
        raise _refused("names the same key twice")
    form = "sh(wsh(sortedmulti" if match[1] else "wsh(sortedmulti"
    # Sorted keys make the same addresses in any order: one order, one text.
    return Descriptor(form, tuple(sorted(keys, key=lambda key: key.text)), threshold)


def _key_text(text: str) -> str:
    return _ORIGIN.sub("", text.strip(), count=1).partition("/")[0]


def _key(text: str, network: BitcoinNetwork) -> Key:
    """Read one key expression: [origin]KEY/steps/*."""
    origin, origin_path = None, tuple[int, ...]()
    if match := _ORIGIN.match(text):
        origin, text = match[1].lower(), text[match.end() :]
        origin_path = _path(match[2])
        _check_coin(origin_path, network)
    encoded, slash, rest = text.partition("/")
    serialized = _public_key(encoded, network)
    if re.search(r"['hH]", rest):
        raise _refused("has a hardened step (' or h) after a public key: export the key at account level instead")
    match = _STEPS.match(slash + rest)
    if match is None:
        raise _refused("each key must end in /*, for example wpkh(KEY/0/*): that is where the addresses are numbered")
    # Of the pair <receive;change> (BIP 389) payers get the first.
    steps = tuple([int(step.strip("<>").partition(";")[0]) for step in match[1].split("/")[1:]])
    if any(step >= 2**31 for step in steps):
        raise _refused("has a step of 2147483648 or more")
    form = network.public_keys[int.from_bytes(serialized[:4])]
    return Key(network.key_version.to_bytes(4) + serialized[4:], steps, origin, origin_path, form)


def _public_key(encoded: str, network: BitcoinNetwork) -> bytes:
    """Decode an extended public key of this network and check that its point lies on the curve."""
    try:
        payload = bytes(wally.base58check_to_bytes(encoded))
    except ValueError:
        payload = b""
    version = int.from_bytes(payload[:4])
    if len(payload) != 78:
        raise _refused("holds a key that is not an extended public key (xpub…): it may be mistyped or cut off")
    if version in MULTISIG_KEYS:
        raise _refused("a Ypub, Zpub, Upub or Vpub is one part of a multisignature wallet: give its whole descriptor")
    if version not in network.public_keys:
        raise _refused(
            f"holds a key of another network than {network.chain}: export the wallet's key for {network.chain}"
        )
    try:
        wally.ec_public_key_verify(payload[45:])
    except ValueError:
        raise _refused("holds a key that is damaged: copy it again") from None
    return payload


def _path(text: str) -> tuple[int, ...]:
    steps = []
    for part in text.split("/")[1:]:
        number = int(part.rstrip("'hH"))
        if number >= 2**31:
            raise _refused("has a step of 2147483648 or more")
        steps.append(number | (0x80000000 if part[-1] in "'hH" else 0))
    return tuple(steps)


def _check_coin(path: tuple[int, ...], network: BitcoinNetwork) -> None:
    """Refuse a live wallet whose BIP-44 path belongs to another coin: its owner's software would not find the money."""
    if not network.livemode or len(path) < 2 or path[0] & 0x7FFFFFFF not in (*_PURPOSES, 48):
        return
    if path[1] != network.coin_type | 0x80000000:
        raise _refused(
            f"its origin path is that of another coin or network (coin type {path[1] & 0x7FFFFFFF}, "
            f"{network.chain} has {network.coin_type}): export the {network.chain} account"
        )
