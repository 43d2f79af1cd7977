"""What a store may look like: only an image, a colour that can be read, and whole origins."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.checkout.colours import contrast, ink_on, luminance, readable, theme
from kassa.core.errors import Invalid
from kassa.stores.branding import Branding, checked_colour
from kassa.stores.origins import checked_origins, leads_to
from kassa.stores.raster import MAX_BYTES, cleaned, media_type
from tests.images import chunk, png

SCRIPT = b"<script>alert(1)</script>"
# One grey pixel, as libjpeg writes it, in segments that a test can put others between.
JPEG = [
    b"\xff\xdb\x00\x43\x00" + b"\x10" * 64,
    b"\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x01\x01\x11\x00",
    b"\xff\xc4\x00\x14\x00\x01" + b"\0" * 15 + b"\x05",
    b"\xff\xc4\x00\x14\x10\x01" + b"\0" * 15 + b"\x00",
    b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xab\xff\x00\xcd",
]


def jpeg(*extra: bytes, tail: bytes = b"") -> bytes:
    return b"\xff\xd8" + b"".join((*extra, *JPEG)) + b"\xff\xd9" + tail


def test_a_png_keeps_what_draws_it_and_nothing_else() -> None:
    dirty = png(20, 10, chunk(b"tEXt", b"Comment\0" + SCRIPT), chunk(b"eXIf", SCRIPT), tail=b"PK\x03\x04" + SCRIPT)
    assert cleaned(dirty) == png(20, 10)
    assert media_type(cleaned(dirty)) == "image/png"


def test_a_jpeg_keeps_what_draws_it_and_nothing_else() -> None:
    comment = b"\xff\xfe" + struct.pack(">H", len(SCRIPT) + 2) + SCRIPT
    exif = b"\xff\xe1" + struct.pack(">H", len(SCRIPT) + 2) + SCRIPT
    assert cleaned(jpeg(exif, comment, tail=SCRIPT)) == jpeg()
    assert media_type(jpeg()) == "image/jpeg"


@pytest.mark.parametrize(
    "image",
    [
        b"", b"GIF89a" + b"\0" * 50, b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff\xd9", jpeg()[:-20],
        png(20, 10)[:-6], png(20, 10)[:40] + b"\0" + png(20, 10)[41:],
        png(1, 1, chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0)))[:33], png(1025, 1), png(200, 200),
    ],
)  # fmt: skip
def test_what_is_no_whole_small_image_is_refused(image: bytes) -> None:
    with pytest.raises(Invalid):
        cleaned(image)


@given(st.integers(), st.integers(1, 20), st.sampled_from([png(20, 10), jpeg()]))
def test_no_damaged_image_breaks_the_check(seed: int, changes: int, image: bytes) -> None:
    chance, damaged = random.Random(seed), bytearray(image)
    for _ in range(changes):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    try:
        kept = cleaned(bytes(damaged))
    except Invalid:
        return
    assert len(kept) <= min(MAX_BYTES, len(image))
    assert cleaned(kept) == kept


@given(st.from_regex(r"#[0-9a-f]{6}", fullmatch=True))
def test_any_colour_becomes_one_that_can_be_read(colour: str) -> None:
    for ground in ("#f3f5f8", "#1a212a", "#ffffff"):
        shade = readable(colour, ground)
        assert contrast(shade, ground) >= 4.5
        assert contrast(ink_on(shade), shade) >= 4.5
    assert theme(colour).count("--go:#") == 2


def test_contrast_is_what_wcag_says() -> None:
    assert contrast("#000000", "#ffffff") == 21
    assert round(float(luminance("#808080")), 3) == 0.216
    assert readable("#0b5cd5", "#ffffff") == "#0b5cd5"


@pytest.mark.parametrize("text", ["red", "#fff", "#12345g", "#1234567", "#123456\n", "url(x)", "#12345;}", ""])
def test_what_is_no_colour_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        checked_colour(text)


def test_origins_are_kept_as_browsers_write_them() -> None:
    given_ones = ["https://Shop.example:443", "https://shop.example", "http://localhost:3000", "http://[::1]:80"]
    assert checked_origins(given_ones, "frame_ancestors") == (
        "https://shop.example",
        "http://localhost:3000",
        "http://[::1]",
    )


@pytest.mark.parametrize(
    "text",
    [
        "*", "https:", "https://*.shop.example", "https://shop.example/", "https://shop.example/x", "http://shop.example",
        "https://a b", "https://shop.example; script-src *", "'self'", "https://user@shop.example", "data:", "https://",
        "https://shop.example:0", "https://shop.example:99999", "https://shop.example\n", "https://shöp.example",
    ],
)  # fmt: skip
def test_what_is_no_whole_origin_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        checked_origins([text], "frame_ancestors")


SHOP = Branding(redirect_origins=("https://shop.example", "https://shop.example:8443", "http://localhost:3000"))


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example", "https://shop.example/done?x=1#y", "HTTPS://Shop.Example:443/", "https://shop.example?a@b",
        "https://shop.example:8443/", "http://localhost:3000/done",
    ],
)  # fmt: skip
def test_e21_a_payer_is_led_back_to_a_listed_site(url: str) -> None:
    assert SHOP.may_lead_to(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/", "https://shop.example:444/", "https://shop.example.evil.example/", "https://evil.example/",
        "https://shop.example@evil.example/", "https://shop.example:x@evil.example", "https://evil.example\\@shop.example",
        "https://shop.example\\.evil.example", "https:\\\\evil.example", "//evil.example", "/\\evil.example",
        "https:shop.example", "https:///evil.example", "javascript:alert(1)//https://shop.example", "https://shop.example.",
        "https://shop.example%2f.evil.example", "https://shop\u3002example", "https://ѕhop.example", "https://xn--hop-1zd.example",
        " https://shop.example", "https://shop.example\n.evil.example", "http://localhost:3001/", "https://localhost:3000/",
    ],
)  # fmt: skip
def test_e21_and_to_no_other(url: str) -> None:
    assert not SHOP.may_lead_to(url)
    assert not leads_to(url, ())
    assert Branding().may_lead_to(url)  # who names none names any: what else a URL must be is asked elsewhere
