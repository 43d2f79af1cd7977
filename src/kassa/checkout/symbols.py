"""QR codes (ISO/IEC 18004) in byte mode at level M, in a tenth of a millisecond: a page draws two for each invoice.

What is the same in every code of a version (finders, timing, format) is taken once from a code that segno made.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import segno
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

MASK = 4
"""Trying all eight costs eight times as much, and every reader bears any of them."""
# Level M, by version: check bytes of each block, and how many blocks there are (table 9 of the standard).
_CHECKS = (
    10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26,
    26, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28,
)  # fmt: skip
_BLOCKS = (
    1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16,
    17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31, 33, 35, 37, 38, 40, 43, 45, 47, 49,
)  # fmt: skip
VERSIONS = len(_CHECKS)


@dataclass(frozen=True, slots=True)
class _Form:
    """What all codes of a version share: the modules without data, and where each bit of the data goes."""

    modules: Bytes  # masked
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    data: int  # bytes


def modules_of(text: bytes) -> Bytes:
    """Return the modules of a text's code, row by row, 1 for dark; raises `ValueError` for what no version can hold."""
    version = next((one for one in range(1, VERSIONS + 1) if len(text) + _head(one) <= _data_bytes(one)), None)
    if version is None:
        raise ValueError("too long for a QR code")
    form = _form(version)
    bits = np.unpackbits(_in_turn(payload(text, version, form.data), version))
    found = form.modules.copy()
    found[form.rows[: len(bits)], form.columns[: len(bits)]] ^= bits
    return found


def _head(version: int) -> int:
    return 2 if version < 10 else 3  # mode and length: 12 or 20 bits, with the end of the text in the last half byte


def _data_bytes(version: int) -> int:
    return _all_bytes(version) - _CHECKS[version - 1] * _BLOCKS[version - 1]


@lru_cache(maxsize=VERSIONS)
def _all_bytes(version: int) -> int:
    return int(np.count_nonzero(_is_free(version))) // 8


def payload(text: bytes, version: int, room: int) -> Bytes:
    """Put mode and length before a text, and fill up behind it."""
    length = 8 if version < 10 else 16
    bits = (0b0100 << length | len(text)) << 8 * len(text) | int.from_bytes(text, "big")
    whole = (bits << 4).to_bytes(len(text) + _head(version), "big")  # four zero bits end the text
    filling = b"\xec\x11" * room
    return np.frombuffer(whole + filling[: room - len(whole)], np.uint8)


def _in_turn(data: Bytes, version: int) -> Bytes:
    """Cut data into blocks, add the check bytes of each, and take a byte of each block in turn."""
    count, checks = _BLOCKS[version - 1], _CHECKS[version - 1]
    short, longer = len(data) // count, len(data) % count
    cut = (count - longer) * short
    parts = [data[:cut].reshape(-1, short), data[cut:].reshape(-1, short + 1)] if longer else [data.reshape(-1, short)]
    coded = np.concatenate([_check_bytes(part, checks) for part in parts])
    body = np.concatenate([part[:, :short] for part in parts]).T.ravel()
    last = parts[-1][:, short:].ravel()
    return np.concatenate([body, last, coded.T.ravel()])


def _check_bytes(blocks: Bytes, checks: int) -> Bytes:
    """Return the Reed-Solomon check bytes of blocks of one length."""
    products = _products()[blocks[:, :, None], _remainders(blocks.shape[1], checks)[None]]
    checked: Bytes = np.bitwise_xor.reduce(products, axis=1)
    return checked


@lru_cache(maxsize=1)
def _products() -> Bytes:
    """Return the multiplication table of GF(256), reduced by x^8 + x^4 + x^3 + x^2 + 1."""
    power, powers = 1, []
    for _ in range(255):
        powers.append(power)
        power = power << 1 ^ (0x11D if power & 0x80 else 0)
    exponents = np.array(powers * 2, np.uint8)
    logarithms = np.zeros(256, np.intp)
    logarithms[powers] = np.arange(255)
    table: Bytes = exponents[logarithms[:, None] + logarithms[None]]
    table[0], table[:, 0] = 0, 0
    return table


@lru_cache(maxsize=100)
def _remainders(length: int, checks: int) -> Bytes:
    """Return what each place of a block adds to its check bytes: remainders of powers of x by the generator."""
    table = _products()
    generator, root = np.array([1], np.uint8), 1
    for _ in range(checks):
        generator = np.append(generator, np.uint8(0)) ^ np.append(np.uint8(0), table[generator, root])
        root = int(table[root, 2])
    found = np.zeros((length, checks), np.uint8)
    remainder = generator[1:]
    for place in reversed(range(length)):
        found[place] = remainder
        remainder = np.append(remainder[1:], np.uint8(0)) ^ table[generator[1:], remainder[0]]
    return found


@lru_cache(maxsize=VERSIONS)
def _form(version: int) -> _Form:
    free = _is_free(version)
    size = len(free)
    drawn = segno.make_qr(" ", version=version, error="m", mask=MASK, boost_error=False)
    modules = np.array([list(row) for row in drawn.matrix], np.uint8)
    row, column = np.indices((size, size))
    mask = (row // 2 + column // 3) % 2 == 0
    modules[free] = mask[free]
    places = [(row, column) for row, column in _way(size) if free[row, column]]
    rows, columns = np.array(places, np.intp).T
    return _Form(modules, rows, columns, _data_bytes(version))


def _way(size: int) -> list[tuple[int, int]]:
    """Return all modules in the order of the bits: pairs of columns from the right, up and down in turn."""
    rights = [right if right > 6 else right - 1 for right in range(size - 1, 0, -2)]
    places = []
    for turn, right in enumerate(rights):
        for step in range(size):
            row = step if turn % 2 else size - 1 - step
            places += [(row, right), (row, right - 1)]
    return places


def _is_free(version: int) -> NDArray[np.bool_]:
    """Return which modules of a version hold data."""
    size = 17 + 4 * version
    free = np.ones((size, size), np.bool_)
    free[6], free[:, 6] = False, False
    for rows, columns in ((slice(9), slice(9)), (slice(9), slice(-8, None)), (slice(-8, None), slice(9))):
        free[rows, columns] = False
    at = _alignments(version)
    for row in at:
        for column in at:
            if (row, column) not in ((6, 6), (6, size - 7), (size - 7, 6)):
                free[row - 2 : row + 3, column - 2 : column + 3] = False
    if version >= 7:
        free[:6, -11:-8], free[-11:-8, :6] = False, False
    return free


def _alignments(version: int) -> list[int]:
    """Return the middles of the alignment patterns, in both directions (annex E of the standard)."""
    if version == 1:
        return []
    count, last = version // 7 + 2, 10 + 4 * version
    step = 26 if version == 32 else (version * 4 + count * 2 + 1) // (count * 2 - 2) * 2
    return [6, *sorted(last - step * number for number in range(count - 1))]
