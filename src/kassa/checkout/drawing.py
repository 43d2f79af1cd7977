"""QR codes as SVG, drawn here: no picture is loaded from anywhere."""

import io
from functools import lru_cache

import segno
from markupsafe import Markup

_MODULES_AROUND = 3  # quiet zone, besides the padding of its frame


@lru_cache(maxsize=4_000)
def qr(text: str) -> Markup:
    """Draw a text, about 3 ms; the last few thousand are kept."""
    out = io.BytesIO()
    # A fixed mask: trying all eight costs four times as much, and every reader bears any of them.
    code = segno.make_qr(text, error="m", mask=4)
    code.save(out, kind="svg", border=_MODULES_AROUND, omitsize=True, xmldecl=False, svgns=False)
    return Markup(out.getvalue().decode())  # noqa: S704  drawn by segno: paths and numbers, no text of anyone's
