"""Addresses of one network: from a wallet's descriptor, from a payer's text, into a payment link."""

import re
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import quote

import wallycore as wally  # type: ignore[import-untyped]  # ships no types

from kassa.chains.base import Account, Derived
from kassa.chains.bitcoin.descriptors import Descriptor, read
from kassa.chains.bitcoin.networks import BitcoinNetwork
from kassa.chains.bitcoin.transactions import script_key
from kassa.chains.keys import Branch, branch, child, fingerprint
from kassa.core.errors import FieldFault, Invalid
from kassa.core.money import Asset, format_units

_ADDRESS = re.compile(r"[0-9A-Za-z]{14,90}\Z", re.ASCII)
_CACHED = 1024  # descriptors, a few hundred bytes each
_MOST_LABEL = 80  # characters: whole descriptions would make codes that no camera reads, or that do not exist

_Script = Callable[[int], bytes]


class BitcoinAddresses:
    """Addresses of one network. Keeps the parsed descriptors it was last asked about, nothing else."""

    def __init__(self, network: BitcoinNetwork) -> None:
        self._network = network
        self._scripts: OrderedDict[str, _Script] = OrderedDict()

    def account(self, text: str) -> Account:
        """Read a descriptor or account key; raise `Invalid` (field `descriptor`) saying what is wrong.

        The fingerprint is that of the master key when the text names it, else that of the extended key itself (BIP 32:
        the first four bytes of the public key's hash); several are joined by commas.
        """
        descriptor = read(text, self._network)
        _script_of(descriptor)(0)
        return Account(
            descriptor.text, ",".join([key.origin or fingerprint(key.serialized) for key in descriptor.keys])
        )

    def derive(self, descriptor: str, index: int) -> Derived:
        """Derive the receiving address at `index` (0 ≤ index < 2**31) of a canonical descriptor."""
        if not 0 <= index < 2**31:
            raise Invalid(FieldFault("index", "must be at least 0 and below 2147483648"))
        script = self._script(descriptor)(index)
        key = script_key(script)
        assert key is not None  # every form above has at least 22 bytes
        return Derived(self.text(script), script, key)

    def parse(self, text: str) -> bytes:
        """Return the output script of an address of this network; raise `Invalid` (field `address`).

        Witness versions that no rule protects yet (2 to 16, and 1 with other than 32 bytes) are refused: anyone could
        take what is sent there.
        """
        script = None
        if _ADDRESS.match(text):
            script = self._segwit(text) if text.lower().startswith(self._network.hrp + "1") else self._base58(text)
        if script is None:
            raise Invalid(FieldFault("address", f"is not a valid address of {self._network.chain}"))
        return script

    def payment_uri(self, address: str, asset: Asset, units: int, label: str | None) -> str:
        """Write a BIP-21 link, with the amount in whole coins and what a camera can read of the label."""
        uri = f"{self._network.uri_scheme}:{address}?amount={format_units(units, asset.decimals)}"
        return uri if label is None else f"{uri}&label={quote(label[:_MOST_LABEL], safe='')}"

    def text(self, script: bytes) -> str:
        """Write the address of a standard output script."""
        match script[0], len(script):
            case 0x76, 25:
                return str(wally.base58check_from_bytes(bytes([self._network.p2pkh]) + script[3:23]))
            case 0xA9, 23:
                return str(wally.base58check_from_bytes(bytes([self._network.p2sh]) + script[2:22]))
            case _:
                return str(wally.addr_segwit_from_bytes(script, self._network.hrp, 0))

    def _script(self, descriptor: str) -> _Script:
        found = self._scripts.get(descriptor)
        if found is None:
            found = self._scripts[descriptor] = _script_of(read(descriptor, self._network))
            if len(self._scripts) > _CACHED:
                self._scripts.popitem(last=False)
        return found

    def _segwit(self, text: str) -> bytes | None:
        try:
            script = bytes(wally.addr_segwit_to_bytes(text, self._network.hrp, 0))
        except ValueError:
            return None
        version_0 = script[0] == 0 and len(script) in (22, 34)
        return script if version_0 or (script[0] == 0x51 and len(script) == 34) else None

    def _base58(self, text: str) -> bytes | None:
        try:
            payload = bytes(wally.base58check_to_bytes(text))
        except ValueError:
            return None
        if len(payload) != 21:
            return None
        if payload[0] == self._network.p2pkh:
            return _p2pkh(payload[1:])
        return _p2sh(payload[1:]) if payload[0] == self._network.p2sh else None


def _script_of(descriptor: Descriptor) -> _Script:
    """Prepare the way from an index to an output script: all but the last step of each key is derived once."""
    branches = [branch(key.serialized, key.steps) for key in descriptor.keys]
    first = branches[0]
    match descriptor.form:
        case "pkh":
            return lambda index: _p2pkh(wally.hash160(child(first, index)))
        case "wpkh":
            return lambda index: b"\0\x14" + wally.hash160(child(first, index))
        case "sh(wpkh":
            return lambda index: _p2sh(wally.hash160(b"\0\x14" + wally.hash160(child(first, index))))
        case "tr":
            # BIP 86: a key path alone, tweaked by its own hash.
            return lambda index: b"\x51\x20" + wally.ec_public_key_bip341_tweak(child(first, index), None, 0)[1:]
    threshold = descriptor.threshold
    if descriptor.form == "wsh(sortedmulti":
        return lambda index: _p2wsh(_sortedmulti(threshold, branches, index))
    return lambda index: _p2sh(wally.hash160(_p2wsh(_sortedmulti(threshold, branches, index))))


def _sortedmulti(threshold: int, branches: list[Branch], index: int) -> bytes:
    """Write the script of BIP 67: `threshold` of the children's keys in ascending order."""
    keys = sorted([bytes(child(one, index)) for one in branches])
    return bytes([0x50 + threshold]) + b"".join([b"\x21" + key for key in keys]) + bytes([0x50 + len(keys), 0xAE])


def _p2pkh(key_hash: bytes) -> bytes:
    return b"\x76\xa9\x14" + key_hash + b"\x88\xac"


def _p2sh(script_hash: bytes) -> bytes:
    return b"\xa9\x14" + script_hash + b"\x87"


def _p2wsh(script: bytes) -> bytes:
    return b"\0\x20" + sha256(script).digest()
