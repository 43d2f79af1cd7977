"""QR codes: the same as another program draws, module by module, and drawn as they are."""

import re

import numpy as np
import pytest
import segno

from kassa.checkout.drawing import qr
from kassa.checkout.symbols import MASK, modules_of, payload

# How many bytes a code of level M holds, by version (the standard's table 7).
HOLDS = (
    14, 26, 42, 62, 84, 106, 122, 152, 180, 213, 251, 287, 331, 362, 412, 450, 504, 560, 624, 666,
    711, 779, 857, 911, 997, 1059, 1125, 1190, 1264, 1370, 1452, 1538, 1628, 1722, 1809, 1911, 1989, 2099, 2213, 2331,
)  # fmt: skip


def text_of(length: int) -> bytes:
    return bytes(33 + (place * place * 7 + place) % 90 for place in range(length))


def drawn_by_segno(text: bytes) -> list[list[int]]:
    code = segno.make_qr(text, error="m", mask=MASK, mode="byte", boost_error=False)
    return [list(row) for row in code.matrix]


def test_a_full_code_of_each_version_is_the_one_that_segno_makes() -> None:
    for version, length in enumerate(HOLDS, start=1):
        text = text_of(length)
        assert len(modules_of(text)) == 17 + 4 * version
        assert modules_of(text).tolist() == drawn_by_segno(text), version


def test_what_is_left_is_filled_as_the_standard_says() -> None:
    # Not compared with segno, which puts a zero byte before the filling; no reader looks at it.
    assert payload(b"123456789", 1, 16).tobytes().hex() == "40931323334353637383" + "90" + "ec11ec11ec"
    assert payload(b"1", 10, 8).tobytes().hex() == "40001310" + "ec11ec11"


def test_the_drawing_is_the_code() -> None:
    text = "bitcoin:bcrt1q6z64a43mjgkcq0ul2znwneq3spghrlau9slefp?amount=0.000998&label=Order%20123"
    drawn = str(qr(text))
    modules = modules_of(text.encode())
    size = len(modules)
    assert drawn.startswith(f'<svg viewBox="0 0 {size + 8} {size + 8}">')

    painted = np.zeros_like(modules)
    column, row = 0, 0
    for move, first, second in re.findall(r"([Mmh])(-?\d+)(?: (-?\d+)(?:\.5)?)?", drawn.partition(' d="')[2]):
        match move:
            case "M":
                column, row = int(first) - 4, int(second) - 4
            case "m":
                column, row = column + int(first), row + int(second)
            case _:
                painted[row, column : column + int(first)] = 1
                column += int(first)
    assert (painted == modules).all()


def test_what_no_code_can_hold_is_refused() -> None:
    modules_of(text_of(2331))
    with pytest.raises(ValueError, match="too long"):
        modules_of(text_of(2332))
