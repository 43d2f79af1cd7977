"""The queue of deliveries, as senders use it: lanes with work, claims, and what came of each post.

A lane is one receiver. Deliveries that concern one invoice leave a lane in order: they are claimed together, as a
train, and nobody else claims of that invoice while the train is under way. What somebody holds a lock on at that moment
ends the train: another claim, or an endpoint that is being disabled.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from kassa.alerts import store as alerts
from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.core.ahead import AHEAD
from kassa.core.ids import WebhookId, first_id
from kassa.core.secret import Secret
from kassa.db.pool import Tx
from kassa.events.model import Event
from kassa.webhooks.model import Claimed, Delivered, GaveUp, Gone, Lane, Postponed, Result, RetryAt
from kassa.webhooks.rules import GIVE_UP_AFTER, LONGEST_WAITS
from kassa.webhooks.store import hold

TRAIN = 20
"""How many deliveries of one invoice are claimed together at most."""
_HURRIED = 100
_RECENT = 1000
_PROMPTLY = timedelta(hours=2)
# What is given up later than this after its 72 hours was sent again by hand, or waited while nobody sent: one refusal
# then is no sign that the receiver took nothing all the time.

# A walk from lane to lane over the index, which costs the same however long each lane is.
_LANES = """
with recursive lanes (lane, due_at) as (
    (select lane, due_at from deliveries where state = 'due' and lane > $1 order by lane, due_at limit 1)
    union all
    select d.lane, d.due_at from lanes cross join lateral (
        select lane, due_at from deliveries where state = 'due' and lane > lanes.lane order by lane, due_at limit 1
    ) d
)
select lane, due_at from lanes limit $2
"""

_CLAIM = """
with heads as (
    select d.id, d.lane, d.invoice_id, d.position, l.room from unnest($1::text[], $2::int[]) as l (lane, room)
    cross join lateral (
        select id, lane, invoice_id, position from deliveries
        where state = 'due' and lane = l.lane and due_at <= $3 order by due_at limit 4 * l.room
    ) d
), last_due as (
    select distinct on (lane, coalesce(invoice_id, id)) * from heads
    order by lane, coalesce(invoice_id, id), position desc
), chosen as (
    select * from (
        select h.*, row_number() over (partition by lane order by position) as place from last_due h
        where not exists (
            select from deliveries b where b.lane = h.lane and b.invoice_id = h.invoice_id
            and b.claimed_until is not null and b.claimed_until > $3
        )
    ) ranked where place <= room
), trains as (
    select id, lane, invoice_id, position from chosen where invoice_id is null
    union all
    -- The oldest even before its time: if the receiver is back, it goes first. No others: they would not end.
    select d.* from chosen c cross join lateral (
        (select id, lane, invoice_id, position from deliveries where state = 'due' and invoice_id is not null
            and lane || ' ' || invoice_id = c.lane || ' ' || c.invoice_id and due_at is not null
            order by position limit 1)
        union all
        (select id, lane, invoice_id, position from deliveries where state = 'due' and invoice_id is not null
            and lane || ' ' || invoice_id = c.lane || ' ' || c.invoice_id and position <= c.position and due_at <= $3
            order by position limit $5)
    ) d where c.invoice_id is not null
), taken as (
    -- Without an endpoint that listens it is put aside: until no time at all.
    select d.id, case when w.disabled_at is null and w.deleted_at is null then $4::timestamptz end as until,
        coalesce(w.url, d.url) as url,
        case when w.id is null and s.previous_webhook_secret_until > $3
                then array[s.webhook_secret, s.previous_webhook_secret]
            when w.id is null then array[s.webhook_secret]
            when w.previous_secret_until > $3 then array[w.secret, w.previous_secret]
            else array[w.secret] end as secrets,
        e.type, e.sequence, e.correlation, e.created_at as event_created_at, e.object, s.livemode,
        exists (select from restores r where e.created_at < coalesce(r.caught_up_at, 'infinity')) as restored,
        (
            select o.position from deliveries o where o.state = 'due' and o.invoice_id is not null
                and o.lane || ' ' || o.invoice_id = d.lane || ' ' || d.invoice_id and o.position < d.position
                and o.due_at > $3
            order by o.position limit 1
        ) is not null as passes
    from deliveries d join events e on e.id = d.event_id join stores s on s.id = d.store_id
    left join webhooks w on w.id = d.webhook_id
    -- As an array: few rows, whatever the statistics of a queue that fills and empties make of it. Not by "due", for
    -- which there are indexes: without statistics all that is due would be read to be left out.
    where d.id = any (array(select id from trains)) and d.state not in ('delivered', 'failed')
        and e.sequence is not null
        and (d.claimed_until is null or d.claimed_until <= $3)
    for update of d skip locked
), unbroken as (
    -- A train ends before the first that could not be taken: somebody else has it, and what follows would overtake it.
    select id from (
        select r.id, bool_and(t.id is not null) over (
            partition by r.lane, coalesce(r.invoice_id, r.id) order by r.position
        ) as reached from trains r left join taken t on t.id = r.id
    ) each where reached
)
update deliveries d set due_at = t.until, claimed_until = t.until
from taken t where d.id = t.id and d.id = any (array(select id from unbroken))
returning d.id, d.store_id, d.event_id, d.webhook_id, d.lane, d.invoice_id, d.position, d.attempts, d.created_at, t.*
"""

# Whoever was away for longer than its claim finds it another's, who may be posting now. What was delivered is so in any
# case.
_RECORD = """
with made as (
    select * from unnest(
        $1::text[], $2::int[], $3::timestamptz[], $4::int[], $5::int[], $6::text[], $7::text[],
        $8::text[], $9::timestamptz[], $10::timestamptz[]
    ) as m (id, number, started_at, duration_ms, status_code, error, response, state, due_at, until)
), noted as (
    insert into delivery_attempts (delivery_id, number, started_at, duration_ms, status_code, error, response)
    select id, number, started_at, duration_ms, status_code, error, response from made
    on conflict (delivery_id, number) do nothing
)
update deliveries d set state = m.state, due_at = m.due_at, claimed_until = null,
    attempts = greatest(d.attempts, m.number)
