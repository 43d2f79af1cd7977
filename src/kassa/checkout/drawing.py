"""QR codes as SVG, drawn here: no picture is loaded from anywhere."""

from functools import lru_cache

import numpy as np
from markupsafe import Markup

from kassa.checkout.symbols import Bytes, modules_of

_AROUND = 4  # modules of the quiet zone (clause 6.3.8 of the standard)


@lru_cache(maxsize=4_000)
def qr(text: str) -> Markup:
    """Draw a text; the last few thousand are kept. Raises `ValueError` for what no code can hold (2.3 KB)."""
    modules = modules_of(text.encode())
    size = len(modules) + 2 * _AROUND
    # A code begins with a dark corner.
    line = f"M{_AROUND} {_AROUND}.5{_strokes(modules)}"
    return Markup(f'<svg viewBox="0 0 {size} {size}"><path stroke="#000" d="{line}"/></svg>')  # noqa: S704  numbers


def _strokes(modules: Bytes) -> str:
    """Write the dark runs of each row as lines, and the moves between them."""
    width = len(modules) + 1
    flat = np.zeros((width - 1, width), np.int8)  # a light module ends each row
    flat[:, :-1] = modules
    edges = np.flatnonzero(np.diff(flat.ravel(), prepend=np.int8(0)))
    starts, ends = edges[::2], edges[1::2]
    rows, columns = np.divmod(starts, width)
    right, down = columns[1:] - columns[:-1] - (ends - starts)[:-1], np.diff(rows)
    runs = (ends - starts).tolist()
    return "".join(map(_stroke, runs, right.tolist(), down.tolist())) + f"h{runs[-1]}"


@lru_cache(maxsize=10_000)
def _stroke(run: int, right: int, down: int) -> str:
    return f"h{run}m{right} {down}"
