"""What the books should say."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kassa.ledger.model import Posting
from kassa.ledger.rules import delta, wanted
from kassa.payments.model import Status

NETWORK, ASSET = "bitcoin-regtest", "BTC@bitcoin-regtest"


def test_money_is_ours_from_the_first_confirmation_and_sold_when_settled() -> None:
    confirming = delta({}, wanted(NETWORK, ASSET, 7, Status.CONFIRMING))
    assert confirming == (Posting("chain:bitcoin-regtest", ASSET, 7), Posting("unsettled", ASSET, -7))
    settled = delta(wanted(NETWORK, ASSET, 7, Status.CONFIRMING), wanted(NETWORK, ASSET, 7, Status.SETTLED))
    assert settled == (Posting("sales", ASSET, -7), Posting("unsettled", ASSET, 7))


def test_a_reversal_mirrors_what_was_booked() -> None:
    booked = wanted(NETWORK, ASSET, 7, Status.SETTLED)
    assert delta(booked, wanted(NETWORK, ASSET, 7, Status.REVERSED)) == (
        Posting("chain:bitcoin-regtest", ASSET, -7),
        Posting("sales", ASSET, 7),
    )


@given(st.lists(st.sampled_from(list(Status)), max_size=20), st.integers(1, 2**256))
def test_every_history_is_booked_in_balanced_entries_and_ends_where_its_last_state_says(
    history: list[Status], units: int
) -> None:
    books: Counter[tuple[str, str]] = Counter()
    for status in history:
        postings = delta(dict(books), wanted(NETWORK, ASSET, units, status))
        assert sum(posting.units for posting in postings) == 0
        for posting in postings:
            books[posting.account, posting.asset] += posting.units
        assert delta(dict(books), wanted(NETWORK, ASSET, units, status)) == ()
    if history:
        assert {k: v for k, v in books.items() if v} == dict(wanted(NETWORK, ASSET, units, history[-1]))
