"""Read a wallet's public half for this family: an account's extended public key, bare or in a descriptor.

No standard describes accounts of this family in text, so the text is what BIP 380 would make of it: `evm(KEY/0/*)` with
that standard's checksum, where each child is one address.
"""

import re
from dataclasses import dataclass

from kassa.chains.evm.networks import COIN_TYPE
from kassa.chains.keys import KeyText, checksum, encode, read_key, read_text, refused

_XPUB = 0x0488B21E
_FORM = re.compile(r"evm\(([^()]+)\)\Z")
_CHAINS = "EVM chains"
_HARDENED = 0x80000000


@dataclass(frozen=True, slots=True)
class EvmAccount:
    """A parsed account."""

    key: KeyText

    @property
    def text(self) -> str:
        """The canonical text. The origin is left out, so that the same wallet has the same text."""
        steps = "".join([f"/{step}" for step in self.key.steps])
        text = f"evm({encode(self.key.serialized)}{steps}/*)"
        return f"{text}#{checksum(text)}"


def read(text: str, *, livemode: bool) -> EvmAccount:
    """Read an account; raise `Invalid` (field `descriptor`) saying what is wrong with it."""
    text = read_text(
        text,
        "the extended public key of an account (m/44'/60'/0')",
        "the account's extended PUBLIC key (xpub…, of m/44'/60'/0')",
    )
    body, mark, given = text.partition("#")
    if mark and given != checksum(body):
        raise refused("its checksum is wrong: copy the descriptor again, or leave out the part from # on")
    if "(" in body:
        match = _FORM.match(body if mark else re.sub(r"\s", "", body))
        if match is None:
            raise refused("must be an account's extended public key (xpub…), or evm(KEY/0/*)")
        return EvmAccount(_key(match[1], livemode=livemode))
    if body.endswith("*"):
        return EvmAccount(_key(body, livemode=livemode))
    key = _key(body + "/0/*", livemode=livemode)
    if key.depth > 3:
        raise refused("this key lies below an account: write evm(KEY/*), or give the account's key")
    return EvmAccount(key)


def _key(text: str, *, livemode: bool) -> KeyText:
    key = read_key(text, (_XPUB,), _CHAINS)
    path = key.origin_path
    if livemode and len(path) > 1 and path[0] == 44 | _HARDENED and path[1] != COIN_TYPE | _HARDENED:
        raise refused(
            f"its origin path is that of another coin (coin type {path[1] & ~_HARDENED}, wallets for {_CHAINS} use "
            f"{COIN_TYPE}): export the account at m/44'/{COIN_TYPE}'/0'"
        )
    return key
