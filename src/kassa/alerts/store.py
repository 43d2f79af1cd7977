"""Alerts in the database, each change told to whom it concerns in the same transaction."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

import kassa.events.store as events
import kassa.wallets.store as wallets
from kassa.alerts.model import KASSA, OPERATOR, Action, Alert, Decided, Deed, Finding, Kind, Severity, Verdict
from kassa.alerts.resource import alert_resource
from kassa.core.errors import Conflict, NotFound
from kassa.core.ids import AlertId, StoreId, new_id
from kassa.db.pool import Tx, say_after_commit
from kassa.events.model import NewEvent

log = structlog.get_logger()

_OPEN = """
insert into alerts (id, kind, subject, severity, store_id, network, reason, detail, about, actions, measure, lasting,
    opened_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
on conflict (kind, subject) where closed_at is null do nothing returning *
"""
# Whose key it is decides which alerts there are: a store's own, and those of networks on which it has a wallet.
_OF_STORE = """(store_id = $1 or (store_id is null and network in (select network from wallets where store_id = $1)))"""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which alerts. None: whatever they are."""

    is_open: bool | None = None
    kind: str | None = None
    severity: str | None = None


async def open_alert(tx: Tx, finding: Finding, now: datetime) -> Alert | None:
    """Open an alert and tell of it; None when one with the same cause is open."""
    row = await tx.fetchrow(
        _OPEN,
        new_id("alt", now),
        finding.kind.value,
        finding.subject,
        finding.severity.value,
        finding.store_id,
        finding.network,
        finding.reason,
        finding.detail,
        json.dumps(finding.about),
        _write_actions(finding.actions),
        finding.measure,
        finding.lasting,
        now,
    )
    if row is None:
        return None
    alert = _alert(row)
    _say(log.error, "alert opened", alert, finding.reason)
    await _tell(tx, "alert.opened", alert, now)
    return alert


async def close_alert(tx: Tx, kind: Kind, subject: str, ended: str, now: datetime) -> Alert | None:
    """Close the open alert of a cause, because it is over, and tell; None when none is open."""
    row = await tx.fetchrow(
        """update alerts set closed_at = $4, closed_by = $5, ended = $3, over_at = coalesce(over_at, $4)
           where kind = $1 and subject = $2 and closed_at is null returning *""",
        kind.value,
        subject,
        ended,
        now,
        KASSA,
    )
    if row is None:
        return None
    [alert] = await _with_decisions(tx, [row])
    _say(log.info, "alert closed", alert, ended)
    await _tell(tx, "alert.closed", alert, now)
    return alert


async def decide(tx: Tx, alert: Alert, verdict: Verdict, by: str, note: str, now: datetime) -> Alert:
    """Keep a person's word on an alert that the caller holds and do what it says of the alert; tell of a closing.

    Raises `Conflict` when it is closed.
    """
    if alert.closed_at is not None:
        raise Conflict("the alert is closed already", code="alert_closed")
    await tx.execute(
        """insert into alert_decisions (alert_id, decision, decided_at, decided_by, note)
           values ($1, $2, $3, $4, $5)""",
        alert.id,
        verdict.value,
        now,
        by,
        note,
    )
    row = await tx.fetchrow(
        """update alerts set acknowledged_at = coalesce(acknowledged_at, $2),
               undone_at = case when $3 = 'undone' then $2 else undone_at end,
               closed_at = case when $3 <> 'acknowledged' then $2 end,
               closed_by = case when $3 <> 'acknowledged' then $4 end,
               ended = case when $3 <> 'acknowledged' then $5 end
           where id = $1 returning *""",
        alert.id,
        now,
        verdict.value,
        by,
        note,
    )
    [decided] = await _with_decisions(tx, [row])
    if decided.closed_at is not None:
        await _tell(tx, "alert.closed", decided, now)
    return decided


async def get(tx: Tx, store_id: StoreId | None, alert_id: str, *, lock: bool = False) -> Alert:
    """Return an alert that a store sees (None: the operator, who sees all), locked if wished; raises `NotFound`."""
    visible = "$1::text is null" if store_id is None else _OF_STORE
    locked = "for no key update" if lock else ""
    row = await tx.fetchrow(f"select * from alerts where id = $2 and {visible} {locked}", store_id, alert_id)
    if row is None:
        raise NotFound("there is no such alert; see `kassa alert list`")
    return (await _with_decisions(tx, [row]))[0]


async def undo_by_operator(tx: Tx, kind: Kind, subject: str, note: str, now: datetime) -> None:
    """Close the open alert of a cause, if there is one: an operator has undone what was done, by its own command."""
    row = await tx.fetchrow(
        "select * from alerts where kind = $1 and subject = $2 and closed_at is null for no key update",
        kind.value,
        subject,
    )
    if row is not None:
        await decide(tx, _alert(row), Verdict.UNDONE, OPERATOR, note, now)


async def standing(
    tx: Tx, kinds: Sequence[Kind], subject: str | None = None, among: Sequence[str] | None = None
) -> tuple[list[Alert], list[Alert]]:
    """Lock and return the alerts of some kinds (about one subject and its parts, or some, if given) a look may change.

    First those that are open, then those that a person closed while it was still so.
    """
    rows = await tx.fetch(
        """select * from alerts where kind = any($1)
               and ($2::text is null or subject = $2 or starts_with(subject, $2 || '/'))
               and ($3::text[] is null or subject = any($3))
               and (closed_at is null or over_at is null) order by id for no key update""",
        [kind.value for kind in kinds],
        subject,
        among,
    )
    known = await _with_decisions(tx, rows)
    return [each for each in known if each.closed_at is None], [each for each in known if each.closed_at is not None]


async def note_found(tx: Tx, alert: Alert, finding: Finding) -> None:
    """Keep what a later look found of an alert that is open, or was closed by a person."""
    await tx.execute(
        """update alerts set reason = $2, detail = $3, about = $4, actions = $5, measure = $6, over_at = null,
               lasting = lasting or $7
           where id = $1""",
        alert.id,
        finding.reason,
        finding.detail,
        json.dumps(finding.about),
        _write_actions(finding.actions if alert.closed_at is None else alert.finding.actions),
        finding.measure,
        finding.lasting,
    )


async def note_over(tx: Tx, alerts: Sequence[Alert], now: datetime) -> None:
    """Keep that what raised some alerts is not so any more."""
    if alerts:
        await tx.execute(
            "update alerts set over_at = $2 where id = any($1) and over_at is null", [each.id for each in alerts], now
        )


async def page(
    tx: Tx, store_id: StoreId | None, filters: Filters, before: str | None = None, limit: int = 100
) -> list[Alert]:
    """Return alerts that a store sees (None: the operator, who sees all), newest first, those before an id."""
    visible = "$1::text is null" if store_id is None else _OF_STORE
    rows = await tx.fetch(
        f"""select * from alerts
            where {visible} and ($2::text is null or id < $2) and ($3::bool is null or (closed_at is null) = $3)
              and ($4::text is null or kind = $4) and ($5::text is null or severity = $5)
            order by id desc limit $6""",
        store_id,
        before,
        filters.is_open,
        filters.kind,
        filters.severity,
        limit,
    )
    return await _with_decisions(tx, rows)


async def of_operator(tx: Tx) -> list[Alert]:
    """Return the open alerts that concern neither a store nor a network, newest first."""
    rows = await tx.fetch(
        "select * from alerts where store_id is null and network is null and closed_at is null"
        " order by id desc limit 20"
    )
    return await _with_decisions(tx, rows)


async def is_open(tx: Tx, kind: Kind) -> bool:
    """Tell whether an alert of a kind is open."""
    found: bool = await tx.fetchval("select exists (select from alerts where kind = $1 and closed_at is null)", kind)
    return found


async def open_reasons(tx: Any, kind: Kind) -> list[str]:  # a transaction or the pool
    """Return why the open alerts of a kind are open, the newest first."""
    rows = await tx.fetch("select reason from alerts where kind = $1 and closed_at is null order by id desc", kind)
    return [row["reason"] for row in rows]


async def open_counts(tx: Any) -> dict[str, int]:  # a transaction or the pool
    """Return how many alerts are open, by severity."""
    return dict(await tx.fetch("select severity, count(*) from alerts where closed_at is null group by 1"))


def _say(to: Callable[..., object], what: str, alert: Alert, reason: str) -> None:
    cause = {"kind": alert.finding.kind.value, "subject": alert.finding.subject}
    say_after_commit(lambda: to(what, alert=alert.id, reason=reason, **cause))


async def _tell(tx: Tx, type_: str, alert: Alert, now: datetime) -> None:
    found, body = alert.finding, alert_resource(alert)
    stores: Sequence[StoreId] = ()
    if found.store_id is not None:
        stores = [found.store_id]
    elif found.network is not None:
        stores = await wallets.stores_on(tx, found.network)
    invoice = found.about.get("invoice_id")
    await events.write(tx, [NewEvent(store, type_, body, invoice) for store in stores], now)


async def _with_decisions(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> list[Alert]:
    made: dict[str, list[Decided]] = {}
    for row in await tx.fetch(
        "select * from alert_decisions where alert_id = any($1) order by id", [row["id"] for row in rows]
    ):
        decided = Decided(Verdict(row["decision"]), row["decided_at"], row["decided_by"], row["note"])
        made.setdefault(row["alert_id"], []).append(decided)
    return [_alert(row, tuple(made.get(row["id"], ()))) for row in rows]


def _write_actions(actions: Sequence[Action]) -> str:
    return json.dumps([(each.deed.value, each.target, each.blocks) for each in actions])


def _alert(row: Mapping[str, Any], decisions: tuple[Decided, ...] = ()) -> Alert:
    finding = Finding(
        kind=Kind(row["kind"]),
        subject=row["subject"],
        severity=Severity(row["severity"]),
        reason=row["reason"],
        store_id=None if row["store_id"] is None else StoreId(row["store_id"]),
        network=row["network"],
        detail=row["detail"],
        about=json.loads(row["about"]),
        actions=tuple(Action(Deed(deed), target, blocks) for deed, target, blocks in json.loads(row["actions"])),
        measure=int(row["measure"]),
        lasting=row["lasting"],
    )
    return Alert(
        id=AlertId(row["id"]),
        finding=finding,
        opened_at=row["opened_at"],
        acknowledged_at=row["acknowledged_at"],
        over_at=row["over_at"],
        closed_at=row["closed_at"],
        closed_by=row["closed_by"],
        ended=row["ended"],
        undone_at=row["undone_at"],
        decisions=decisions,
    )
