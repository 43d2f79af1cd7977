"""A logo: a small PNG or JPEG, taken apart and put together again from the parts that draw it. Pure.

What is kept holds no text, no profile, no thumbnail and nothing after the image's end, so it is an image and nothing
else, whatever else its sender made it look like.
"""

import struct
import zlib
from collections.abc import Iterator

from kassa.core.errors import FieldFault, Invalid

MAX_BYTES = 16_384
MAX_SIDE = 1_024  # pixels: more only costs the payer's memory

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_JPEG = b"\xff\xd8"
_JPEG_KEPT = frozenset({0xDB, 0xC4, 0xDD, *range(0xC0, 0xC4)})  # tables, restarts, frames
_JPEG_FRAMES = range(0xC0, 0xC4)
_ADOBE, _ADOBE_BYTES = 0xEE, 14  # says in which colours a picture is kept
_SCAN, _END = 0xDA, 0xD9


def media_type(image: bytes) -> str:
    """Return the type of an image that `cleaned` made."""
    return "image/png" if image.startswith(_PNG) else "image/jpeg"


def cleaned(image: bytes) -> bytes:
    """Return an image with nothing but what draws it; raise `Invalid` (field `logo`) for anything else."""
    try:
        if image.startswith(_PNG):
            kept = _png(image)
        elif image.startswith(_JPEG):
            kept = _jpeg(image)
        else:
            raise ValueError("is neither PNG nor JPEG")
    except (ValueError, struct.error, IndexError) as fault:
        raise Invalid(FieldFault("logo", f"must be a whole PNG or JPEG image: it {fault}")) from None
    if len(kept) > MAX_BYTES:
        raise Invalid(FieldFault("logo", f"must be at most {MAX_BYTES} bytes"))
    return kept


def _png(image: bytes) -> bytes:
    """Keep the critical chunks (PNG, third edition, section 5) and transparency."""
    chunks = list(_chunks(image))
    names = [name for name, _ in chunks]
    if not names or names[0] != b"IHDR" or names[-1] != b"IEND" or b"IDAT" not in names:
        raise ValueError("lacks a part")
    width, height = struct.unpack(">II", chunks[0][1][:8])
    _check_sides(width, height)
    drawn = [(name, data) for name, data in chunks if name in _PNG_KEPT]
    return _PNG + b"".join(_chunk(name, data) for name, data in drawn)


def _chunks(image: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG)
    while at < len(image):
        (length,) = struct.unpack(">I", image[at : at + 4])
        name, data = image[at + 4 : at + 8], image[at + 8 : at + 8 + length]
        (sum_,) = struct.unpack(">I", image[at + 8 + length : at + 12 + length])
        if zlib.crc32(name + data) != sum_:
            raise ValueError("has a part whose checksum is wrong")
        yield name, data
        if name == b"IEND":
            return
        at += 12 + length
    raise ValueError("has no end")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _jpeg(image: bytes) -> bytes:
    """Keep the segments (ITU-T T.81, annex B) that decode the picture: no application data, no comments."""
    at, kept, framed = len(_JPEG), bytearray(_JPEG), False
    while True:
        if image[at] != 0xFF:
            raise ValueError("has a part that begins nowhere")
        kind = image[at + 1]
        if kind == _END:
            if not framed:
                raise ValueError("holds no picture")
            return bytes(kept) + b"\xff\xd9"
        (length,) = struct.unpack(">H", image[at + 2 : at + 4])
        end = at + 2 + length
        if end > len(image):
            raise ValueError("ends too early")
        if kind in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", image[at + 5 : at + 9])
            _check_sides(width, height)
            framed = True
        if kind == _SCAN:
            end = _scan_end(image, end)
        if kind in _JPEG_KEPT or kind == _SCAN or (kind == _ADOBE and length == _ADOBE_BYTES):
            kept += image[at:end]
        at = end


def _scan_end(image: bytes, at: int) -> int:
    """Return where the next marker stands that ends a scan: not a stuffed byte, not a restart."""
    while True:
        at = image.index(b"\xff", at)
        if image[at + 1] != 0 and image[at + 1] not in range(0xD0, 0xD8):
            return at
        at += 2


def _check_sides(width: int, height: int) -> None:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(f"is {width} by {height} pixels, and {MAX_SIDE} is the most of either")
