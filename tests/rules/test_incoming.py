"""E44: no body, query or form that somebody made for it takes long to read, nor to refuse."""

import gc
import itertools
import string
from collections.abc import Iterator
from contextlib import suppress
from time import process_time
from typing import Any

import msgspec
import pytest

from kassa.api.incoming import MAX_BODY, MAX_QUERY, decode_body, decode_query
from kassa.api.routes import ENDPOINTS
from kassa.api.serving import body_decoder
from kassa.core.errors import Invalid, Rejected
from tests.pace import within

SECONDS = 0.3
"""What is linear takes a fifth of that; what is quadratic three times as long."""


@pytest.fixture(autouse=True)
def _without_what_other_tests_left() -> Iterator[None]:
    """Let the collector look at what a body made alone: all that a worker holds by now would take it longer."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def _names() -> list[str]:
    """Return as many different names as a body has room for, the last one twice."""
    letters, found, size = string.ascii_letters + string.digits, [], 0
    for name in ("".join(each) for length in (1, 2, 3) for each in itertools.product(letters, repeat=length)):
        size += len(name) + 5
        if size > MAX_BODY - 100:
            break
        found.append(name)
    return [*found, found[-1]]


def _filled(piece: str, end: str = "") -> str:
    return piece * ((MAX_BODY - len(end) - 2) // len(piece)) + end


NAMES = _names()
BODIES = {
    "names, the last twice": "{" + ",".join(f'"{name}":1' for name in NAMES) + "}",
    "names, the first twice": "{" + ",".join(f'"{name}":1' for name in [NAMES[0], *NAMES[:-1]]) + "}",
    "one name again and again": "{" + _filled('"a":1,', '"b":1}'),
    "objects": "[" + _filled('{"a":1},', "{}]"),
    "objects in metadata": '{"metadata":[' + _filled("{},", "{}]}")[14:],
    "lists": "[" + _filled("[],", "[]]"),
    "deep": _filled("["),
    "deep names": _filled('{"a":'),
    "a long number": _filled("9"),
    "a long fraction": "0." + _filled("9")[2:],
    "escapes": '"' + _filled("\\u0041", '"'),
    "texts": '{"events":[' + _filled('"a",', '"a"]}')[12:],
    "sites": '{"version":1,"frame_ancestors":[' + _filled('"https://a",', '"a"]}')[40:],
    "spaces": _filled(" "),
}


@pytest.mark.parametrize("name", list(BODIES))
def test_e44_no_body_takes_long_to_read(name: str) -> None:
    body = BODIES[name].encode()
    assert MAX_BODY * 0.9 < len(body) <= MAX_BODY
    for decoder in (body_decoder(endpoint) for endpoint in ENDPOINTS if endpoint.writes):
        began = process_time()
        with suppress(Rejected):
            decode_body({}, body, decoder)
        assert within(process_time() - began, SECONDS)


@pytest.mark.parametrize("piece", ["a&", "a=1&", "&", "=", "%41", "+", ";", "limit=1&", "\xff"])
def test_e44_no_query_takes_long_to_read(piece: str) -> None:
    queries: list[type[msgspec.Struct] | None] = [None, *(one.query for one in ENDPOINTS if one.query is not None)]
    query = (piece * (MAX_QUERY // len(piece))).encode("latin-1")
    for shape in queries:
        began = process_time()
        with suppress(Rejected):
            decode_query(query, shape)
        assert within(process_time() - began, SECONDS)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"a":1,"b":2,"a":3}', "a"),
        (b'{"x":{"b":1,"a":2,"b":3}}', "b"),
        (b'{"b":1,"a":2,"a":3,"b":4}', "a"),  # the one that is there again first
        (rb'{"\ud800":1,"\ud800":2}', r"\ud800"),
        (b'{"' + b"n" * 100 + b'":1,"' + b"n" * 100 + b'":2}', "n" * 60),
    ],
)
def test_a_name_that_is_given_twice_is_refused_by_name(body: bytes, field: str) -> None:
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
    with pytest.raises(Invalid) as refused:
        decode_body({}, body, decoder)
    assert [fault.field for fault in refused.value.faults] == [field]
