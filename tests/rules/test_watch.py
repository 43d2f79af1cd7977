"""Which blocks are the best chain.

    held     a1 - a2 - a3 - a4
                   \
    offered         b3 - b4 - b5
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.core.facts import Block, BlockRef, Contract, Tip
from kassa.core.ids import StoreId
from kassa.payments.model import Sight
from kassa.watch.model import ChainUpdate, KnownContract, Older, Position, Restraint, TooDeep
from kassa.watch.rules import MOST_SPANS, closed, contract_doubt, extend, is_behind, node_state, renamed, spans
from tests.rules.build import START, block, chain


def branch(first: int, last: int, parent: str, name: str = "b") -> list[Block]:
    return [block(h, name, parent if h == first else None) for h in range(first, last + 1)]


def test_nothing_offered_changes_nothing() -> None:
    assert extend(chain(1, 4), [], 10) is None


def test_the_first_block_is_taken_as_it_is() -> None:
    assert extend([], [block(7)], 10) == ChainUpdate((), (block(7),))


def test_a_block_on_our_tip_is_applied() -> None:
    assert extend(chain(4, 4), [block(5)], 10) == ChainUpdate((), (block(5),))


def test_our_own_blocks_again_change_nothing() -> None:
    assert extend(chain(1, 4), [block(3), block(4)], 10) is None


def test_a_shorter_answer_is_a_lagging_node() -> None:
    assert extend(chain(1, 4), branch(2, 3, "a1"), 10) is None


def test_a_branch_of_our_height_is_followed() -> None:
    update = extend(chain(1, 4), branch(3, 4, "a2"), 10)
    assert update == ChainUpdate((BlockRef(4, "a4"), BlockRef(3, "a3")), tuple(branch(3, 4, "a2")))


def test_known_blocks_below_the_parting_are_not_undone() -> None:
    update = extend(chain(1, 4), [block(2), *branch(3, 5, "a2")], 10)
    assert update == ChainUpdate((BlockRef(4, "a4"), BlockRef(3, "a3")), tuple(branch(3, 5, "a2")))


def test_an_offer_that_reaches_below_our_first_block_leaves_no_hole_where_we_agree() -> None:
    offered = [block(2), block(3), *branch(4, 5, "a3")]
    assert extend(chain(3, 4), offered, 10) == ChainUpdate((BlockRef(4, "a4"),), tuple(branch(4, 5, "a3")))
    assert extend(chain(3, 4), [block(2), block(3), block(4)], 10) is None
    assert extend(chain(3, 4), [block(2), block(3), block(4), block(5)], 10) == ChainUpdate((), (block(5),))


def test_blocks_that_do_not_link_ask_for_older_ones_twice_as_far_back_each_time() -> None:
    assert extend(chain(100, 100), branch(101, 102, "b100"), 50) == Older(100)
    assert extend(chain(99, 100), branch(100, 102, "b99"), 50) == Older(98)
    assert extend(chain(97, 100), branch(98, 102, "b97"), 50) == Older(94)


def test_a38_a_final_block_is_not_undone() -> None:
    assert extend(chain(1, 4), branch(3, 5, "a2"), 10, final=2) == extend(chain(1, 4), branch(3, 5, "a2"), 10)
    assert extend(chain(1, 4), branch(3, 5, "a2"), 10, final=3) == TooDeep(2, below_final=True)
    assert extend(chain(1, 4), [block(5)], 10, final=4) == ChainUpdate((), (block(5),))


@pytest.mark.parametrize(
    ("known", "seen", "reason"),
    [
        (None, Contract("A", 6, "one"), None),
        (None, Contract("A", 18, "one"), "says it has 18 decimals"),
        (None, Contract("A", None, "one"), "does not say its decimals"),
        (KnownContract("A", "one", None), Contract("A", 6, "one"), None),
        (KnownContract("A", "one", None), Contract("A", 6, "two"), "code has changed"),
        (KnownContract("A", None, None), Contract("A", 6, "two"), None),
        (KnownContract("A", "one", "a doubt"), Contract("A", 6, "one"), "a doubt"),
    ],
)
def test_b5_b16_a_contract_is_doubted_when_decimals_or_code_differ(
    known: KnownContract | None, seen: Contract, reason: str | None
) -> None:
    told = contract_doubt(known, seen, decimals=6)
    assert told is None if reason is None else reason in str(told)


def test_a_hole_asks_for_what_is_missing() -> None:
    assert extend(chain(1, 4), [block(7)], 10) == Older(5)


@pytest.mark.parametrize(("depth", "followed"), [(9, True), (10, True), (11, False)])
def test_a_reorganisation_may_be_as_deep_as_allowed(depth: int, followed: bool) -> None:
    parting = 100 - depth
    answer = extend(chain(50, 100), branch(parting + 1, 101, f"a{parting}"), 10)
    assert isinstance(answer, ChainUpdate) is followed
    assert followed or answer == TooDeep(depth)


def test_what_does_not_link_at_the_allowed_depth_is_too_deep() -> None:
    assert extend(chain(90, 100), branch(91, 101, "b90"), 10) == TooDeep(11)


def test_below_our_first_block_nothing_of_ours_can_be() -> None:
    update = extend(chain(5, 6), branch(5, 7, "b4"), 10)
    assert isinstance(update, ChainUpdate)
    assert [ref.height for ref in update.undo] == [6, 5]


@given(ours=st.integers(1, 12), parting=st.integers(0, 12), theirs=st.integers(1, 14), room=st.integers(0, 12))
def test_searching_backwards_finds_the_parting_or_refuses(ours: int, parting: int, theirs: int, room: int) -> None:
    """The node's chain a1..a<parting>, b<parting+1>..b<theirs>, ours a1..a<ours>: compare with a plain comparison."""
    parting = min(parting, ours, theirs)
    node = [block(h) for h in range(1, parting + 1)]
    node += branch(parting + 1, theirs, f"a{parting}") if theirs > parting else []
    held, first = chain(1, ours), min(ours + 1, theirs)
    for _ in range(20):
        offered = [b for b in node if first <= b.ref.height]
        answer = extend([ref for ref in held if ref.height >= first - 1], offered, room)
        if not isinstance(answer, Older):
            break
        assert answer.first < first
        first = answer.first
    depth = ours - parting
    if theirs < ours or (theirs == ours == parting):
        assert answer is None
    elif depth > room:
        assert isinstance(answer, TooDeep)
    else:
        assert isinstance(answer, ChainUpdate)
        assert [ref.height for ref in answer.undo] == list(range(ours, parting, -1))
        assert [b.ref.height for b in answer.apply] == list(range(parting + 1, theirs + 1))