from made m where d.id = m.id and (d.state = 'due' and d.claimed_until = m.until or m.state = 'delivered')
"""


# What is claimed may be under way: its claim begins now.
_PULL_BACK = """
update deliveries set due_at = case when claimed_until is null then $1::timestamptz else $3 end,
    claimed_until = case when claimed_until is not null then $3::timestamptz end
where id in (
    select id from deliveries where state = 'due' and id >= $2
    and due_at > $4 and (due_at = created_at
        or due_at - make_interval(secs => ($5::int[])[least(attempts, cardinality($5) - 1) + 1]) > $4)
    order by id for update skip locked
)
"""


async def lanes(tx: Tx, after: str, limit: int) -> list[Lane]:
    """Return up to `limit` lanes that have something to send, now or later, by name from behind `after`."""
    return [Lane(row["lane"], row["due_at"]) for row in await tx.fetch(_LANES, after, limit)]


async def pull_back(tx: Tx, now: datetime, until: datetime, *, whole: bool = False) -> None:
    """Let nothing wait for a moment that a clock named which was ahead; `until`: as for `claim`.

    Looks through what was made later than now, which costs little, or (`whole`) through all that waits.
    """
    later = now + AHEAD
    since = "" if whole else first_id("dlv", later)
    await tx.execute(_PULL_BACK, now, since, until, later, list(LONGEST_WAITS))


async def claim(tx: Tx, room: Mapping[str, int], now: datetime, until: datetime) -> list[tuple[Claimed, ...]]:
    """Claim what is due of numbered events: at most `room` trains of each lane, each in the order of its events.

    A train is the oldest event of an invoice, even before its time, and those of its later ones that are due.
    Nobody else claims them before `until`, the moment to assume that this process died; by it a claim is known, too.
    What an endpoint was disabled for is put aside.
    """
    rows = await tx.fetch(_CLAIM, list(room.keys()), list(room.values()), now, until, TRAIN)
    trains: dict[tuple[str, str], list[Claimed]] = {}
    for row in sorted(rows, key=lambda row: int(row["position"])):
        if row["until"] is not None:
            trains.setdefault((row["lane"], row["invoice_id"] or row["id"]), []).append(_claimed(row))
    return [tuple(train) for train in trains.values()]


async def record(tx: Tx, results: Sequence[Result], postponed: Sequence[Postponed], now: datetime) -> None:
    """Write down what came of posts, and put back what was not posted.

    A post that succeeded after failures hurries the rest of its lane: the receiver is back. A receiver that is gone is
    disabled, and so is one that took nothing for 72 hours.
    """
    await _put_back(tx, postponed)
    await _write_down(tx, results)
    recovered = {r.delivery.lane for r in results if r.recovered}
    if recovered:
        await _hurry(tx, recovered, now)
    prompt = [r for r in results if now - r.delivery.created_at <= GIVE_UP_AFTER + _PROMPTLY]
    await _disable_silent(tx, _endpoints(prompt, GaveUp), now)
    for webhook_id in _endpoints(results, Gone):
        await _disable(tx, webhook_id, "it answered 410 Gone", now)


async def _put_back(tx: Tx, postponed: Sequence[Postponed]) -> None:
    if postponed:
        await tx.execute(
            "update deliveries d set due_at = p.at, claimed_until = null"
            " from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) as p (id, at, until)"
            " where d.id = p.id and d.state = 'due' and d.claimed_until = p.until",
            [each.delivery.id for each in postponed],
            [each.at for each in postponed],
            [each.delivery.until for each in postponed],
        )


async def _write_down(tx: Tx, results: Sequence[Result]) -> None:
    if results:
        await tx.execute(
            _RECORD,
            [r.delivery.id for r in results],
            [r.delivery.attempts + 1 for r in results],
            [r.answer.started_at for r in results],
            [r.answer.duration_ms for r in results],
            [r.answer.status_code for r in results],
            [r.answer.error for r in results],
            [r.answer.response for r in results],
            [_state(r) for r in results],
            [r.outcome.at if isinstance(r.outcome, RetryAt) else None for r in results],
            [r.delivery.until for r in results],
        )


def _state(result: Result) -> str:
    match result.outcome:
        case Delivered():
            return "delivered"
        case RetryAt():
            return "due"
        case GaveUp() | Gone():
            return "failed"


async def _hurry(tx: Tx, recovered: Iterable[str], now: datetime) -> None:
    await tx.execute(
        "update deliveries d set due_at = $2 from ("
        "  select w.id from unnest($1::text[]) as l (lane) cross join lateral ("
        "    select id from deliveries where state = 'due' and lane = l.lane and due_at > $2 and claimed_until is null"
        "    order by due_at limit $3"
        "  ) w"
        ") as waiting where d.id = waiting.id and d.state = 'due' and d.claimed_until is null",
        sorted(recovered),
        now,
        _HURRIED,
    )


def _endpoints(results: Sequence[Result], outcome: type[GaveUp] | type[Gone]) -> list[WebhookId]:
    ids = {r.delivery.webhook_id for r in results if isinstance(r.outcome, outcome)}
    return sorted(each for each in ids if each is not None)


async def _disable_silent(tx: Tx, candidates: Sequence[WebhookId], now: datetime) -> None:
    for webhook_id in candidates:
        took = await tx.fetchval(
            "select exists (select from ("
            "  select state, created_at from deliveries where webhook_id = $1 order by id desc limit $2"
            ") as recent where state = 'delivered' and created_at > $3)",
            webhook_id,
            _RECENT,
            now - GIVE_UP_AFTER - timedelta(hours=1),
        )
        if not took:
            await _disable(tx, webhook_id, "it took nothing for 72 hours", now)


async def _disable(tx: Tx, webhook_id: WebhookId, reason: str, now: datetime) -> None:
    store_id = await tx.fetchval(
        "update webhooks set disabled_at = $2, disabled_reason = $3 where id = $1 and disabled_at is null"
        " returning store_id",
        webhook_id,
        now,
        reason,
    )
    if store_id is not None:
        await hold(tx, [webhook_id])
        disabled = Finding(
            Kind.WEBHOOK_DISABLED,
            webhook_id,
            Severity.WARNING,
            f"webhook disabled: {reason}",
            store_id=store_id,
            about={"webhook_id": webhook_id},
            actions=(Action(Deed.DISABLED, webhook_id),),
        )
        await alerts.open_alert(tx, disabled, now)


def _claimed(row: Any) -> Claimed:  # asyncpg's record
    return Claimed(
        id=row["id"],
        lane=row["lane"],
        invoice_id=row["invoice_id"],
        webhook_id=row["webhook_id"],
        url=row["url"],
        secrets=tuple(map(Secret, row["secrets"])),
        event=Event(
            row["event_id"], row["store_id"], row["type"], row["sequence"], row["event_created_at"], row["object"]
        ),
        correlation=row["correlation"],
        restored=row["restored"],
        passes=row["passes"],
        livemode=row["livemode"],
        attempts=row["attempts"],
        created_at=row["created_at"],
        until=row["until"],
    )
