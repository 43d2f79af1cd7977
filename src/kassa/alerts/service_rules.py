"""What is wrong with orders, rates, deliveries and with who should watch over it all. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import assert_never

from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.alerts.seen import Beat, Compared, Ordered, Queue, Sending, UnpaidRun, Unrecorded, WrongAddresses
from kassa.core.ahead import AHEAD
from kassa.core.ids import StoreId
from kassa.core.money import Asset
from kassa.rates.model import Alarm, AlarmKind

MOST_UNPAID, UNUSUAL_ORDERS = 100, 10
"""Invoices within ten minutes, and times as many as the ten minutes of the day before had."""
PAID_SHARE = 20  # one of so many is paid where customers order
MOST_UNPAID_RUN = 500
"""Addresses in a row that nobody paid: signing wallets are rarely set to look further ahead than this."""
WAITS_AFTER = timedelta(minutes=15)
_TEN_MINUTES_OF_A_DAY = 144
_SENDS_WITHIN = timedelta(minutes=5)
_FEW_ATTEMPTS = 4
_SAID = 3
_LATE_RUNS, _LATE_BY = 3, timedelta(seconds=60)


def on_orders(seen: Iterable[Ordered]) -> list[Finding]:
    """Judge whether somebody orders invoices that nobody means to pay: each uses up an address."""
    return [
        Finding(
            Kind.INVOICES_UNPAID,
            each.store_id,
            Severity.WARNING,
            f"{each.made} invoices were made within ten minutes, and {each.paid} of them paid",
            store_id=StoreId(each.store_id),
            about={"made": each.made, "paid": each.paid},
            measure=each.made,
        )
        for each in seen
        if each.made >= MOST_UNPAID
        and each.paid * PAID_SHARE < each.made
        and each.made * _TEN_MINUTES_OF_A_DAY >= UNUSUAL_ORDERS * each.day_before
    ]


def on_unrecorded(seen: Iterable[Unrecorded]) -> list[Finding]:
    """Judge who may act here without an act: Kassa makes nobody without one, so somebody changed the database."""
    return [
        Finding(
            Kind.UNRECORDED,
            f"{each.store_id}/{each.id}",
            Severity.CRITICAL,
            f"the {each.what} {each.id} is not what the audit log says of it, or the log does not know it: if nobody of"
            " yours made it so, end it; somebody may have changed the database",
            store_id=StoreId(each.store_id),
            about={"id": each.id},
            lasting=True,
        )
        for each in seen
    ]


def on_wrong_addresses(seen: Iterable[WrongAddresses]) -> list[Finding]:
    """Judge addresses and terms that are not as they were made: one alert for each store and network, however many."""
    return [
        Finding(
            Kind.ADDRESS_MISMATCH,
            wrong_subject(each.store_id, each.network),
            Severity.CRITICAL,
            f"{_what_is_wrong(each)}: {each.count} ({', '.join(each.newest[:_SAID])}"
            f"{', …' if each.count > _SAID else ''}). Their addresses are not shown, and nobody should pay there;"
            " somebody may have changed the database",
            store_id=each.store_id,
            network=each.network or None,
            about={"count": each.count, "newest": list(each.newest)},
            actions=tuple(Action(Deed.WITHHELD, owner) for owner in each.newest),
            measure=each.ever,
            lasting=True,
        )
        for each in seen
    ]


def wrong_subject(store_id: StoreId, network: str) -> str:
    """Return what the alert about a store's wrong addresses on a network (with none: invoices) is about."""
    return f"{store_id}/{network}" if network else store_id


def _what_is_wrong(seen: WrongAddresses) -> str:
    if seen.network:
        return f"stored addresses on {seen.network} are not those that were issued"
    return "invoices do not ask for the amounts, prices or ends that they were made with"