@given(st.lists(st.integers(0, 60), max_size=30), st.lists(st.integers(0, 60), max_size=30))
def test_spans_name_every_height_once_and_no_other(held: list[int], heights: list[int]) -> None:
    named = spans(spans([], held), heights)
    told = [height for first, last in named for height in range(first, last + 1)]
    wanted = sorted({*held, *heights})
    assert set(wanted) <= set(told)
    assert len(named) <= MOST_SPANS
    if len(named) < MOST_SPANS:
        assert told == wanted


def tip(height: int = 10, *, header: int | None = None, syncing: bool = False) -> Tip:
    return Tip(BlockRef(height, f"a{height}"), START, height if header is None else header, syncing)


@pytest.mark.parametrize(
    ("said", "at", "age", "expected"),
    [
        (tip(), BlockRef(10, "a10"), 0, "ok"),
        (tip(), BlockRef(9, "a9"), 0, "ok"),
        (tip(), BlockRef(8, "a8"), 0, "syncing"),
        (tip(), None, 0, "syncing"),
        (tip(syncing=True), BlockRef(10, "a10"), 0, "syncing"),
        (tip(header=11), BlockRef(10, "a10"), 0, "ok"),
        (tip(header=12), BlockRef(10, "a10"), 0, "syncing"),
        (tip(), BlockRef(11, "a11"), 0, "syncing"),
        (tip(), BlockRef(10, "a10"), 7200, "ok"),
        (tip(), BlockRef(10, "a10"), 7201, "stalled"),
    ],
)
def test_a_networks_state_follows_from_what_its_node_says(said: Tip, at: BlockRef, age: int, expected: str) -> None:
    assert node_state(said, at, 7200, START + timedelta(seconds=age))[0] == expected


