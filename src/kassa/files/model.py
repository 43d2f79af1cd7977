"""A file that pages load: named by its content, compressed once, kept by browsers."""

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass

_MEDIA = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_NAME = re.compile(rf"([a-z]+(?:-[0-9a-f]{{6}})?)\.[0-9a-f]{{16}}\.({'|'.join(_MEDIA)})")


@dataclass(frozen=True, slots=True)
class File:
    """One file: its name, its bytes and the same compressed, and its integrity value (W3C SRI)."""

    name: str
    media_type: str
    body: bytes
    packed: bytes
    integrity: str


def make_file(stem: str, ending: str, body: bytes) -> File:
    """Name a file by what it holds."""
    digest = hashlib.sha384(body).digest()
    return File(
        name=f"{stem}.{digest.hex()[:16]}.{ending}",
        media_type=_MEDIA[ending],
        body=body,
        packed=gzip.compress(body, 9, mtime=0),
        integrity="sha384-" + base64.b64encode(digest).decode(),
    )


def is_name(text: str) -> bool:
    """Tell whether a file could have this name."""
    return _NAME.fullmatch(text) is not None


def file_of(name: str, body: bytes) -> File | None:
    """Return the file of a name; None where that is not the name of what it holds."""
    parts = _NAME.fullmatch(name)
    made = None if parts is None else make_file(parts[1], parts[2], body)
    return made if made is not None and made.name == name else None
