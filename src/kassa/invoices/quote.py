"""From an order to terms: which assets, at what rate, for how much, against how many confirmations. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from kassa.core.errors import FieldFault, Invalid, Unavailable
from kassa.core.money import Asset, Currency, currency, due_units, format_units, parse_amount
from kassa.invoices.model import Order
from kassa.invoices.tariffs import Tariff
from kassa.payments.model import Tier
from kassa.rates.model import NoRate, Rate

MAX_OPTIONS = 20
TOO_SMALL = "amount_too_small"
"""The code of a refusal: no network carries so little."""


@dataclass(frozen=True, slots=True)
class Price:
    """What an order asks for, read and checked."""

    units: int
    currency: Currency


@dataclass(frozen=True, slots=True)
class Quote:
    """An asset's part of the terms: everything but the address."""

    asset: Asset
    due_units: int
    rate: Rate
    method: str
    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """Amounts up to `up_to` whole units of `currency` (None: any amount) need `blocks` confirmations.

    `final`: and a block that the network itself calls final.
    """

    blocks: int
    up_to: Fraction | None
    currency: str | None
    final: bool = False


def price(order: Order) -> Price:
    """Read an order's amount; raise `Invalid` for a malformed or impossible one."""
    known = currency(order.currency)
    units = parse_amount(order.amount, known.decimals)
    if units == 0:
        raise Invalid(FieldFault("amount", "must be more than zero"))
    return Price(units, known)


def choose(order: Order, accepted: Sequence[Asset]) -> tuple[Asset, ...]:
    """Return the assets an order offers: those it names, or all that the store accepts.

    Raises `Invalid` for one that the store does not accept, that is named twice, or when nothing is left.
    """
    if order.payment_options is None:
        if not accepted:
            raise Invalid(FieldFault("payment_options", "this store has no wallet yet; add one by POST /v1/wallets"))
        return tuple(accepted)
    by_id = {asset.id: asset for asset in accepted}
    chosen = order.payment_options
    if not 1 <= len(chosen) <= MAX_OPTIONS:
        raise Invalid(FieldFault("payment_options", f"must name 1 to {MAX_OPTIONS} assets"))
    for place, name in enumerate(chosen):
        if name not in by_id:
            known = ", ".join(sorted(by_id)) or "none; add a wallet by POST /v1/wallets"
            raise Invalid(FieldFault(f"payment_options.{place}", f"is not an asset that this store accepts ({known})"))
        if name in chosen[:place]:
            raise Invalid(FieldFault(f"payment_options.{place}", "is named twice"))
    return tuple(by_id[name] for name in chosen)


def quotes(order: Order, wanted: Price, chosen: Sequence[Asset], tariffs: Mapping[Asset, Tariff]) -> list[Quote]:
    """Fix what is due in each of the chosen assets that has a rate now.

    An asset without one is not offered; an order that names it, or that has nothing else, is refused: `Unavailable`
    (code `rate_unavailable`). Nor is one whose network does not carry so little (Bitcoin's nodes relay no dust); an
    order that names it, or that has nothing else, is `Invalid` (code `amount_too_small`), as is an amount too large to
    be due.
    """
    rated = [(asset, tariff, rate) for asset in chosen if isinstance(rate := (tariff := tariffs[asset]).rate, Rate)]
    lacking = [rate for asset in chosen if isinstance(rate := tariffs[asset].rate, NoRate)]
    if lacking and (not rated or order.payment_options is not None):
        raise Unavailable(
            f"there is no rate for {lacking[0].pair} now ({lacking[0].lack}); try again later or offer another asset",
            code="rate_unavailable",
        )
    found = [Quote(each, _due(wanted, each, rate), rate, tariff.method, tariff.tiers) for each, tariff, rate in rated]
    carried = [quote for quote in found if quote.due_units >= quote.asset.least_units]
    if not carried or (len(carried) < len(found) and order.payment_options is not None):
        small = next(quote.asset for quote in found if quote.due_units < quote.asset.least_units)
        least = format_units(small.least_units, small.decimals)
        fault = FieldFault("amount", f"is less than {least} {small.symbol}, the least that {small.network} carries")
        raise Invalid(fault, code=TOO_SMALL)
    return carried


def _due(wanted: Price, asset: Asset, rate: Rate) -> int:
    due = due_units(wanted.units, wanted.currency.decimals, rate.value, asset.decimals)
    if due >= 10 ** (asset.decimals + 12):
        raise Invalid(FieldFault("amount", f"is more {asset.symbol} than can be asked for in one invoice"))
    return due


def tiers_of(limits: Sequence[Limit], asset: Asset, rates: Mapping[str, Rate]) -> tuple[Tier, ...]:
    """Turn bounds in currencies into bounds in units of an asset; `rates` are the asset's, by currency."""
    tiers = []
    for limit in limits:
        if limit.up_to is None or limit.currency is None:
            tiers.append(Tier(None, limit.blocks, limit.final))
        elif limit.currency in rates:
            # The bound rounds down: an amount in between falls to the stricter side.
            up_to = int(limit.up_to / rates[limit.currency].value * 10**asset.decimals)
            tiers.append(Tier(up_to, limit.blocks, limit.final))
        # A bound that cannot be valued now is left out: its amounts fall to the next, stricter tier.
    return tuple(tiers)
