"""What a text that somebody pasted is about: the id, address or txid in a link, a payment URI, or bare. Pure."""

import re
from dataclasses import dataclass

MOST = 4_096
"""Characters that are looked at."""

# As RFC 3986 parts it. The site does not matter; a fragment that begins with no slash is a place on a page.
_PARTS = re.compile(
    r"(?:https?://[^/?#]*|[a-z][a-z0-9+.-]{0,30}:)?(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<route>!?/.*))?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_WORD = re.compile(r"[0-9A-Za-z_]+")
_ID = re.compile(r"[a-z]{3}_[0-9a-hjkmnp-tv-z]{29}\Z")  # see `kassa.core.ids`
_TXID = re.compile(r"(?:0x)?([0-9a-f]{64})\Z")
_ACCOUNT = re.compile(r"(?:0x)?([0-9a-f]{40})\Z")
_ADDRESS = re.compile(r"[0-9A-Za-z]{26,90}\Z")
_WHOSE = ("address", "a")


@dataclass(frozen=True, slots=True)
class Sought:
    """What to look for.

    `text` is all that was given but blanks around it: a reference, or how a name begins. `name` is the id or address in
    it, as we write it: ids, hashes and addresses of Ethereum in small letters, the latter with `0x`. `txids` are the
    ways in which chains write the txid or hash in it: two, or of what is none the name alone.
    """

    text: str
    name: str
    txids: tuple[str, ...]

    @property
    def is_id(self) -> bool:
        """Tell whether it is one of our ids: then it means that one thing alone."""
        return _ID.match(self.name) is not None


def read(given: str) -> Sought:
    """Return what a text is about, in time linear in it; of a text that names nothing, itself.

    Of several ids and txids it is the last one, as in a path. Without any it is the address: a parameter's, where a
    token's contract comes first (EIP-681, pages of holders), or the last one. Only whole words count.
    """
    text = given[:MOST].replace("\x00", "").strip()
    parts = _PARTS.match(text)
    assert parts is not None  # every part may be empty
    words = _WORD.findall(f"{parts['path']} {parts['route'] or ''}")
    for word in reversed(words):
        small = word.lower()
        if _ID.match(small):
            return Sought(text, small, (small,))
        if txid := _TXID.match(small):
            return Sought(text, small, (txid[1], f"0x{txid[1]}"))
    pairs = [pair.partition("=") for pair in (parts["query"] or "").split("&")]
    words += [value for name, _, value in pairs if name.lower() in _WHOSE]
    addresses = [word for word in words if _ADDRESS.match(word)]
    name = _address(addresses[-1]) if addresses else text
    return Sought(text, name, (name,))


def _address(word: str) -> str:
    account = _ACCOUNT.match(word.lower())
    return f"0x{account[1]}" if account else word
