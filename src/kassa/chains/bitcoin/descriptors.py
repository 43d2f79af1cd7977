"""Read a wallet's public half: an output descriptor (BIP 380-389) or a bare account key (SLIP-132).

Only descriptors of extended public keys that end in /* are read. Nothing of a text that is refused is ever repeated in
the message: it may be a secret.
"""

import re
from dataclasses import dataclass

import wallycore as wally  # type: ignore[import-untyped]  # ships no types

from kassa.chains.bitcoin.networks import BitcoinNetwork
from kassa.chains.keys import ORIGIN, checksum, read_key, read_text, refused

FORMS = ("pkh", "wpkh", "sh(wpkh", "tr", "wsh(sortedmulti", "sh(wsh(sortedmulti")
_SINGLE = re.compile(r"(pkh|wpkh|tr)\(([^(),]+)\)\Z")
_NESTED = re.compile(r"sh\(wpkh\(([^(),]+)\)\)\Z")
_MULTI = re.compile(r"(sh\()?wsh\(sortedmulti\((\d{1,2}),([^()]+)\)\)(\))?\Z")
_WANTED = "an output descriptor or an account's extended public key"
_EXAMPLE = "the account's extended PUBLIC key (xpub…, ypub…, zpub…, tpub…) or a descriptor such as wpkh(xpub…/0/*)"
_PURPOSES = {44: "pkh", 49: "sh(wpkh", 84: "wpkh", 86: "tr"}


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
    text = read_text(text, _WANTED, _EXAMPLE)
    body, mark, given = text.partition("#")
    if mark and given != checksum(body):
        raise refused("its checksum is wrong: copy the descriptor again, or leave out the part from # on")
    if "(" not in body:
        return _bare(body, network)
    return _descriptor(re.sub(r"\s", "", body) if not mark else body, network)


def _bare(text: str, network: BitcoinNetwork) -> Descriptor:
    """Turn an account key into the descriptor of its receiving addresses."""
    key = _key(text.strip() + "/0/*", network) if not text.rstrip().endswith("*") else None
    if key is None:
        raise refused("name the kind of address too: for example wpkh(KEY/0/*)")
    if key.serialized[4] > 3:
        raise refused(
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
        raise refused(
            "must be one of pkh(KEY/0/*), wpkh(KEY/0/*), sh(wpkh(KEY/0/*)), tr(KEY/0/*), "
            "wsh(sortedmulti(K,KEY/0/*,…)), sh(wsh(sortedmulti(K,KEY/0/*,…)))"
        )
    keys = tuple([_key(part, network) for part in match[3].split(",")])
    threshold = int(match[2])
    if not 1 <= threshold <= len(keys) <= 15:
        raise refused("of a multisignature wallet's keys (15 at most) at least one and not more than all must sign")
    if len({(key.serialized[13:], key.steps) for key in keys}) < len(keys):
        raise refused("names the same key twice")
    form = "sh(wsh(sortedmulti" if match[1] else "wsh(sortedmulti"
    # Sorted keys make the same addresses in any order: one order, one text.
    return Descriptor(form, tuple(sorted(keys, key=lambda key: key.text)), threshold)


def _key_text(text: str) -> str:
    return ORIGIN.sub("", text.strip(), count=1).partition("/")[0]


def _key(text: str, network: BitcoinNetwork) -> Key:
    """Read one key expression: [origin]KEY/steps/*."""
    read = read_key(text, network.public_keys, network.chain)
    _check_coin(read.origin_path, network)
    form = network.public_keys[read.version]
    serialized = network.key_version.to_bytes(4) + read.serialized[4:]
    return Key(serialized, read.steps, read.origin, read.origin_path, form)


def _check_coin(path: tuple[int, ...], network: BitcoinNetwork) -> None:
    """Refuse a live wallet whose BIP-44 path belongs to another coin: its owner's software would not find the money."""
    if not network.livemode or len(path) < 2 or path[0] & 0x7FFFFFFF not in (*_PURPOSES, 48):
        return
    if path[1] != network.coin_type | 0x80000000:
        raise refused(
            f"its origin path is that of another coin or network (coin type {path[1] & 0x7FFFFFFF}, "
            f"{network.chain} has {network.coin_type}): export the {network.chain} account"
        )
