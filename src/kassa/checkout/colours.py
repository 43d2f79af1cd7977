"""A store's colour on light and dark pages: as it is where it can be read, else moved until it can. Pure.

Contrast as WCAG 2.2 defines it (relative luminance; 4.5 for text, 3 for what is no text).
"""

from bisect import bisect_left
from fractions import Fraction
from functools import cache, lru_cache

_TEXT = Fraction(9, 2)
# Of the grounds in the stylesheet, those on which a colour is harder to read.
_LIGHT, _DARK = "#f3f5f8", "#1a212a"
_STEPS = 40


def theme(colour: str) -> str:
    """Return the rules that put a colour (`#rrggbb`) in the place of the stylesheet's own."""
    light, dark = readable(colour, _LIGHT), readable(colour, _DARK)
    return (
        f":root{{--go:{light};--on-go:{ink_on(light)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{--go:{dark};--on-go:{ink_on(dark)}}}}}"
    )


def readable(colour: str, ground: str) -> str:
    """Return the nearest shade of a colour, towards black or white, that can be read as text on a ground."""
    towards = 0 if luminance(ground) > Fraction(1, 5) else 255
    parts = _parts(colour)
    shades = [
        "#" + "".join(f"{part + (towards - part) * step // _STEPS:02x}" for part in parts) for step in range(_STEPS + 1)
    ]
    # From the first that can be read on, each can.
    nearest = bisect_left(shades, True, key=lambda shade: contrast(shade, ground) >= _TEXT)
    return shades[nearest] if nearest <= _STEPS else ink_on(ground)


def ink_on(ground: str) -> str:
    """Return black or white, whichever reads better on a ground: one of them always has a contrast of 4.5."""
    return max("#ffffff", "#000000", key=lambda ink: contrast(ink, ground))


def contrast(one: str, other: str) -> Fraction:
    """Return the contrast of two colours: 1 to 21."""
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + Fraction(1, 20)) / (darker + Fraction(1, 20))


@lru_cache(maxsize=1_000)
def luminance(colour: str) -> Fraction:
    """Return the relative luminance of a colour: 0 (black) to 1 (white)."""
    red, green, blue = (_linear(part) for part in _parts(colour))
    return (2126 * red + 7152 * green + 722 * blue) / 10_000


@cache
def _linear(part: int) -> Fraction:
    share = part / 255
    return Fraction(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)


def _parts(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
