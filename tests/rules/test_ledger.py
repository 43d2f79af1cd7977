"""What the books should say."""

from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from kassa.core.ids import CustomerId
from kassa.ledger.model import Amount, Posting, Worth, wallet
from kassa.ledger.rules import (
    Balances,
    Claim,
    claimed,
    delta,
    moved,
    owing,
    together,
    wanted,
    wanted_claim,
    with_shortage,
    written_off,
)
from kassa.payments.model import Status

ASSET, RATE = "BTC@bitcoin-regtest", Fraction(50_000)
WALLET = wallet("bitcoin-regtest")
WORTH = Worth(RATE, 8, 2)  # a cent is 20 satoshi
SALES = (("sales", 700),)
ADA = CustomerId("cus_ada")


def posting(account: str, units: int, value: int) -> Posting:
    return Posting(account, ASSET, units, value, RATE)


def test_money_is_ours_from_the_first_confirmation_and_sold_when_settled() -> None:
    confirming = wanted(Status.CONFIRMING, ASSET, WALLET, SALES, WORTH)
    assert delta({}, confirming, RATE) == (posting("unsettled", -700, -35), posting(WALLET, 700, 35))
    settled = wanted(Status.SETTLED, ASSET, WALLET, SALES, WORTH)
    assert delta(confirming, settled, RATE) == (posting("sales", -700, -35), posting("unsettled", 700, 35))


def test_a_reversal_mirrors_what_was_booked() -> None:
    booked = wanted(Status.SETTLED, ASSET, WALLET, SALES, WORTH)
    assert delta(booked, wanted(Status.REVERSED, ASSET, WALLET, SALES, WORTH), RATE) == (
        posting("sales", 700, 35),
        posting(WALLET, -700, -35),
    )


def test_the_last_part_takes_what_rounding_left_over() -> None:
    # 31 satoshi are 1.55 cents, so 2; three parts of 10, 10 and 11 are 0.5, 0.5 and 0.55: half-even, 0, 0 and the rest.
    parts = [("sales", 10), ("over", 10), ("customer:cus_ada", 11)]
    books = moved(ASSET, WALLET, parts, WORTH)
    assert [books[account, ASSET].value for account, _ in parts] == [0, 0, -2]
    assert books[WALLET, ASSET] == Amount(31, 2)


def test_what_is_accepted_as_missing_is_sold_against_a_shortage() -> None:
    books = with_shortage(wanted(Status.SETTLED, ASSET, WALLET, SALES, WORTH), ASSET, 100, WORTH)
    assert {account: amount.units for (account, _), amount in books.items()} == {
        WALLET: 700,
        "under": 100,
        "sales": -800,
    }


def test_of_three_parts_with_values_the_last_takes_the_rest() -> None:
    books = moved(ASSET, WALLET, [("sales", 30), ("over", 50), ("customer:cus_ada", 50)], WORTH)  # 1.5, 2.5, 2.5 of 6.5
    assert [books[account, ASSET].value for account in ("sales", "over", "customer:cus_ada")] == [-2, -2, -2]
    books = moved(ASSET, WALLET, [("sales", 30), ("over", 30), ("customer:cus_ada", 40)], WORTH)
    assert [books[account, ASSET].value for account in ("sales", "over", "customer:cus_ada")] == [-2, -2, -1]


def test_where_an_account_is_on_both_sides_nothing_moved() -> None:
    assert moved(ASSET, "customer:cus_ada", [("customer:cus_ada", 700)], WORTH) == {}
    assert moved(ASSET, "customer:cus_ada", [("customer:cus_ada", 700), ("sales", 1)], Worth(None, 8, 2)) == {
        ("customer:cus_ada", ASSET): Amount(1),
        ("sales", ASSET): Amount(-1),
    }


def test_a_shortage_is_sold_at_its_value() -> None:
    books = with_shortage({}, ASSET, 100, WORTH)
    assert books == {("under", ASSET): Amount(100, 5), ("sales", ASSET): Amount(-100, -5)}


def test_without_a_rate_there_is_no_value() -> None:
    books = moved(ASSET, WALLET, SALES, Worth(None, 8, 2))
    assert {amount.value for amount in books.values()} == {0}
    assert {p.rate for p in delta({}, books, None)} == {None}


def test_what_an_earlier_version_booked_without_a_value_is_taken_back_without_one() -> None:
    old = {(WALLET, ASSET): Amount(700), ("unsettled", ASSET): Amount(-700)}
    assert [p.value for p in delta(old, {}, RATE)] == [0, 0]
    settled = delta(old, wanted(Status.SETTLED, ASSET, WALLET, SALES, WORTH), RATE)
    assert [(p.account, p.units, p.value) for p in settled] == [
        ("sales", -700, -35), ("unsettled", 700, 0), (WALLET, 0, 35),
    ]  # fmt: skip


NOTHING = Claim(Amount(0), Amount(0))