@pytest.mark.parametrize(
    ("below", "block_seconds", "expected"),
    [
        (0, 600, False),
        (1, 600, False),  # of nodes behind one address one may have a block that another has not
        (2, 600, True),
        (1, 12, False),
        (2, 12, False),
        (3, 12, True),
        (12, 2, False),  # half a minute of a fast chain
        (13, 2, True),
        (24, 0, False),
        (25, 0, True),
    ],
)
def test_a31_a_node_far_below_us_is_behind_though_it_does_not_know_it(
    below: int, block_seconds: int, expected: bool
) -> None:
    assert is_behind(tip(100 - below), BlockRef(100, "a100"), block_seconds) is expected


def test_a31_a_node_is_behind_by_its_own_word_or_ours() -> None:
    assert is_behind(tip(syncing=True), None, 600)
    assert is_behind(tip(header=12), BlockRef(10, "a10"), 600)
    assert not is_behind(tip(), None, 600)
    assert not is_behind(tip(), BlockRef(2, "a2"), 600)  # we are behind, not the node


def test_where_blocks_come_on_demand_no_tip_is_too_old() -> None:
    assert node_state(tip(), BlockRef(10, "a10"), None, START + timedelta(days=30))[0] == "ok"


@pytest.mark.parametrize(
    ("change", "shut"),
    [
        ({}, []),
        ({"state": "syncing"}, []),
        ({"state": "halted"}, ["A one", "A two", "B one", "B two"]),
        ({"observed_at": None}, ["A one", "A two", "B one", "B two"]),
        ({"node_behind": True}, ["A one", "A two", "B one", "B two"]),
        ({"forsaken": True}, ["A one", "A two", "B one", "B two"]),
        ({"frozen": frozenset({"A"})}, ["A one", "A two"]),
        ({"restraints": (Restraint("held", START, asset="B"),)}, ["B one", "B two"]),
        ({"restraints": (Restraint("unoffered", START, store_id="two"),)}, ["A two", "B two"]),
        ({"restraints": (Restraint("raised", START, blocks=6),)}, []),
    ],
)
def test_nobody_is_asked_to_pay_what_might_not_be_seen_or_is_held_back(
    change: dict[str, object], shut: list[str]
) -> None:
    position = replace(Position("n", 1, None, "ok", START, None), **change)  # type: ignore[arg-type]
    sight = Sight(0, START, 60, closed=closed(position))

    asked = [(asset, store) for asset in "AB" for store in ("one", "two")]
    assert [f"{asset} {store}" for asset, store in asked if sight.is_closed(asset, StoreId(store))] == shut


@pytest.mark.parametrize(
    ("configured", "used", "found"),
    [
        ({}, [("a", "one")], None),
        ({"a": "one"}, [], None),
        ({"a": "one"}, [("a", "one")], None),
        ({"b": "one"}, [("a", "one")], ("b", "a")),
        ({"b": "two"}, [("a", "one")], None),
        ({"c": "two", "b": "one"}, [("a", "one"), ("c", "two")], ("b", "a")),
        ({"b": "one"}, [("a", "one"), ("b", "one")], None),
        ({"a": "one", "b": "one"}, [("a", "one")], None),  # told of by the settings
    ],
)
def test_a_section_without_wallets_whose_chain_has_some_under_another_name_was_renamed(
    configured: dict[str, str], used: list[tuple[str, str]], found: tuple[str, str] | None
) -> None:
    assert renamed(configured, used) == found
