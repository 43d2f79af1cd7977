"""No page of the dashboard takes longer as a store grows old: what each reads of the tables that grow is counted."""

import os
from asyncio import gather
from collections.abc import Mapping
from contextlib import AsyncExitStack

import asyncpg

from kassa import flow
from kassa.core.ids import EventId
from kassa.dashboard.pages import PAGES, books
from kassa.db.pool import Database
from kassa.events.store import list_after
from kassa.people.model import Role
from tests.dashboard.furnished import furnish
from tests.dashboard.grown import grow
from tests.dashboard.visitor import Premises

ROWS = int(os.environ.get("ROWS", "12000"))
MOST = 2_000
"""Rows that a page may read of one table: what is looked through for rare events, few beside what is there."""
ASKED = {"books/export": "format=csv&from={today}&to={today}"}
"""What pages must be asked with."""
QUERIES = {
    "invoices": (
        "status=new",
        "status=settled",
        "flag=underpaid",
        "flag=late",
        "flag=late&decision=none",
        "flag=overpaid&decision=none",
        "decision=none",
        "search=old-77",
        "search=nothing",
        "search=lnk_{}",
        "search={lnk}",
        f"search={'0' * 60}9999",
        "search=HTTPS://PAY.EXAMPLE/I/INV_{}",
        "cursor=inv_{}",
        "from=2020-01-01&to={today}",
        "from={today}",
    ),
    "payments": (
        "cursor=pay_{}",
        "status=settled",
        "status=reversed",
        "asset=NONE@bitcoin-regtest",
        "invoice_id=inv_{}",
        "search=old-77",
        f"search={'0' * 60}9999",
        "search={lnk}",
        "from=2020-01-01&to={today}",
        "from={today}&asset=BTC@bitcoin-regtest&status=detected",
        "to={today}&cursor=pay_{}",
    ),
    "events": ("type=payment.*", "type=invoice.*", "cursor=5"),
    "links": ("status=open", "status=closed", "search=old-77", "search={lnk}", f"search={'0' * 60}9999"),
    "alerts": ("status=open", "status=closed"),
    "customers": ("reference=old-77", "search=old-77", "search=Nobody", "search=A", "search=inv_{}", "cursor=cus_{}"),
    "books": ("account=sales", "account=losses", "invoice_id=inv_{}", "payment_id=pay_{}", "cursor=ent_{}"),
    "reports": tuple(f"report={name}" for name in books.REPORTS),
    "reports/file": tuple(f"report={name}" for name in books.REPORTS),
}


async def test_what_a_page_reads_does_not_grow_with_the_store(premises: Premises, database_url: str) -> None:
    owner = await premises.member(Role.OWNER)
    person = await premises.house.database.pool.fetchval("select id from people")
    ids = await furnish(premises, person)
    connection = await asyncpg.connect(database_url)
    await grow(connection, ids, ROWS)
    ids["pay"] = f"pay_{ROWS:029}"  # one that has an owner
    left = "select max(id) <> (select entry from book_sums_until) from entries"
    while await premises.house.database.pool.fetchval(left):  # as the role `work` does
        await premises.house.database.run(lambda tx: flow.keep_sums(tx, premises.clock.now()))
    await premises.house.database.pool.execute("update sessions set proven_at = now() + interval '1 day'")
    today = f"{premises.clock.now():%Y-%m-%d}"
    greedy = []
    for page in PAGES:
        path = page.path.replace("{id}", ids.get(page.id_of or "", ""))
        for query in (ASKED.get(page.path, ""), *QUERIES.get(page.path, ())):
            before = await _read(premises.house.database, connection)
            seen = await owner.open(
                premises.at(path) + "?" + query.format("0" * 24 + "09999", today=today, lnk=ids["lnk"])
            )
            assert seen.status == 200, (path, query, seen.words)
            after = await _read(premises.house.database, connection)
            read = {table: count - before[table] for table, count in after.items() if count - before[table] > MOST}
            greedy += [(path, query, read)] if read else []
    for kind in ("invoice.created", "invoice.*", "alert.opened", "payment_link.*", "webhook.test"):
        before = await _read(premises.house.database, connection)
        async with premises.house.database.pool.acquire() as reader:
            listed = await list_after(reader, premises.store.id, EventId(f"evt_{9_999:029}"), kind, 26)
            assert all(event.type.startswith(kind.rstrip("*")) for event in listed)
        read = (await _read(premises.house.database, connection))["events"] - before["events"]
        greedy += [("GET /v1/events", kind, read)] if read > MOST else []
    before = await _read(premises.house.database, connection)
    async with premises.house.database.transaction() as tx:  # as the link's own page does
        shown = await flow.link_view(tx, premises.house, ids["lnk"], premises.clock.now())
        assert shown.public["amount_paid"] != "0.00"
        assert await flow.last_attempt(tx, premises.house, ids["lnk"], "somebody") is None
    after = await _read(premises.house.database, connection)
    greedy += [("/l/…", table, count) for table, was in before.items() if (count := after[table] - was) > MOST]
    await connection.close()
    assert greedy == [], "\n".join(map(str, greedy))


async def _transactions(database: Database, connection: "asyncpg.Connection[object]") -> int:
    """Return how many were committed in this database so far."""
    await _flush(database)
    return await connection.fetchval(  # type: ignore[no-any-return]
        "select xact_commit from pg_stat_database where datname = current_database()"
    )


async def _read(database: Database, connection: "asyncpg.Connection[object]") -> Mapping[str, int]:
    """Return how many rows were read so far of each table, by whatever way."""
    await _flush(database)
    rows = await connection.fetch(
        "select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) as n from pg_stat_user_tables"
    )
    return {row["relname"]: row["n"] for row in rows}


_WALLETS = """
with copied as (
    insert into keychains overriding system value select (json_populate_record(k, json_build_object('id', 1000 + n,
        'descriptor', k.descriptor || n))).* from keychains k, generate_series(1, $1::int) n where k.id < 1000
    returning id
)
insert into wallets select (json_populate_record(w, json_build_object('id', 'wal_' || lpad(c.id::text, 29, '0'),
    'keychain_id', c.id, 'retired_at', w.created_at))).* from wallets w, copied c
"""


async def test_a_list_of_wallets_takes_no_more_transactions_than_one(premises: Premises, database_url: str) -> None:
    owner = await premises.member(Role.OWNER)
    connection = await asyncpg.connect(database_url)
    took = []
    for more in (0, 200):
        await connection.execute(_WALLETS, more)
        await owner.open(premises.at("wallets"))  # what is read once per process is read
        before = await _transactions(premises.house.database, connection)
        seen = await owner.open(premises.at("wallets"))
        took.append(await _transactions(premises.house.database, connection) - before)
        assert seen.text.count("bitcoin-regtest</a>") == min(1 + more, 25)
    await connection.close()
    assert took[1] < took[0] + 10, took  # loops of the process have some of their own


async def _flush(database: Database) -> None:
    """Let each connection tell what it did."""
    async with AsyncExitStack() as stack:
        pool = database.pool
        held = await gather(*(stack.enter_async_context(pool.acquire()) for _ in range(pool.get_size())))
        await gather(*(one.fetchval("select pg_stat_force_next_flush()") for one in held))