def test_credit_that_was_spent_and_lost_is_owed_until_it_is_back() -> None:
    owed = owing(NOTHING, 400, 0, WORTH)
    assert wanted_claim(ADA, ASSET, owed) == {
        ("receivables", ASSET): Amount(400, 20), ("customer:cus_ada", ASSET): Amount(-400, -20),
    }  # fmt: skip
    dearer = Worth(RATE * 2, 8, 2)
    more = owing(owed, 600, 0, dearer)
    assert more.receivable == Amount(600, 40)
    assert owing(more, 150, 0, WORTH).receivable == Amount(150, 10)
    assert wanted_claim(ADA, ASSET, owing(more, 0, 0, WORTH)) == {}


def test_what_is_written_off_is_a_loss_with_its_share_of_the_value_and_is_recovered_last() -> None:
    claim = written_off(Claim(Amount(600, 40), Amount(0)), 150)
    assert claim == Claim(Amount(450, 30), Amount(150, 10))
    assert wanted_claim(ADA, ASSET, claim) == {
        ("receivables", ASSET): Amount(450, 30),
        ("losses", ASSET): Amount(150, 10),
        ("customer:cus_ada", ASSET): Amount(-600, -40),
    }
    assert claimed(wanted_claim(ADA, ASSET, claim), ASSET) == claim
    assert owing(claim, 0, 150, WORTH) == Claim(Amount(0), Amount(150, 10))
    assert owing(claim, 0, 30, WORTH) == Claim(Amount(0), Amount(30, 2))


def test_a_claim_that_an_older_version_moved_to_the_losses_is_had_again_with_its_value() -> None:
    nowhere, booked = Worth(None, 0, 0), Claim(Amount(0), Amount(600, 40))
    assert owing(booked, 600, 0, nowhere) == Claim(Amount(600, 40), Amount(0))
    assert written_off(owing(booked, 450, 150, nowhere), 150) == Claim(Amount(300, 20), Amount(300, 20))
    assert owing(booked, 150, 300, WORTH) == Claim(Amount(150, 10), Amount(300, 20))  # 150 of 600 came back
    assert owing(booked, 0, 150, WORTH) == Claim(Amount(0), Amount(150, 10))
    assert owing(Claim(Amount(600, 40), Amount(0)), 0, 150, WORTH) == Claim(Amount(0), Amount(150, 10))
    assert owing(booked, 800, 0, WORTH) == Claim(Amount(800, 50), Amount(0))


def test_what_is_lost_together_is_worth_together_what_it_is_worth_apart() -> None:
    assert together([(7, WORTH)]) == WORTH
    dear, cheap, unknown = (Worth(rate, 8, 2) for rate in (Fraction(50_000), Fraction(100), None))
    assert together([(100_000, dear), (100_000, cheap)]).of(200_000) == Amount(200_000, 5_010)
    assert together([(300_000, cheap), (100_000, dear), (100_000, unknown)]).of(250_000) == Amount(250_000, 2_515)
    assert together([(1, unknown), (2, unknown)]) == unknown


accounts = st.sampled_from(["sales", "over", "customer:cus_ada", "unexpected"])
parts = st.lists(st.tuples(accounts, st.integers(0, 2**256)), min_size=1, max_size=4).filter(
    lambda found: any(units for _, units in found)
)
rates = st.none() | st.fractions(min_value=Fraction(1, 10**12), max_value=10**12)


@given(st.lists(st.tuples(st.sampled_from(list(Status)), parts, st.integers(0, 10**9)), max_size=12), rates)
def test_every_history_is_booked_in_balanced_entries_and_ends_where_its_last_state_says(history, rate) -> None:  # type: ignore[no-untyped-def]
    worth = Worth(rate, 18, 2)
    books: Counter[tuple[str, str]] = Counter()
    values: Counter[tuple[str, str]] = Counter()

    def posted() -> Balances:
        keys = {key for key in books if books[key] or values[key]}
        return {key: Amount(books[key], values[key]) for key in keys}

    should: Balances = {}
    for status, split, short in history:
        should = wanted(status, ASSET, WALLET, split, worth)
        if status is Status.SETTLED:
            should = with_shortage(should, ASSET, short, worth)
        entry = delta(posted(), should, rate)
        assert sum(posting.units for posting in entry) == 0
        assert sum(posting.value for posting in entry) == 0
        for each in entry:
            books[each.account, each.asset] += each.units
            values[each.account, each.asset] += each.value
        assert delta(posted(), should, rate) == ()
    assert posted() == should


@given(st.lists(st.tuples(st.integers(0, 2**128), st.integers(0, 2**128)), max_size=8), rates)
def test_claims_balance_whatever_is_owed_and_written_off_and_vanish_with_their_cause(steps, rate) -> None:  # type: ignore[no-untyped-def]
    claim, worth = NOTHING, Worth(rate, 8, 2)
    for owed, given_up in [*steps, (0, 0)]:
        lost = min(claim.loss.units, owed)
        claim = owing(claim, owed - lost, lost, worth)
        before = claim
        claim = written_off(claim, min(given_up, claim.receivable.units))
        assert claim.receivable.units + claim.loss.units == owed
        assert claim.receivable.value + claim.loss.value == before.receivable.value + before.loss.value
        books = wanted_claim(ADA, ASSET, claim)
        assert sum(amount.units for amount in books.values()) == sum(amount.value for amount in books.values()) == 0
        assert claimed(books, ASSET) == claim
        assert all((amount.units, amount.value) >= (0, 0) for amount in (claim.receivable, claim.loss))
    assert claim == NOTHING
