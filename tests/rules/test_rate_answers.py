"""Rates, refusals and alarms compared whole: what is told with them is kept for accounting, and read by operators."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from kassa.core.errors import Invalid
from kassa.core.money import currency, format_rate
from kassa.invoices.policy import NOTHING, changed
from kassa.rates.model import Alarm, AlarmKind, Dropped, Lack, NoRate, Pair, Policy, Quote, Rate, Reason, Ticker
from kassa.rates.rules import PLACES, alarms, depegs, fault_of, find, holds_until, with_spread
from tests.rules.test_rates import ALL, BTC_EUR, NOW, POLICY, quote, quotes, rate, read_twice

EUR_USD = Pair("EUR", "USD")
BTC_USD = Pair("BTC", "USD")


def sided(price: int, bid: int, ask: int, pair: Pair = BTC_EUR) -> list[Quote]:
    """Return what two sources say, on both sides of a price."""
    return [replace(quote(price, source, pair), bid=Fraction(bid), ask=Fraction(ask)) for source in ALL[:2]]


def made(found: Rate | NoRate) -> Rate:
    assert isinstance(found, Rate)
    return found


def test_an_inverse_market_has_its_sides_exchanged_and_bears_the_pair_that_was_asked_for() -> None:
    found = made(rate(*sided(100, 80, 125), base="EUR", currency="BTC"))
    assert (found.value, found.bid, found.ask) == (Fraction(1, 100), Fraction(1, 125), Fraction(1, 80))
    [leg] = found.legs
    assert (leg.pair, leg.bid, leg.ask) == (Pair("EUR", "BTC"), Fraction(1, 125), Fraction(1, 80))


def test_the_sides_of_a_cross_are_those_of_its_market_times_the_reference() -> None:
    found = made(rate(*sided(100, 99, 101, BTC_USD), quote(Fraction(5, 4), "ecb", EUR_USD)))
    assert (found.value, found.bid, found.ask) == (80, Fraction(396, 5), Fraction(404, 5))
    assert [leg.pair for leg in found.legs] == [BTC_USD, Pair("USD", "EUR")]


def test_both_markets_of_a_cross_have_sides() -> None:
    doge = [replace(each, pair=Pair("DOGE", "BTC")) for each in sided(4, 2, 8)]
    found = made(rate(*doge, *sided(10, 5, 20), base="DOGE", policy=Policy(sources=ALL, pivots=("BTC",))))
    assert (found.value, found.bid, found.ask) == (40, 10, 160)


@pytest.mark.parametrize(("base", "other", "said"), [("EUR", "USD", Fraction(5, 4)), ("USD", "EUR", Fraction(4, 5))])
def test_a_reference_has_no_sides_and_one_of_its_codes_may_be_the_anchor(base: str, other: str, said: Fraction) -> None:
    found = made(rate(quote(Fraction(5, 4), "ecb", EUR_USD), base=base, currency=other))
    assert (found.value, found.bid, found.ask) == (said, None, None)
    assert [leg.pair for leg in found.legs] == [Pair(base, other)]


def test_a_reference_that_is_too_old_is_named_in_the_refusal() -> None:
    old = quote(Fraction(5, 4), "ecb", EUR_USD, age=7 * 86_400)
    found = rate(old, base="USD", currency="EUR")
    assert found == NoRate(Pair("USD", "EUR"), Lack.TOO_FEW, (Dropped(old, Reason.STALE),))


def test_a_refusal_names_the_pair_that_was_asked_for_and_not_the_market() -> None:
    assert rate(quote(100), base="EUR", currency="BTC") == NoRate(Pair("EUR", "BTC"), Lack.TOO_FEW)


def test_a_pair_that_was_fixed_the_other_way_round_is_its_inverse_as_of_now() -> None:
    found = made(rate(policy=Policy(sources=ALL, fixed={"EUR/BTC": Fraction(4)})))
    assert (found.value, found.source, found.at) == (Fraction(1, 4), "fixed", NOW)
    assert [leg.pair for leg in found.legs] == [BTC_EUR]
    fixed = {"BTC/USD": Fraction(100), "USD/EUR": Fraction(1, 2)}
    crossed = made(rate(policy=Policy(sources=ALL, fixed=fixed)))
    assert (crossed.value, crossed.source, crossed.at) == (50, "fixed*fixed via USD", NOW)


def test_what_rounds_to_nothing_is_told_as_a_lack_also_after_a_cross() -> None:
    nothing = NoRate(BTC_EUR, Lack.TOO_FEW)
    assert rate(*quotes(Fraction(1, 10**19), Fraction(1, 10**19))) == nothing
    tiny = quotes(Fraction(1, PLACES), Fraction(1, PLACES), pair=BTC_USD)
    assert rate(*tiny, quote(Fraction(5, 4), "ecb", EUR_USD)) == nothing


def test_a_pivot_that_is_one_of_the_codes_is_passed_over_for_the_next() -> None:
    policy = Policy(sources=ALL, pivots=("BTC", "EUR", "USD"))
    found = rate(*quotes(100, 100, pair=BTC_USD), quote(Fraction(5, 4), "ecb", EUR_USD), policy=policy)
    assert made(found).value == 80


def test_two_of_four_are_no_majority() -> None:
    found = rate(*quotes(100, 100, 90, 110))
    assert isinstance(found, NoRate)
    assert (found.pair, found.lack) == (BTC_EUR, Lack.DISAGREEMENT)


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_of_two_answers_of_one_moment_the_order_in_which_they_are_read_decides_nothing(side: str) -> None:
    one, two, none = (
        Quote(BTC_EUR, "kraken", None, None, Fraction(1), NOW, NOW),
        *(replace(quote(1), **{side: Fraction(n, 2)}) for n in (1, 3)),
    )
    policy = Policy(sources=ALL, min_sources=1)
    for pair, last in (((one, two), two), ((two, none), none)):
        for said in (pair, pair[::-1]):
            assert getattr(made(rate(*said, policy=policy)), side) == getattr(last, side)


def test_a_rate_holds_to_the_very_moment_in_which_its_quote_is_as_old_as_it_may_be() -> None:
    limits = Policy(max_age=timedelta(seconds=300), fiat_max_age=timedelta(seconds=100))
    assert holds_until({BTC_EUR: (quote(1, age=300),)}, limits, NOW) == NOW


def test_the_smallest_spread_lowers_a_rate_and_is_told_with_it() -> None:
    lower = with_spread(Rate(Fraction(1), "fixed", NOW), 1)
    assert (lower.value, lower.spread_ppm) == (Fraction(999_999, 1_000_000), 1)
    least = Rate(Fraction(1, PLACES), "fixed", NOW)
    assert with_spread(least, 1) == least  # nothing is no rate


def test_alarms_say_what_was_missing_and_of_which_source() -> None:
    jumped = {BTC_EUR: tuple(read_twice((100, 150), (100, 150)))}
    detail = "the rate jumped, and no second reading has confirmed it yet (kraken jumped, coinbase jumped)"
    assert alarms([BTC_EUR], jumped, POLICY, NOW) == [
        Alarm(AlarmKind.NO_RATE, "", "BTC/EUR", detail),
        Alarm(AlarmKind.RATE_JUMPED, "", "BTC/EUR", detail),
    ]
    ageing = {BTC_EUR: tuple(quote(100, source, age=200) for source in ALL[:2])}
    half = "half of max_age has passed: too few fresh sources (kraken stale, coinbase stale)"
    assert alarms([BTC_EUR], ageing, POLICY, NOW) == [Alarm(AlarmKind.RATE_AGEING, "", "BTC/EUR", half)]
    assert alarms([BTC_EUR], {}, POLICY, NOW) == [Alarm(AlarmKind.NO_RATE, "", "BTC/EUR", "too few fresh sources")]


def test_a_coin_that_fell_is_told_beside_one_whose_rate_nobody_knows() -> None:
    usdc, usdt = Pair("USDC", "USD"), Pair("USDT", "USD")
    fell = Alarm(AlarmKind.DEPEGGED, "", "USDC/USD", "0.90 instead of 1")
    known = {usdc: quotes("0.90", "0.90", pair=usdc)}
    assert depegs(["USDC"], known, POLICY, NOW) == [fell]
    stood = Alarm(AlarmKind.DEPEGGED, "", str(usdt), "0.80 instead of 1")
    assert depegs(["USDC", "USDT"], known, POLICY, NOW, [stood]) == [fell, stood]


@pytest.mark.parametrize(
    ("ticker", "said"),
    [
        (Ticker(None, None, Fraction(0), None), "a price is not above zero"),
        (Ticker(None, None, Fraction(PLACES), None), "a price is beyond all measure"),
        (Ticker(Fraction(101), Fraction(100), Fraction(100), None), "the bid is above the ask"),
        (Ticker(Fraction(1), Fraction(2), Fraction(1), None), "bid and ask are too far apart to say anything"),
        (Ticker(None, None, Fraction(1), NOW + timedelta(seconds=61)), "its time lies in the future"),
        (Ticker(Fraction(1), None, Fraction(1), None), None),
        (Ticker(None, Fraction(1), Fraction(1), None), None),
    ],
)
def test_an_answer_is_refused_in_these_words_and_not_for_having_one_side(ticker: Ticker, said: str | None) -> None:
    assert fault_of(ticker, POLICY.max_deviation, NOW) == said


def test_a_whole_rate_in_a_currency_without_decimals_has_no_point() -> None:
    assert (format_rate(Fraction(5), 0), format_rate(Fraction(5, 2), 0), format_rate(Fraction(5))) == (
        "5",
        "2.5",
        "5.00",
    )


def test_every_field_of_a_policy_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        changed(NOTHING, {"short": "x", "over": "y"}, currency("EUR"))
    assert sorted(fault.field for fault in refused.value.faults) == ["policy.over", "policy.short"]
    with pytest.raises(Invalid) as unknown:
        currency("NOPE")
    assert [fault.field for fault in unknown.value.faults] == ["currency"]


def test_a_pair_is_found_in_no_quotes_at_all() -> None:
    assert find("BTC", "EUR", {}, POLICY, NOW) == NoRate(BTC_EUR, Lack.TOO_FEW)
