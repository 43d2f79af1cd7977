"""What is wrong with payments and with the books. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.alerts.seen import Credited, Dust, Held, InDebit, Overtaken, Reversed, ReversedMore, Unowned, Volume
from kassa.core.ids import StoreId
from kassa.core.money import format_units
from kassa.ledger.resource import entry_name
from kassa.rates.model import Policy
from kassa.rates.spreads import PPM, Drift

MOST_OVERTAKEN = 3
"""Of a store's payments on a network within a day; of one payer's, one less."""
MOST_DUST = 20
KNOWN_PAYMENTS = 20
"""A store that had fewer in 30 days has no history to be compared with."""
UNUSUAL_AMOUNT, UNUSUAL_BURST = 10, 5
"""Times the largest payment, and times the busiest hour, of the 30 days before."""
MOST_SINGLY = 20
"""Reversals of a store on a network that are told one by one."""
MOST_BLOCKS = 1000
"""What a reversal asks for at most, however many confirmations its payment had needed."""
MOST_DRIFTING = 5
"""Payments within a day from which on their mean says something of the rates, and not of one payer's luck."""
_LISTED = 20


def on_reversed(seen: Iterable[Reversed], more: Iterable[ReversedMore] = ()) -> list[Finding]:
    """Judge settled payments that were taken back: each is one loss, and a warning to the others of its store.

    What a deep reorganisation took beyond those is one alert for each store and network.
    """
    singly = [
        Finding(
            Kind.SETTLED_REVERSED,
            each.payment_id,
            Severity.CRITICAL,
            f"{each.payment_id} had settled after {each.required} confirmations, and the chain took it back",
            store_id=StoreId(each.store_id),
            network=each.network,
            about={
                "payment_id": each.payment_id,
                "invoice_id": each.invoice_id,
                "customer_id": each.customer_id,
                "asset": each.asset,
            },
            actions=(_twice(each.network, each.required),),
        )
        for each in seen
    ]
    return singly + [
        Finding(
            Kind.SETTLED_REVERSED,
            f"{each.store_id}/{each.network}",
            Severity.CRITICAL,
            f"{each.count} more payments on {each.network} had settled, and the chain took them back",
            store_id=StoreId(each.store_id),
            network=each.network,
            about={"count": each.count},
            actions=(_twice(each.network, each.required),),
            measure=each.count,
        )
        for each in more
    ]


def _twice(network: str, required: int) -> Action:
    return Action(Deed.RAISED, network, min(2 * max(1, required), MOST_BLOCKS))


def on_overtaken(seen: Iterable[Overtaken], strictest: Mapping[str, int]) -> list[Finding]:
    """Judge payments that were overtaken: many of a store's, or several by one payer, are attempts to cheat it.

    `strictest` are the confirmations that a network asks for the largest amounts: now for every amount.
    """
    found = []
    for each in seen:
        if each.count < MOST_OVERTAKEN - (each.payer is not None):
            continue
        whose = "payments" if each.payer is None else f"payments of {each.payer}"
        found.append(
            Finding(
                Kind.DOUBLE_SPENDS if each.payer is None else Kind.DOUBLE_SPENDING_PAYER,
                "/".join(part for part in (each.store_id, each.network, each.payer) if part is not None),
                Severity.WARNING,
                f"{each.count} {whose} on {each.network} were spent again elsewhere within a day",
                store_id=StoreId(each.store_id),
                network=each.network,
                about={"count": each.count, "payer": each.payer},
                actions=(Action(Deed.RAISED, each.network, max(1, strictest.get(each.network, 1))),),
                measure=each.count,
            )
        )
    return found


def on_dust(seen: Iterable[Dust], empty: Mapping[str, int]) -> list[Finding]:
    """Judge floods of payments worth nothing, and of transfers of nothing (address poisoning)."""
    return [
        *(
            Finding(
                Kind.DUST_FLOOD,
                each.store_id,
                Severity.WARNING,
                f"{each.count} payments of hardly any value came within an hour",
                store_id=StoreId(each.store_id),
                about={"count": each.count},
                measure=each.count,
            )
            for each in seen
            if each.count >= MOST_DUST
        ),
        *(
            Finding(
                Kind.EMPTY_TRANSFERS,
                network,
                Severity.WARNING,
                f"{count} transfers of nothing came to our addresses on {network}: do not copy addresses from them",
                network=network,
                about={"count": count},
                measure=count,
            )
            for network, count in empty.items()
            if count >= MOST_DUST
        ),
    ]


def on_unowned(seen: Sequence[Unowned]) -> list[Finding]:
    """Judge money that nobody owns: one alert for each network and store whose wallet it is, or the operator's."""
    places: dict[tuple[str, str | None], list[Unowned]] = {}
    for each in seen:
        for store in each.stores or (None,):
            places.setdefault((each.network, store), []).append(each)
    found = []
    for (network, store), here in places.items():
        listed = [{"payment_id": each.payment_id, "asset": each.asset, "address": each.address} for each in here]
        found.append(
            Finding(
                Kind.MONEY_UNOWNED,
                network if store is None else f"{network}/{store}",
                Severity.WARNING,
                f"{len(here)} payments on {network} came to addresses of ours that nobody owns",
                store_id=None if store is None else StoreId(store),
                network=None if store is None else network,
                about={"payments": listed[:_LISTED]},
                measure=len(here),
            )
        )
    return found