def on_runs(seen: Iterable[UnpaidRun], bounds: Mapping[str, int]) -> list[Finding]:
    """Judge how far a signing wallet has to look ahead: beyond its gap limit it does not see what is paid.

    `bounds`: at how many no more addresses are given out, by network; 0, or none: never.
    """
    return [
        Finding(
            Kind.ADDRESSES_UNPAID,
            each.wallet_id,
            Severity.WARNING,
            f"{each.length} addresses in a row on {each.network} were not paid: your signing wallet needs a gap limit"
            " of more than that to see what is paid next",
            store_id=StoreId(each.store_id),
            network=each.network,
            detail=f"at {bound} its coins are offered no more until one is paid" if bound else "",
            about={"wallet_id": each.wallet_id, "unpaid": each.length},
            measure=each.length.bit_length(),  # news again when it has doubled
        )
        for each in seen
        for bound in [bounds.get(each.network, 0)]
        if each.length >= (min(MOST_UNPAID_RUN, max(1, bound // 2)) if bound else MOST_UNPAID_RUN)
    ]


def on_rates(alarms: Iterable[Alarm], assets: Sequence[Asset]) -> list[Finding]:
    """Judge the open alarms about rates. A pair without a rate is not offered in any case.

    Of the `assets`, those of a stable coin that does not keep its promise are offered no more: who is paid in one that
    falls has lost before it is settled.
    """
    found = []
    for alarm in alarms:
        kind, severity = alert_of(alarm.kind)
        what = " ".join(part for part in (alarm.source, alarm.pair) if part)
        about = {"source": alarm.source or None, "pair": alarm.pair or None}
        subject = f"{alarm.kind} {what}"
        falling = alarm.pair.partition("/")[0] if alarm.kind is AlarmKind.DEPEGGED else None
        actions = tuple(Action(Deed.UNOFFERED, asset.id) for asset in assets if asset.symbol == falling)
        found.append(Finding(kind, subject, severity, f"{what}: {alarm.kind.replace('_', ' ')}", detail=alarm.detail,
                             about=about, actions=actions))  # fmt: skip
    return found


def alert_of(kind: AlarmKind) -> tuple[Kind, Severity]:
    """Return the kind of alert that an alarm opens."""
    # A match, so that no alarm can be added without saying here what becomes of it.
    match kind:
        case AlarmKind.NO_RATE:
            return Kind.RATE_MISSING, Severity.CRITICAL
        case AlarmKind.RATE_AGEING:
            return Kind.RATE_AGEING, Severity.WARNING
        case AlarmKind.RATE_JUMPED:
            return Kind.RATE_JUMPED, Severity.WARNING
        case AlarmKind.DEPEGGED:
            return Kind.RATE_DEPEGGED, Severity.WARNING
        case AlarmKind.QUOTE_DROPPED:
            return Kind.RATE_OUTLIER, Severity.WARNING
        case AlarmKind.SOURCE_FAILED | AlarmKind.ANSWER_REFUSED:
            return Kind.RATE_SOURCE_FAILED, Severity.INFO
    assert_never(kind)


def on_queues(seen: Iterable[Queue], sending: Sending, now: datetime) -> list[Finding]:
    """Judge what waits to be delivered, whether anybody sends at all, and what was given up."""
    found = [
        Finding(
            Kind.RECEIVER_FAILING,
            each.webhook_id or f"{each.store_id}/webhook_url",
            Severity.WARNING,
            f"{each.waiting} deliveries wait, the oldest for {_minutes(now - each.oldest_at)} minutes, after up to "
            f"{each.attempts} attempts",
            store_id=StoreId(each.store_id),
            about={"webhook_id": each.webhook_id},
        )
        for each in seen
        if each.attempts >= _FEW_ATTEMPTS
    ]
    found += [
        Finding(
            Kind.DELIVERIES_GIVEN_UP,
            store,
            Severity.WARNING,
            f"{count} deliveries were given up of late: send them again or read the events",
            store_id=StoreId(store),
            about={"count": count},
            measure=count,
        )
        for store, count in sending.given_up.items()
    ]
    late = [at for at in (sending.unnumbered_at, sending.overdue_at) if at is not None and now - at > _SENDS_WITHIN]
    if late:
        said = f"events have waited for {_minutes(now - min(late))} minutes and nobody sends them"
        found.append(Finding(Kind.NOBODY_SENDS, "queue", Severity.CRITICAL, said, detail="run `kassa work`"))
    return found


def on_watch(
    expected: Mapping[str, int], beats: Mapping[str, Beat], compared: Sequence[Compared], every: int, now: datetime
) -> list[Finding]:
    """Judge whether the watchers watch. `expected` are the detectors there must be, with how often each looks.

    `every`: after how many seconds books are compared again (0: only by hand).
    """
    found = [
        Finding(Kind.DETECTOR_SILENT, name, Severity.CRITICAL, f"nobody has looked for {name} of late")
        for name in silent(expected, beats, now)
    ]
    for each in compared:
        last = each.ended_at or each.first_at
        if every and now - last > _LATE_RUNS * timedelta(seconds=every) + _LATE_BY:
            said = f"the books of {each.network} were not compared with its node for {_minutes(now - last)} minutes"
            found.append(Finding(Kind.BOOKS_UNCOMPARED, each.network, Severity.WARNING, said))
    return found


def silent(
    expected: Mapping[str, int], beats: Mapping[str, Beat], now: datetime, *, strictly: bool = False
) -> list[str]:
    """Return the detectors that have not looked for three times as long as they should, or never.

    The first start since the last look gives them as long again, unless `strictly`. What a clock that was ahead has
    noted is no look.
    """
    missing = []
    for name, every in sorted(expected.items()):
        beat = beats.get(name)
        noted = () if beat is None else (beat.ended_at,) if strictly else (beat.ended_at, beat.enlisted_at)
        last = max((at for at in noted if at is not None and at <= now + AHEAD), default=None)
        if last is None or now - last > _LATE_RUNS * timedelta(seconds=every) + _LATE_BY:
            missing.append(name)
    return missing


def _minutes(age: timedelta) -> int:
    return age // timedelta(minutes=1)
