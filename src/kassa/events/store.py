"""The outbox: events written with what they announce, numbered after commit, read in order."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from kassa.core.errors import FieldFault, Invalid
from kassa.core.ids import EventId, InvoiceId, StoreId, WebhookId, new_id
from kassa.db.pool import Tx
from kassa.db.rows import as_json
from kassa.events.model import Event, NewEvent, Published, Written, types_of

CHANNEL = "kassa_events"
"""Notified after events were committed: a hint. Look at once, and again some milliseconds later (see `_WAKING`)."""
_NUMBERING = 0x65766E74  # "evnt": the class of the advisory locks below
# A family is read type by type: of each, no more events than are shown. Types are compared as parts of rows, so that
# nothing but the index by types has the order asked for: of a rare type, the one by sequence would be read to its end.
_EACH_TYPE = """
select f.id, f.store_id, f.type, f.sequence, f.created_at, f.object from unnest($1::text[]) as t (type)
cross join lateral (
    select * from events where store_id = $2 and sequence is not null and {} order by {} limit $4
) f order by {} limit $4
"""
_AFTER = _EACH_TYPE.format("(type, sequence) > (t.type, $3::bigint) and type <= t.type", "type, sequence", "f.sequence")
_BELOW = _EACH_TYPE.format(
    "(type, sequence) < (t.type, $3::bigint) and type >= t.type", "type desc, sequence desc", "f.sequence desc"
)
_ENDLESS = 2**63 - 1
# Transactions that notify commit one after the other, each waiting for the disk of the one before. So only one at a
# time does, and whoever listens looks a second time for those that kept silent beside it.
_WAKING = 0x77616B65  # "wake"

# One statement, because invoice creation waits for it. A delivery id is a digest of event and receiver: one event can
# never be queued twice for one receiver; hexadecimal digits are Crockford digits too.
_WRITING = """
asked as materialized (
    select a.*, ($4::text[])[a.n] as object from json_to_recordset($1)
        as a (n integer, id text, store_id text, type text, invoice_id text, own_url text, correlation text) GUARD
), written as (
    insert into events (id, store_id, type, invoice_id, object, correlation, created_at)
    select id, store_id, type, invoice_id, object, correlation, $2 from asked order by n
    returning id, position
), receivers as (
    select a.id, a.store_id, a.invoice_id, w.id as webhook_id, w.url, a.store_id || ' ' || w.id as lane
    from asked a join webhooks w on w.store_id = a.store_id and w.deleted_at is null and w.disabled_at is null
        and case when $3::text is null
            then w.events && array['*', a.type, split_part(a.type, '.', 1) || '.*']
            else w.id = $3 end
    union all
    select id, store_id, invoice_id, null, own_url, store_id || ' ' || substring(own_url from '^[^/]*//[^/?#]*')
    from asked where own_url is not null
), queued as (
    insert into deliveries
        (id, event_id, store_id, webhook_id, url, lane, invoice_id, position, state, created_at, due_at)
    select 'dlv_' || substr(r.id, 5, 10) || left(encode(sha256(convert_to(r.id || r.lane, 'UTF8')), 'hex'), 19),
        r.id, r.store_id, r.webhook_id, r.url, r.lane, r.invoice_id, w.position, 'due', $2, $2
    from receivers r join written w on w.id = r.id
)
"""
WAKING_ONCE = f"case when pg_try_advisory_xact_lock({_WAKING}, 0) then pg_notify('{CHANNEL}', '') end"
WAKING = f"select {WAKING_ONCE}"
"""The end of a statement that writes events: wakes the senders after commit."""


def writing(first: int, guard: str = "") -> str:
    """Return the part of a statement (after `with`, before `WAKING`) that writes events; see `arguments`.

    For a statement whose own parameters end before `$first`, and go on four later: what is written together costs one
    round trip. With the name of a table as `guard`, nothing is written when it is empty; it may have one row.
    """
    text = _WRITING.replace(" GUARD", f" cross join {guard}" if guard else "")
    return re.sub(r"\$(\d)", lambda place: f"${int(place[1]) + first - 1}", text)


def arguments(
    events: Sequence[NewEvent], now: datetime, *, only: WebhookId | None = None
) -> tuple[list[EventId], list[object]]:
    """Return new ids for events, and the parameters of `writing`."""
    ids = [EventId(new_id("evt", now)) for _ in events]
    rows = [
        {
            "n": n,
            "id": id_,
            "store_id": event.store_id,
            "type": event.type,
            "invoice_id": event.invoice_id,
            "own_url": event.webhook_url,
            "correlation": event.correlation,
        }
        for n, (id_, event) in enumerate(zip(ids, events, strict=True), 1)
    ]
    # Apart from the rows: as a text within their text each would have to be escaped, and read again.
    objects = [msgspec.json.encode(event.object).decode() for event in events]
    return ids, [as_json(rows), now, only, objects]


_NETWORK = "split_part(e.object::json ->> 'asset', '@', 2)"
_SECONDS = """extract(epoch from (e.object::json ->> 'settled_at')::timestamptz
    - (e.object::json ->> 'first_seen_at')::timestamptz)::float8"""

_WRITE = f"with {writing(1)} {WAKING}"


async def write(tx: Tx, events: Sequence[NewEvent], now: datetime, *, only: WebhookId | None = None) -> list[EventId]:
    """Write events in this order, queue a delivery for each receiver, wake the senders after commit; return the ids.

    Receivers are the store's live endpoints whose filter takes the type, and the event's own `webhook_url`; with
    `only`, that endpoint whatever its filter.
    """
    if not events:
        return []
    ids, values = arguments(events, now, only=only)
    await tx.fetch(_WRITE, *values)
    return ids


async def last_places(tx: Tx, invoices: Sequence[InvoiceId]) -> dict[InvoiceId, int]:
    """Return the position of the last event of each invoice; those of one invoice are in order, for it is locked."""
    rows = await tx.fetch(
        "select invoice_id, max(position) as place from events where invoice_id = any($1::text[]) group by 1", invoices
    )
    return {InvoiceId(row["invoice_id"]): row["place"] for row in rows}


async def number(tx: Tx, store_id: StoreId | None = None) -> list[Published]:
    """Give the committed events of one store, or of all, their place in its sequence; return what was numbered.

    Safe with any number of callers: numbering waits for the numbering of the same store, never for its writers. Events
    of one invoice keep their order, since its row is locked by whoever writes them. Needs READ COMMITTED: the second
    statement must see what the holder of the lock before us committed.
    """
    stores = await tx.fetch(
        "select store_id, pg_advisory_xact_lock($1, hashtext(store_id)) from ("
        "  select store_id from events where sequence is null and ($2::text is null or store_id = $2)"
        "  group by store_id order by hashtext(store_id) offset 0"
        ") as unnumbered",
        _NUMBERING,
        store_id,
    )
    if not stores:
        return []
    done = await tx.fetch(
        "update events e set sequence = n.sequence from ("
        "  select u.id, row_number() over (partition by u.store_id order by u.position) + l.last as sequence"
        "  from unnest($1::text[]) as s (store_id)"
        "  cross join lateral (select coalesce(max(sequence), 0) as last from events where store_id = s.store_id) l"
        "  join events u on u.store_id = s.store_id and u.sequence is null"
        ") as n where e.id = n.id returning e.type, "
        f"case when e.type = 'payment.settled' then {_NETWORK} end as network,"
        f" case when e.type = 'payment.settled' then {_SECONDS} end as seconds",
        [row["store_id"] for row in stores],
    )
    return [Published(*row.values()) for row in done]


async def list_after(tx: Tx, store_id: StoreId, after: EventId | None, kind: str | None, limit: int) -> list[Event]:
    """Return up to `limit` numbered events after one event, in sequence; a `kind` is exact or ends in `.*`.

    Call `number` first, so that a caller reads its own writes. Raises `Invalid` when `after` is not an event of the
    store.
    """
    last = 0
    if after is not None:
        found = await tx.fetchval(
            "select sequence from events where id = $1 and store_id = $2 and sequence is not null", after, store_id
        )
        if found is None:
            raise Invalid(FieldFault("after", f"no event {after!r} in this store; leave it out to read from the start"))
        last = found
    if kind is not None:
        rows = await tx.fetch(_AFTER, types_of(kind), store_id, last, limit)
    else:
        rows = await tx.fetch(
            "select id, store_id, type, sequence, created_at, object from events"
            " where store_id = $1 and sequence > $2 order by sequence limit $3",
            store_id,
            last,
            limit,
        )
    return [_event(row) for row in rows]


async def newest(
    tx: Tx,
    store_id: StoreId,
    kind: str | None,
    below: int | None,
    limit: int,
    found: Sequence[EventId] | None = None,
) -> tuple[list[Event], int | None]:
    """Return up to `limit` numbered events, newest first, those below a sequence: all, or a type or family.

    `found`: of these alone. And below which sequence to go on, where there is more.
    """
    start = _ENDLESS if below is None else below
    if found is not None:
        rows = await tx.fetch(
            "select id, store_id, type, sequence, created_at, object from events"
            " where store_id = $1 and sequence < $2 and id = any($4::text[]) and ($5::text[] is null or type = any($5))"
            " order by sequence desc limit $3",
            store_id,
            start,
            limit + 1,
            found,
            None if kind is None else types_of(kind),
        )
    elif kind is not None:
        rows = await tx.fetch(_BELOW, types_of(kind), store_id, start, limit + 1)
    else:
        rows = await tx.fetch(
            "select id, store_id, type, sequence, created_at, object from events"
            " where store_id = $1 and sequence < $2 order by sequence desc limit $3",
            store_id,
            start,
            limit + 1,
        )
    shown = [_event(row) for row in rows[:limit]]
    return shown, shown[-1].sequence if len(rows) > limit else None


async def get(tx: Tx, store_id: StoreId, event_id: EventId) -> Event | None:
    """Return a numbered event of the store."""
    row = await tx.fetchrow(
        "select id, store_id, type, sequence, created_at, object from events"
        " where id = $1 and store_id = $2 and sequence is not null",
        event_id,
        store_id,
    )
    return None if row is None else _event(row)


async def of_invoice(tx: Tx, invoice: str, after: tuple[datetime, int], limit: int) -> list[Written]:
    """Return what was announced about an invoice, oldest first, after a moment and position."""
    rows = await tx.fetch(
        """select id, type, position, created_at as at, object from events
           where invoice_id = $1 and (created_at, position) > ($2, $3) order by created_at, position limit $4""",
        invoice,
        *after,
        limit,
    )
    return [Written(**row) for row in rows]


def _event(row: Any) -> Event:  # asyncpg's record
    return Event(row["id"], row["store_id"], row["type"], row["sequence"], row["created_at"], row["object"])