def on_volumes(seen: Iterable[Volume]) -> list[Finding]:
    """Judge a store's last hour against its own 30 days before."""
    found = []
    for each in seen:
        if each.before_count < KNOWN_PAYMENTS:
            continue
        subject, about = f"{each.store_id}/{each.currency}", {"currency": each.currency}
        if each.largest >= UNUSUAL_AMOUNT * each.before_largest:
            said = f"a payment is more than {UNUSUAL_AMOUNT} times the largest of 30 days"
            found.append(_volume(Kind.AMOUNT_UNUSUAL, each, subject, said, about, each.largest))
        if each.count >= max(KNOWN_PAYMENTS, UNUSUAL_BURST * each.before_busiest_hour):
            said = f"{each.count} payments within an hour, and {each.before_busiest_hour} in the busiest of 30 days"
            found.append(_volume(Kind.PAYMENTS_UNUSUAL, each, subject, said, about | {"count": each.count}, each.count))
    return found


def on_held(seen: Iterable[Held]) -> list[Finding]:
    """Judge whether the books hold what customers are owed; an asset of which they do not is held until a person looks.

    Customers' credit comes from what reached our addresses, so this can only be a fault or a theft.
    """
    return [
        Finding(
            Kind.BOOKS_INSOLVENT,
            each.asset,
            Severity.CRITICAL,
            f"customers are owed more {each.asset} than the books hold: nothing more settles in it",
            about={"asset": each.asset, "holdings_units": str(each.holdings), "owed_units": str(each.owed)},
            actions=(Action(Deed.HELD, each.asset),),
            measure=each.owed - each.holdings,
            lasting=True,
        )
        for each in seen
        if each.owed > each.holdings
    ]


def on_debits(seen: Iterable[InDebit]) -> list[Finding]:
    """Judge customers who owe a store by its books: credit is spent only where it is, so this is a fault or a theft.

    The asset is held for that store alone: the books of no other are in doubt.
    """
    return [
        Finding(
            Kind.CUSTOMER_IN_DEBIT,
            f"{each.customer_id}/{each.asset}",
            Severity.CRITICAL,
            f"by the books {each.customer_id} has less than nothing in {each.asset}: none of it settles for this store",
            store_id=StoreId(each.store_id),
            about={
                "store_id": each.store_id,
                "customer_id": each.customer_id,
                "asset": each.asset,
                "units": str(each.units),
            },
            actions=(Action(Deed.HELD, each.asset),),
            lasting=True,
        )
        for each in seen
    ]


def on_credits(seen: Iterable[Credited]) -> list[Finding]:
    """Judge credits by one entry: more than half of all that is held of an asset is hardly one customer's."""
    return [
        Finding(
            Kind.CREDIT_UNUSUAL,
            f"{each.customer_id}/{each.asset}",
            Severity.WARNING,
            f"one entry credits {each.customer_id} with more than half of all {each.asset} in the books",
            store_id=StoreId(each.store_id),
            about={"customer_id": each.customer_id, "asset": each.asset, "entry": entry_name(each.entry)},
        )
        for each in seen
        if each.known >= KNOWN_PAYMENTS and 2 * each.units > each.holdings
    ]


def on_drifts(seen: Iterable[Drift], policy: Policy) -> list[Finding]:
    """Judge how far rates were from the market when payers paid, beyond what was intended, on the whole or once.

    As far as sources may differ on the whole, or as the market may jump for one payment: then a rate was wrong, or
    invoices are payable for so long that payers wait for the market to move their way.
    """
    found = []
    for each in seen:
        drift = Fraction(each.realised - each.intended, PPM)
        on_the_whole = each.payments >= MOST_DRIFTING and abs(drift) > policy.max_deviation
        if not on_the_whole and Fraction(each.largest, PPM) <= policy.max_jump:
            continue
        pair = f"{each.base}/{each.quote}"
        said = f"{each.payments} payments of a day were valued {_percent(each.realised)} below the market of {pair}"
        found.append(
            Finding(
                Kind.RATE_DRIFTED,
                f"{each.store_id}/{pair}",
                Severity.WARNING,
                f"{said}, {_percent(each.intended)} was intended, and one was {_percent(each.largest)} away from that",
                store_id=StoreId(each.store_id),
                about={
                    "pair": pair,
                    "payments": each.payments,
                    "spread_percent": _percent(each.realised)[:-1],
                    "intended_percent": _percent(each.intended)[:-1],
                    "largest_percent": _percent(each.largest)[:-1],
                    "invoices": list(each.invoices),
                },
                measure=int(abs(drift) * 100),
            )
        )
    return found


def _percent(ppm: int) -> str:
    return f"{format_units(ppm, 4)}%"


def _volume(kind: Kind, seen: Volume, subject: str, reason: str, about: Mapping[str, object], measure: int) -> Finding:
    store = StoreId(seen.store_id)
    return Finding(kind, subject, Severity.WARNING, reason, store_id=store, about=about, measure=measure)
