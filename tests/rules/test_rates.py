"""Which rate applies: examples at each boundary, and what holds for all quotes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from itertools import permutations
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.core.money import due_units, format_rate
from kassa.rates.markets import is_fiat, market, needed
from kassa.rates.model import Alarm, AlarmKind, Lack, NoRate, Pair, Policy, Quote, Quotes, Rate, Reason, Ticker
from kassa.rates.rules import PLACES, alarms, backoff_seconds, depegs, fault_of, find, holds_until, with_spread
from tests.rules.build import at

NOW = at(0)
BTC_EUR = Pair("BTC", "EUR")
ALL = ("kraken", "coinbase", "bitstamp", "binance", "bitfinex", "ecb")
POLICY = Policy(sources=ALL)
STEP = Fraction(1, 10**6)


def quote(price: Fraction | int | str, source: str = "kraken", pair: Pair = BTC_EUR, age: float = 0) -> Quote:
    moment = NOW - timedelta(seconds=age)
    return Quote(pair, source, None, None, Fraction(price), moment, moment)


def quotes(*prices: Fraction | int | str, pair: Pair = BTC_EUR) -> tuple[Quote, ...]:
    return tuple(quote(price, source, pair) for price, source in zip(prices, ALL, strict=False))


def rate(*given_: Quote, base: str = "BTC", currency: str = "EUR", policy: Policy = POLICY) -> Rate | NoRate:
    found: dict[Pair, tuple[Quote, ...]] = {}
    for each in given_:
        found[each.pair] = (*found.get(each.pair, ()), each)
    return find(base, currency, found, policy, NOW)


def value(found: Rate | NoRate) -> Fraction | None:
    return found.value if isinstance(found, Rate) else None


def reasons(found: Rate | NoRate) -> dict[str, Reason]:
    dropped = found.dropped if isinstance(found, NoRate) else [each for leg in found.legs for each in leg.dropped]
    return {each.quote.source: each.reason for each in dropped}


# ---------------------------------------------------------------- one market


def test_the_same_code_needs_no_rate_and_no_source() -> None:
    assert find("BTC", "BTC", {}, Policy(), NOW) == Rate(Fraction(1), "same", NOW)


def test_a_fixed_pair_overrides_the_sources_and_is_as_fresh_as_now() -> None:
    found = rate(*quotes(100, 100), policy=Policy(sources=ALL, fixed={"BTC/EUR": Fraction(7)}))
    assert isinstance(found, Rate)
    assert (found.value, found.source, found.at) == (7, "fixed", NOW)


def test_the_median_of_three_and_of_four() -> None:
    three, four = rate(*quotes(100, 102, 101)), rate(*quotes(100, 101, 102, "100.5"))
    assert (value(three), value(four)) == (101, Fraction("100.75"))
    assert isinstance(three, Rate)
    assert three.source == "median(kraken,coinbase,bitstamp)"


def test_sources_are_named_in_the_order_of_the_settings() -> None:
    found = rate(*quotes(100, 100, 100), policy=Policy(sources=("bitstamp", "kraken", "coinbase")))
    assert isinstance(found, Rate)
    assert found.source == "median(bitstamp,kraken,coinbase)"


def test_a_source_that_is_not_configured_counts_nothing() -> None:
    assert value(rate(*quotes(100, 100, 99), policy=Policy(sources=("kraken", "coinbase")))) == 100
    assert isinstance(rate(*quotes(100, 100), policy=Policy(sources=("kraken",))), NoRate)


def test_the_newest_quote_of_a_source_counts() -> None:
    assert value(rate(quote(100, age=10), quote(101), quote(101, "coinbase"))) == 101


def test_c4_a_quote_is_fresh_up_to_the_limit_and_not_beyond() -> None:
    old = [quote(100, "kraken", age=300), quote(100, "coinbase", age=300)]
    older = [quote(100, "kraken", age=300), quote(100, "coinbase", age=300.000001)]
    assert value(rate(*old)) == 100
    found = rate(*older)
    assert found == NoRate(BTC_EUR, Lack.TOO_FEW, found.dropped)  # type: ignore[union-attr]
    assert reasons(found) == {"coinbase": Reason.STALE}


def test_the_age_is_that_of_the_sources_time() -> None:
    frozen = Quote(BTC_EUR, "coinbase", None, None, Fraction(100), NOW - timedelta(hours=1), NOW)
    assert reasons(rate(quote(100), frozen)) == {"coinbase": Reason.STALE}


def test_what_was_fetched_later_was_not_known() -> None:
    assert isinstance(rate(quote(100), quote(100, "coinbase", age=-1)), NoRate)


def test_the_rate_is_as_old_as_its_oldest_quote() -> None:
    found = rate(quote(100, age=20), quote(100, "coinbase", age=90), quote(300, "bitstamp", age=200))
    assert isinstance(found, Rate)
    assert found.at == NOW - timedelta(seconds=90)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (Fraction(102) + STEP, Reason.OUTLIER),
        (Fraction(98) - STEP, Reason.OUTLIER),
        (Fraction(100) * 10**7, Reason.OUTLIER),
        (Fraction(100, 1000), Reason.OUTLIER),
        (Fraction(1, 100), Reason.INVERTED),
        (Fraction(1, 102), Reason.INVERTED),
        (Fraction(1000), Reason.OUTLIER),
    ],
)
def test_c5_one_of_three_that_is_off_is_dropped_and_the_others_decide(odd: Fraction, reason: Reason) -> None:
    found = rate(*quotes(100, 100, odd))
    assert value(found) == 100
    assert reasons(found) == {"bitstamp": reason}


@pytest.mark.parametrize("near", [102, 98, 100])
def test_c5_at_the_distance_itself_nothing_is_dropped(near: int) -> None:
    assert reasons(rate(*quotes(100, 100, near))) == {}


def test_c5_two_that_differ_by_more_than_the_distance_give_nothing() -> None:
    assert value(rate(*quotes(100, 102))) == 101
    found = rate(*quotes(100, 102 + STEP))
    assert found == NoRate(BTC_EUR, Lack.DISAGREEMENT, found.dropped)  # type: ignore[union-attr]
    assert reasons(found) == {"kraken": Reason.DISAGREES, "coinbase": Reason.DISAGREES}


def test_c5_of_two_of_which_one_is_inverted_neither_counts() -> None:
    assert reasons(rate(*quotes(100, "0.01"))) == {"kraken": Reason.INVERTED, "coinbase": Reason.INVERTED}


def test_c5_the_middle_of_three_that_all_differ_is_no_witness() -> None:
    for least in (1, 2):
        found = rate(*quotes(1, 10, 100), policy=Policy(sources=ALL, min_sources=least))
        assert isinstance(found, NoRate)
        assert found.lack is Lack.DISAGREEMENT


def test_c5_two_against_two_is_no_majority() -> None:
    assert isinstance(rate(*quotes(100, 100, 1000, 1000)), NoRate)


def test_one_source_is_enough_only_where_that_was_said() -> None:
    alone = Policy(sources=("kraken",), min_sources=1)
    assert value(rate(quote(100), policy=alone)) == 100
    assert isinstance(rate(quote(100)), NoRate)


def test_bid_and_ask_are_medians_too() -> None:
    sided = [
        Quote(BTC_EUR, source, Fraction(bid), Fraction(bid + 1), Fraction(2 * bid + 1, 2), NOW, NOW)
        for source, bid in (("kraken", 100), ("coinbase", 101), ("bitstamp", 102))
    ]
    found = rate(*sided)
    assert isinstance(found, Rate)
    assert (found.bid, found.value, found.ask) == (101, Fraction("101.5"), 102)


# ---------------------------------------------------------------- crosses


def test_a_cross_through_the_pivot_multiplies_the_market_and_the_reference() -> None:
    usd, eur = quotes(100, 100, pair=Pair("BTC", "USD")), quote("1.25", "ecb", Pair("EUR", "USD"), age=86_400)
    found = rate(*usd, eur)
    assert isinstance(found, Rate)
    assert (found.value, found.source, found.pivot) == (80, "median(kraken,coinbase)*ecb via USD", "USD")
    assert found.at == NOW - timedelta(days=1)


def test_a_cross_of_two_fiat_currencies_goes_through_the_euro() -> None:
    usd = quotes(100, 100, pair=Pair("BTC", "USD"))
    reference = [quote("1.25", "ecb", Pair("EUR", "USD")), quote("0.5", "ecb", Pair("EUR", "CHF"))]
    assert value(rate(*usd, *reference, currency="CHF")) == 40


def test_a_cross_through_bitcoin_divides_by_an_inverse_market() -> None:
    ltc, btc = quotes("0.002", "0.002", pair=Pair("LTC", "BTC")), quotes(50_000, 50_000, pair=Pair("BTC", "JPY"))
    assert value(rate(*ltc, *btc, base="LTC", currency="JPY")) == 100
    assert value(rate(*quotes(4, 4, pair=Pair("BTC", "USD")), base="USD", currency="BTC")) == Fraction(1, 4)


def test_the_reference_has_an_age_of_its_own() -> None:
    usd = quotes(100, 100, pair=Pair("BTC", "USD"))
    limit = POLICY.fiat_max_age.total_seconds()
    assert value(rate(*usd, quote(1, "ecb", Pair("EUR", "USD"), age=limit))) == 100
    assert isinstance(rate(*usd, quote(1, "ecb", Pair("EUR", "USD"), age=limit + 1)), NoRate)


def test_the_market_comes_before_the_pivot_and_the_pivots_in_their_order() -> None:
    eur = quote(1, "ecb", Pair("EUR", "USD"))
    usd = quotes(100, 100, pair=Pair("LTC", "USD"))
    btc = [*quotes(2, 2, pair=Pair("LTC", "BTC")), *quotes(7, 7)]
    direct = quotes(300, 300, pair=Pair("LTC", "EUR"))
    assert value(rate(eur, *usd, *btc, *direct, base="LTC")) == 300
    assert value(rate(eur, *usd, *btc, base="LTC")) == 100
    assert value(rate(*usd, *btc, base="LTC")) == 14


def test_a_market_that_contradicts_itself_is_not_gone_round() -> None:
    usd, eur = quotes(100, 100, pair=Pair("BTC", "USD")), quote(1, "ecb", Pair("EUR", "USD"))
    assert isinstance(rate(*quotes(100, 200), *usd, eur), NoRate)


def test_a_market_on_the_way_that_contradicts_itself_is_not_gone_round_by_the_next_pivot() -> None:
    eur = quote(1, "ecb", Pair("EUR", "USD"))
    btc = [*quotes(2, 2, pair=Pair("LTC", "BTC")), *quotes(7, 7)]
    found = rate(eur, *quotes(100, 200, pair=Pair("LTC", "USD")), *btc, base="LTC")
    assert isinstance(found, NoRate)
    assert (found.pair, found.lack) == (Pair("LTC", "EUR"), Lack.DISAGREEMENT)
    assert reasons(found) == {"kraken": Reason.DISAGREES, "coinbase": Reason.DISAGREES}
    assert value(rate(*quotes(100, 200, pair=Pair("LTC", "USD")), *btc, base="LTC")) == 14  # no way through USD at all


def test_c26_a_stable_coin_is_worth_what_its_market_says() -> None:
    usdc = Pair("USDC", "USD")
    assert isinstance(rate(base="USDC", currency="USD"), NoRate)
    assert value(rate(*quotes("0.90", "0.90", pair=usdc), base="USDC", currency="USD")) == Fraction("0.9")


def test_a_pegged_asset_may_be_fixed_and_crossed() -> None:
    pegged = Policy(sources=ALL, fixed={"USDC/USD": Fraction(1)})
    found = rate(quote("1.25", "ecb", Pair("EUR", "USD")), base="USDC", policy=pegged)
    assert isinstance(found, Rate)
    assert (found.value, found.source) == (Fraction("0.8"), "fixed*ecb via USD")


def test_a_cross_is_rounded_down_in_the_merchants_favour() -> None:
    usd, eur = quotes(1, 1, pair=Pair("BTC", "USD")), quote(3, "ecb", Pair("EUR", "USD"))
    found = value(rate(*usd, eur))
    assert found == Fraction(333_333_333_333_333_333, 10**18)


def test_what_rounds_to_nothing_is_no_rate() -> None:
    assert isinstance(rate(*quotes(Fraction(1, 10**19), Fraction(1, 10**19))), NoRate)


# ---------------------------------------------------------------- markets


@pytest.mark.parametrize(
    ("one", "other", "pair"),
    [
        ("BTC", "EUR", "BTC/EUR"), ("EUR", "BTC", "BTC/EUR"), ("LTC", "BTC", "LTC/BTC"), ("USDC", "BTC", "BTC/USDC"),
        ("USDT", "USDC", "USDC/USDT"), ("USDC", "USD", "USDC/USD"), ("USD", "EUR", "EUR/USD"),
        ("AUD", "EUR", "EUR/AUD"), ("DOGE", "ETH", "DOGE/ETH"),
    ],
)  # fmt: skip
def test_a_market_is_named_in_one_direction(one: str, other: str, pair: str) -> None:
    assert str(market(one, other)) == str(market(other, one)) == pair


def test_a_stable_coin_is_no_fiat() -> None:
    assert [is_fiat(code) for code in ("EUR", "USD", "KWD", "USDC", "BTC", "XAU", "NONE")] == [True] * 3 + [False] * 4


def test_what_is_needed_for_a_rate() -> None:
    named = {str(pair) for pair in needed("LTC", "CHF", POLICY)}
    assert named == {"LTC/CHF", "LTC/USD", "EUR/USD", "EUR/CHF", "LTC/BTC", "BTC/CHF"}
    assert needed("BTC", "BTC", POLICY) == needed("BTC", "EUR", Policy(fixed={"BTC/EUR": Fraction(1)})) == set()


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("ticker", "said"),
    [
        (Ticker(None, None, Fraction(0), None), "not above zero"),
        (Ticker(None, None, Fraction(-1), None), "not above zero"),
        (Ticker(Fraction(0), Fraction(1), Fraction(1, 2), None), "not above zero"),
        (Ticker(None, None, Fraction(1, PLACES + 1), None), "beyond all measure"),
        (Ticker(None, None, Fraction(PLACES), None), "beyond all measure"),
        (Ticker(Fraction(101), Fraction(100), Fraction(100), None), "above the ask"),
        (Ticker(Fraction(100), Fraction(102) + STEP, Fraction(101), None), "too far apart"),
        (Ticker(None, None, Fraction(1), NOW + timedelta(seconds=61)), "future"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused_with_its_reason(ticker: Ticker, said: str) -> None:
    assert said in str(fault_of(ticker, POLICY.max_deviation, NOW))


@pytest.mark.parametrize(
    "ticker",
    [
        Ticker(Fraction(100), Fraction(100), Fraction(100), None),
        Ticker(Fraction(100), Fraction(102), Fraction(101), None),
        Ticker(None, None, Fraction(1), NOW + timedelta(seconds=60)),
        Ticker(None, None, Fraction(1, PLACES), None),
        Ticker(None, None, Fraction(PLACES - 1), None),
    ],
)
def test_at_each_limit_an_answer_still_counts(ticker: Ticker) -> None:
    assert fault_of(ticker, POLICY.max_deviation, NOW) is None


@pytest.mark.parametrize(
    ("failures", "retry_after", "seconds"),
    [(0, 0, 30), (1, 0, 60), (2, 0, 120), (5, 0, 600), (1000, 0, 600), (1, 1800, 1800), (1, 5, 60)],
)
def test_a_source_that_fails_is_left_alone_for_longer_and_longer(failures: int, retry_after: int, seconds: int) -> None:
    assert backoff_seconds(30, failures, retry_after) == seconds


def test_a_slow_source_is_not_asked_more_often_because_it_failed() -> None:
    assert backoff_seconds(3_600, 3, 0) == 3_600


def test_f12_what_an_operator_should_know() -> None:
    told = alarms([Pair("LTC", "EUR"), BTC_EUR, BTC_EUR], {BTC_EUR: quotes(100, 100, 300)}, POLICY, NOW)
    assert told == [
        Alarm(AlarmKind.NO_RATE, "", "LTC/EUR", "too few fresh sources"),
        Alarm(AlarmKind.QUOTE_DROPPED, "bitstamp", "BTC/EUR", "outlier"),
    ]


@pytest.mark.parametrize(
    ("age", "kinds"), [(150, []), (151, ["rate_ageing"]), (300, ["rate_ageing"]), (301, ["no_rate"])]
)
def test_c4_the_alarm_comes_before_the_refusal(age: int, kinds: list[str]) -> None:
    old = (quote(100, "kraken"), quote(100, "coinbase", age=age))
    assert [alarm.kind for alarm in alarms([BTC_EUR], {BTC_EUR: old}, POLICY, NOW)] == kinds


# ---------------------------------------------------------------- what holds for all

PRICES = st.fractions(min_value=Fraction(1, 10**9), max_value=10**9)
AGES = st.integers(min_value=0, max_value=600)
GIVEN = st.lists(
    st.builds(
        quote,
        PRICES | st.sampled_from([Fraction(100), Fraction(101), Fraction(102), Fraction(1, 100)]),
        st.sampled_from(ALL[:5]),
        st.sampled_from([BTC_EUR, Pair("BTC", "USD"), Pair("EUR", "USD"), Pair("LTC", "BTC")]),
        AGES,
    ),
    max_size=12,
)


def _book(given_: Sequence[Quote]) -> Quotes:
    book: dict[Pair, tuple[Quote, ...]] = {}
    for each in given_:
        book[each.pair] = (*book.get(each.pair, ()), each)
    return book


@given(GIVEN, st.sampled_from(["BTC", "LTC", "USD"]), st.sampled_from(["EUR", "USD", "BTC"]))
def test_every_set_of_quotes_has_an_answer_and_only_fresh_ones_are_used(
    given_: list[Quote], base: str, currency: str
) -> None:
    found = find(base, currency, _book(given_), POLICY, NOW)
    if isinstance(found, Rate):
        assert found.value > 0
        assert found.value.denominator <= PLACES
        for used in (each for leg in found.legs for each in leg.used):
            limit = POLICY.fiat_max_age if used.source == "ecb" else POLICY.max_age
            assert NOW - used.at <= limit
            assert used.at >= found.at


@given(GIVEN, st.sampled_from(["BTC", "LTC", "USD"]), st.integers(min_value=-60, max_value=700), st.fractions(0, 1))
def test_until_a_rate_may_change_by_time_alone_it_does_not(
    given_: list[Quote], base: str, learned: int, share: Fraction
) -> None:
    late = quote(100, "kraken", age=-learned)  # some are known only later than now
    quotes_ = _book([*given_, replace(late, at=NOW)])
    policy = replace(POLICY, fiat_max_age=timedelta(seconds=400))

    last = holds_until(quotes_, policy, NOW)

    within = NOW + min(last - NOW, timedelta(days=1)) * float(share)  # a moment, not money
    assert find(base, "EUR", quotes_, policy, within) == find(base, "EUR", quotes_, policy, NOW)
    assert last >= NOW


def test_a_rate_may_change_when_a_quote_grows_old_or_becomes_known() -> None:
    ageing = {BTC_EUR: (quote(100, age=299), quote(100, "coinbase", age=100))}
    assert holds_until(ageing, POLICY, NOW) == NOW + timedelta(seconds=1)
    assert isinstance(find("BTC", "EUR", ageing, POLICY, NOW + timedelta(seconds=1)), Rate)
    assert isinstance(find("BTC", "EUR", ageing, POLICY, NOW + timedelta(seconds=1, microseconds=1)), NoRate)
    coming = {BTC_EUR: (quote(100), replace(quote(101, "coinbase", age=-5), at=NOW))}
    assert holds_until(coming, POLICY, NOW) == NOW + timedelta(seconds=5) - timedelta.resolution
    assert isinstance(find("BTC", "EUR", coming, POLICY, NOW + timedelta(seconds=5)), Rate)


@given(GIVEN.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_the_order_of_quotes_does_not_matter(both: tuple[list[Quote], list[Quote]]) -> None:
    one, other = both
    assert find("BTC", "EUR", _book(one), POLICY, NOW) == find("BTC", "EUR", _book(other), POLICY, NOW)


@given(st.lists(PRICES, min_size=1, max_size=5, unique=True))
def test_a_rate_is_the_median_of_a_majority_that_is_close(prices: list[Fraction]) -> None:
    found = rate(*quotes(*prices))
    if not isinstance(found, Rate):
        return
    used = [each.price for leg in found.legs for each in leg.used]
    assert len(used) >= 2
    assert 2 * len(used) > len(prices)
    assert abs(found.value - median(used)) < Fraction(1, PLACES)
    assert max(used) <= min(used) * (1 + POLICY.max_deviation) / (1 - POLICY.max_deviation)


@given(
    PRICES.filter(lambda price: price > 1),
    st.integers(min_value=-10_000, max_value=10_000),
    st.integers(min_value=-10_000, max_value=10_000),
    PRICES,
)
def test_c5_one_liar_of_three_moves_the_rate_by_two_percent_at_most(
    truth: Fraction, one: int, two: int, lie: Fraction
) -> None:
    honest = [truth * (1_000_000 + off) / 1_000_000 for off in (one, two)]  # within 1 % of the truth
    for prices in permutations([*honest, lie]):
        found = value(rate(*quotes(*prices)))
        assert found is None or abs(found - truth) <= truth * 3 / 100
        assert found is None or abs(found - truth) <= truth * 2 / 100 or abs(lie - truth) <= truth * 4 / 100


@given(PRICES, st.integers(min_value=0, max_value=500_000))
def test_c8_a_spread_asks_for_more_never_for_less(price: Fraction, spread_ppm: int) -> None:
    plain = rate(*quotes(price, price))
    assert isinstance(plain, Rate)
    charged = with_spread(plain, spread_ppm)
    exact = plain.value * (1_000_000 - spread_ppm) / 1_000_000
    assert exact - Fraction(1, PLACES) < charged.value <= exact


@given(
    st.integers(min_value=1, max_value=10**12),
    st.integers(min_value=0, max_value=4),
    st.fractions(min_value=Fraction(1, 10**6), max_value=10**9),
    st.integers(min_value=0, max_value=500_000),
    st.integers(min_value=0, max_value=18),
)
def test_c8_who_pays_what_is_due_pays_the_price_and_the_spread(
    price_units: int, price_decimals: int, price: Fraction, spread_ppm: int, decimals: int
) -> None:
    plain = rate(*quotes(price, price))
    assert isinstance(plain, Rate)
    due = due_units(price_units, price_decimals, with_spread(plain, spread_ppm).value, decimals)
    worth = Fraction(due, 10**decimals) * plain.value
    wanted = Fraction(price_units, 10**price_decimals) * 1_000_000 / (1_000_000 - spread_ppm)
    assert worth >= wanted
    # And not more than one unit more, beyond what the grain of the rate costs.
    grain = Fraction(1, PLACES) / with_spread(plain, spread_ppm).value
    assert worth - plain.value / 10**decimals <= wanted * (1 + 2 * grain)


@given(PRICES, st.integers(min_value=0, max_value=500_000))
def test_the_rate_that_is_shown_is_the_rate_that_is_used(price: Fraction, spread_ppm: int) -> None:
    plain = rate(*quotes(price, price))
    assert isinstance(plain, Rate)
    charged = with_spread(plain, spread_ppm)
    assert Fraction(format_rate(charged.value)) == charged.value


def test_what_needs_no_rate_bears_no_spread() -> None:
    assert with_spread(Rate(Fraction(1), "same", NOW), 10_000).value == 1
    assert with_spread(Rate(Fraction(100), "fixed", NOW), 10_000).value == 99


# ---------------------------------------------------------------- jumps and pegs

BEFORE, AFTER = 60, 30
"""Ages of two readings."""


def read_twice(*prices: tuple[int | None, int]) -> list[Quote]:
    """Return what each source said before (None: nothing) and what it says now."""
    found = []
    for (before, now), source in zip(prices, ALL, strict=False):
        found += [] if before is None else [quote(before, source, age=BEFORE)]
        found.append(quote(now, source, age=AFTER))
    return found


@pytest.mark.parametrize(("now", "held"), [(120, False), (121, True), (84, False), (83, True), (100, False)])
def test_f12_a_rate_that_jumps_beyond_the_bound_waits_for_a_second_reading(now: int, held: bool) -> None:
    found = rate(*read_twice((100, now), (100, now), (100, now)))
    if held:
        assert isinstance(found, NoRate)
        assert (found.lack, set(reasons(found).values())) == (Lack.JUMP, {Reason.JUMPED})
    else:
        assert value(found) == now


def test_f12_a_jump_is_believed_once_a_majority_has_said_it_twice() -> None:
    assert value(rate(*read_twice((100, 150), (150, 150), (100, 150)))) is None
    assert value(rate(*read_twice((150, 150), (150, 150), (100, 150)))) == 150


def test_without_a_reading_before_there_is_no_jump_however_old_the_one_before_is() -> None:
    assert value(rate(*read_twice((None, 150), (None, 150)))) == 150
    old = [quote(100, source, age=86_400) for source in ALL[:2]]
    assert value(rate(*old, *quotes(150, 150))) is None


def test_a_jump_is_not_gone_round_by_a_pivot() -> None:
    usd = [quote(3_000, source, Pair("BTC", "USD")) for source in ALL[:2]]
    eur = quote(Fraction(12, 10), "ecb", Pair("EUR", "USD"))
    assert value(rate(*usd, eur)) == 2_500
    assert value(rate(*usd, eur, *read_twice((1_000, 2_500), (1_000, 2_500)))) is None
    jumped = [quote(2_000, source, Pair("BTC", "USD"), age=BEFORE) for source in ALL[:2]]
    assert value(rate(*jumped, *usd, eur)) is None


def test_f12_a_held_rate_is_an_alarm_of_its_own_and_its_quotes_are_none() -> None:
    found = {BTC_EUR: tuple(read_twice((100, 150), (100, 150)))}
    told = alarms([BTC_EUR], found, POLICY, NOW)
    assert [(alarm.kind, alarm.pair) for alarm in told] == [("no_rate", "BTC/EUR"), ("rate_jumped", "BTC/EUR")]


@pytest.mark.parametrize(("price", "said"), [("0.98", 0), ("0.979", 1), ("1.02", 0), ("1.021", 1)])
def test_c26_a_stable_coin_off_its_peg_is_said(price: str, said: int) -> None:
    pair = Pair("USDC", "USD")
    told = depegs(["BTC", "USDC"], {pair: quotes(price, price, pair=pair)}, POLICY, NOW)
    assert len(told) == said
    assert all((alarm.kind, alarm.pair) == ("depegged", "USDC/USD") for alarm in told)
    assert depegs(["BTC"], {pair: quotes(price, price, pair=pair)}, POLICY, NOW) == []


def test_c26_a_fallen_coin_is_not_well_again_because_nobody_knows_its_rate() -> None:
    pair = Pair("USDC", "USD")
    [fell] = depegs(["USDC"], {pair: quotes("0.90", "0.90", pair=pair)}, POLICY, NOW)
    contradicting = {pair: quotes("0.90", "0.70", pair=pair)}
    assert depegs(["USDC"], contradicting, POLICY, NOW, [fell]) == [fell]
    assert depegs(["USDC"], {}, POLICY, NOW, [fell]) == [fell]
    assert depegs(["USDC", "USDT"], contradicting, POLICY, NOW) == []  # and nobody's word makes no alarm
    assert depegs(["USDC"], {pair: quotes("1", "1", pair=pair)}, POLICY, NOW, [fell]) == []
    assert depegs(["BTC"], contradicting, POLICY, NOW, [fell]) == []


def test_a_coin_at_the_very_bound_does_not_fall_and_recover_by_turns() -> None:
    pair = Pair("USDC", "USD")

    def told(price: str, *standing: Alarm) -> int:
        return len(depegs(["USDC"], {pair: quotes(price, price, pair=pair)}, POLICY, NOW, standing))

    fell = Alarm(AlarmKind.DEPEGGED, "", "USDC/USD", "")
    assert [told("0.981"), told("0.979"), told("0.981", fell), told("0.989", fell)] == [0, 1, 1, 1]
    assert [told("0.991", fell), told("1.009", fell), told("1.011", fell)] == [0, 0, 1]
