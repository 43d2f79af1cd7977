"""What only the database knows, one cheap query for each subject: every one reads a small table or a partial index."""

from typing import Any

from asyncpg import Record

from kassa.watch.store import STATE

MOST, MOST_LANES = 100_000, 10_000
"""Deliveries of a state that are counted, in how many lanes; a longer backlog shows as this many."""

_NETWORKS = f"""
select id, {STATE} as state, height, node_height, greatest(node_height - height, 0) as lag,
    extract(epoch from now() - observed_at)::float8 as behind, extract(epoch from now() - node_time)::float8 as tip_age,
    extract(epoch from now() - contacted_at)::float8 as silence, coalesce(lease_until > now(), false) as followed,
    final_height, extract(epoch from node_time - final_at)::float8 as final_age, clock_skew_seconds as skew, internal,
    (select coalesce(max(depth), 0) from reorganisations r
        where r.network = networks.id and r.at > now() - interval '1 hour') as undone
from networks where id = any($1::text[])
"""
_RESTRAINTS = "select kind, network, count(*) as number from restraints where lifted_at is null group by 1, 2"
_INVOICES = """
select status, count(*) as number, extract(epoch from now() - min(deadline))::float8 as overdue from invoices
where deadline is not null or status = 'processing' group by status
"""
_PAYMENTS = """
select network, coalesce(status, 'detected') as status, count(*) as number,
    extract(epoch from now() - min(first_seen_at))::float8 as age
from payments where block_height is null and (status is null or status in ('detected', 'confirming', 'settled'))
    or status = 'confirming'
group by 1, 2
"""
_OUTBOX = """
select count(*) as number, coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as age
from events where sequence is null
"""
# From lane to lane over the index, in which what is held stands behind all that has a time.
_DELIVERIES = f"""
with recursive walk (lane, first) as (
    (select lane, due_at from deliveries where state = 'due' order by lane, due_at limit 1)
    union all
    select d.lane, d.due_at from walk cross join lateral (
        select lane, due_at from deliveries where state = 'due' and lane > walk.lane order by lane, due_at limit 1
    ) d
), lanes as materialized (select * from walk limit {MOST_LANES})
select {{}},
    (select coalesce(extract(epoch from now() - min(first)), 0)::float8 from lanes where first <= now()) as overdue
""".format(
    ", ".join(
        f"""(select count(*) from (select from lanes cross join lateral (select from deliveries d
            where d.state = 'due' and d.lane = lanes.lane and d.due_at {when}) one limit {MOST}) each)
            as {name}"""
        for name, when in (("due", "<= now()"), ("later", "> now()"), ("held", "is null"))
    )
)
_FAULTS = """
select (select count(*) from differences where closed_at is null) as differences,
    (select coalesce(sum(coalesce((about ->> 'count')::bigint, 1)), 0)::bigint from alerts
        where kind = 'address_mismatch' and closed_at is null) as addresses,
    (select count(*) from contracts where frozen_for is not null) as frozen,
    (select deadlocks from pg_stat_database where datname = current_database()) as deadlocks,
    (select coalesce(extract(epoch from now() - min(xact_start)), 0)::float8 from pg_stat_activity
        where datname = current_database() and state <> 'idle' and backend_type = 'client backend'
            and application_name <> 'pg_dump') as longest
"""
# One of a clock that was ahead is as doubtful as it is far away.
_BACKUP = "select abs(extract(epoch from now() - max(made_at)))::float8 from backups"
_ALERTS = "select kind, severity, count(*) as number from alerts where closed_at is null group by 1, 2"
_RECONCILED = """
select network, extract(epoch from now() - ended_at)::float8 as age from reconciliations where network = any($1::text[])
"""


async def networks(connection: Any, names: list[str]) -> list[Record]:  # a connection, of the pool or not
    """Return how each of these networks stands; ages in seconds, by the database's clock, None: never."""
    found: list[Record] = await connection.fetch(_NETWORKS, names)
    return found


async def invoices(connection: Any) -> list[Record]:
    """Return how many invoices may still change, by status, and for how long the first deadline is over."""
    found: list[Record] = await connection.fetch(_INVOICES)
    return found


async def payments(connection: Any) -> list[Record]:
    """Return how many payments wait for blocks, by network and status, and the age of the oldest."""
    found: list[Record] = await connection.fetch(_PAYMENTS)
    return found


async def outbox(connection: Any) -> Record:
    """Return how many events are not published yet, and the age of the oldest."""
    return await connection.fetchrow(_OUTBOX)


async def deliveries(connection: Any) -> Record:
    """Return how many deliveries are due, wait for a further attempt, or are held for a disabled endpoint."""
    return await connection.fetchrow(_DELIVERIES)


async def faults(connection: Any) -> Record:
    """Return what is wrong and counted: differences, address faults, frozen assets; deadlocks, longest transaction."""
    return await connection.fetchrow(_FAULTS)


async def alerts(connection: Any) -> list[Record]:
    """Return how many alerts are open, by kind and severity."""
    found: list[Record] = await connection.fetch(_ALERTS)
    return found


async def backup_age(connection: Any) -> float | None:
    """Return how long ago the last backup was made and verified, in seconds; None: never."""
    age: float | None = await connection.fetchval(_BACKUP)
    return age


async def reconciled(connection: Any, names: list[str]) -> list[Record]:
    """Return how long ago the books of these networks were compared with their nodes; None: never."""
    found: list[Record] = await connection.fetch(_RECONCILED, names)
    return found


async def restraints(connection: Any) -> list[Record]:
    """Return how much is held back by itself, by kind and network."""
    found: list[Record] = await connection.fetch(_RESTRAINTS)
    return found
