"""From an order to terms: what may be asked for, in which assets, for how much, how deep."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from kassa.core.errors import Invalid, Unavailable
from kassa.core.money import Asset, currency
from kassa.invoices.model import Order
from kassa.invoices.policy import COLUMNS, Over, Policy, Short, columns, named, read_row
from kassa.invoices.quote import Limit, Price, Quote, choose, price, quotes, tiers_of
from kassa.invoices.tariffs import Tariff, Tariffs
from kassa.payments.model import Tier
from kassa.rates.model import Lack, NoRate, Pair, Rate
from tests.rules.build import BTC, LTC, START

EUR = currency("EUR")
SECOND = timedelta(seconds=1)
BOUND = 10**20  # units of an asset of eight decimals: a million million whole ones


def order(amount: str = "50.00", *options: str) -> Order:
    return Order(amount, "EUR", payment_options=options or None)


def rate(value: Fraction | int = 50_000) -> Rate:
    return Rate(Fraction(value), "fixed", START)


def none(symbol: str) -> Tariff:
    return Tariff(NoRate(Pair(symbol, "EUR"), Lack.TOO_FEW), "{}", ())


def tariff(value: Fraction | int = 50_000) -> Tariff:
    return Tariff(rate(value), '{"method": "fixed"}', (Tier(None, 2),))


def quote(wanted: Price, asset: Asset, value: int) -> Quote:
    (only,) = quotes(order(), wanted, [asset], {asset: tariff(value)})
    return only


def test_a_price_is_more_than_nothing() -> None:
    assert price(order("0.01")) == Price(1, EUR)
    with pytest.raises(Invalid) as refused:
        price(order("0.00"))
    assert [(f.field, f.message) for f in refused.value.faults] == [("amount", "must be more than zero")]


def test_an_asset_is_offered_from_the_least_that_its_network_carries() -> None:
    small = replace(BTC, least_units=546)
    assert small == BTC  # it is the same asset
    tariffs = {small: tariff(), LTC: tariff()}
    assert [each.due_units for each in quotes(order(), Price(28, EUR), [small], tariffs)] == [560]
    assert [each.asset for each in quotes(order(), Price(27, EUR), [small, LTC], tariffs)] == [LTC]
    for asked in (order(), order("0.27", small.id, LTC.id)):
        offered = [small, LTC] if asked.payment_options else [small]
        with pytest.raises(Invalid, match=r"less than 0\.00000546 BTC") as refused:
            quotes(asked, Price(27, EUR), offered, tariffs)
        assert refused.value.code == "amount_too_small"


def test_an_order_that_names_no_asset_offers_all() -> None:
    assert choose(order(), [BTC, LTC]) == (BTC, LTC)
    assert choose(order("1", LTC.id), [BTC, LTC]) == (LTC,)
    assert choose(order("1", LTC.id, BTC.id), [BTC, LTC]) == (LTC, BTC)


@pytest.mark.parametrize(
    ("options", "accepted", "field", "said"),
    [
        ((), [], "payment_options", "this store has no wallet yet; add one by POST /v1/wallets"),
        (("X@y",), [LTC, BTC], "payment_options.0", f"is not an asset that this store accepts ({BTC.id}, {LTC.id})"),
        (
            (BTC.id, "X@y"), [], "payment_options.0",
            "is not an asset that this store accepts (none; add a wallet by POST /v1/wallets)",
        ),
        ((BTC.id, BTC.id), [BTC], "payment_options.1", "is named twice"),
        ((BTC.id,) * 21, [BTC], "payment_options", "must name 1 to 20 assets"),
    ],
)  # fmt: skip
def test_what_a_store_does_not_accept_is_refused(
    options: tuple[str, ...], accepted: list[object], field: str, said: str
) -> None:
    with pytest.raises(Invalid) as refused:
        choose(order("1", *options), accepted)  # type: ignore[arg-type]
    assert [(fault.field, fault.message) for fault in refused.value.faults] == [(field, said)]


def test_an_empty_list_of_assets_is_refused_and_twenty_are_not() -> None:
    with pytest.raises(Invalid):
        choose(Order("1", "EUR", payment_options=()), [BTC])
    many = [type(BTC)(f"T{number}", "anvil", 6) for number in range(20)]
    assert choose(order("1", *(asset.id for asset in many)), many) == tuple(many)


def test_an_asset_without_a_rate_is_left_out_unless_it_was_asked_for() -> None:
    tariffs, wanted = {BTC: none("BTC"), LTC: tariff()}, Price(1, EUR)
    assert [each.asset for each in quotes(order(), wanted, [BTC, LTC], tariffs)] == [LTC]
    assert [each.asset for each in quotes(order("1", LTC.id), wanted, [LTC], tariffs)] == [LTC]
    with pytest.raises(Unavailable) as refused:
        quotes(order("1", BTC.id, LTC.id), wanted, [BTC, LTC], tariffs)
    said = "there is no rate for BTC/EUR now (too few fresh sources); try again later or offer another asset"
    assert (str(refused.value), refused.value.code) == (said, "rate_unavailable")
    with pytest.raises(Unavailable):
        quotes(order(), wanted, [BTC], tariffs)


def test_what_is_due_is_rounded_up_and_has_a_bound() -> None:
    assert quote(Price(1, EUR), BTC, 3).due_units == 333_334
    most = Price(BOUND // 10**6 - 1, EUR)
    assert quote(most, BTC, 1).due_units == BOUND - 10**6
    with pytest.raises(Invalid) as refused:
        quote(Price(BOUND // 10**6, EUR), BTC, 1)
    (fault,) = refused.value.faults
    assert (fault.field, fault.message) == ("amount", "is more BTC than can be asked for in one invoice")


def test_a_quote_says_what_it_was_made_of() -> None:
    assert quote(Price(5_000, EUR), BTC, 50_000) == Quote(BTC, 100_000, rate(), '{"method": "fixed"}', (Tier(None, 2),))


def test_a_tariff_is_held_for_its_moments_and_settings_alone() -> None:
    held, key, of = Tariffs(), (BTC.id, "EUR", 0), object()
    held.keep(key, of, tariff(), START, START + SECOND)
    assert held.get(key, of, START) == held.get(key, of, START + SECOND) == tariff()
    assert held.get(key, of, START - timedelta.resolution) is None
    assert held.get(key, of, START + SECOND + timedelta.resolution) is None
    assert held.get(key, object(), START) is None
    assert held.get((BTC.id, "EUR", 1), of, START) is None


def test_a_bound_in_a_currency_rounds_down_and_one_that_cannot_be_valued_is_left_out() -> None:
    limits = [Limit(0, Fraction(1), "USD"), Limit(1, Fraction(10), "EUR"), Limit(6, None, None, final=True)]
    valued = {"EUR": rate(30_000)}
    assert tiers_of(limits, BTC, valued) == (Tier(33_333, 1), Tier(None, 6, True))
    assert tiers_of([Limit(1, Fraction(3), "EUR", final=True)], BTC, valued) == (Tier(10_000, 1, True),)
    assert tiers_of([Limit(4, Fraction(1), None)], BTC, valued) == (Tier(None, 4),)


def test_a_policy_survives_the_database() -> None:
    kept = Policy(1, 2, Short.CREDIT, 3, Over.CREDIT, 4, 5)
    values = dict(zip(COLUMNS.split(", "), columns(kept), strict=True))
    assert read_row(values) == kept
    assert named(kept) == values | {"tolerance_units": "2"}
