"""Ids sort by time, and cannot be guessed."""

from hypothesis import given
from hypothesis import strategies as st

from kassa.core.ids import is_id, new_id
from tests.rules.build import at


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_later_ids_sort_after_earlier_ones(first: int, more: int) -> None:
    assert new_id("inv", at(first)) < new_id("inv", at(first + more))


def test_an_id_carries_96_random_bits(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    asked = []
    monkeypatch.setattr("kassa.core.ids.urandom", lambda size: asked.append(size) or b"\xff" * size)
    low = new_id("inv", at(0))
    assert asked == [12]
    assert len(low) == 33
    assert low.endswith("z" * 19)


def test_a_thousand_ids_of_one_moment_differ() -> None:
    assert len({new_id("pay", at(0)) for _ in range(1000)}) == 1000


def test_shapes_are_recognised() -> None:
    made = new_id("inv", at(0))
    assert is_id("inv", made)
    assert not is_id("pay", made)
    assert not is_id("inv", made + "0")
    assert not is_id("inv", made[:-1] + "u")
    assert not is_id("inv", "inv_../../etc")
