"""What a search reads of large tables, by whatever kind of plan: what it finds, by an index, and not the store."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from kassa.customers import search_store as customers
from kassa.db.pool import Database
from kassa.events import search_store as events
from kassa.invoices import search_store as invoices
from kassa.links import search_store as links
from kassa.payments import list_store as payments
from kassa.webhooks import search_store as deliveries

ROWS = int(os.environ.get("ROWS", "20000"))
_ROWS = """
insert into payment_links (id, store_id, title, reference, currency, amount_units, reusable, show_received,
        invoice_seconds, created_at)
    select 'lnk_' || n, 'sto_a', 'Tea', 'rent-' || n, 'EUR', 500, true, false, 900, now() from generate_series(1, $1) n;
insert into invoices (id, store_id, amount_units, currency, tolerance_ppm, created_at, expires_at, reference,
        customer_id, status, link_id)
    select 'inv_' || n, 'sto_a', 500, 'EUR', 0, now(), now(), 'order-' || n, 'cus_' || n % 1000, 'settled', 'lnk_1'
    from generate_series(1, $1) n;
insert into addresses (id, network, script, address, watch_key, keychain_id, index, store_id, invoice_id, created_at)
    select 'adr_' || n, 'bitcoin', decode(lpad(to_hex(n), 44, '0'), 'hex'), 'bc1q' || n, n, 1, n, 'sto_a', 'inv_' || n,
        now() from generate_series(1, $1) n;
insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id, invoice_id,
        first_seen_at, replaceable, status, conflict_txid)
    select 'pay_' || n, 'bitcoin', lpad(n::text, 64, '0'), 'out:0', 'BTC@bitcoin', 1000, 0, 'adr_' || n, 'sto_a',
        'inv_' || n, now(), false, 'settled', case when n % 10 = 0 then lpad((n + 1)::text, 64, '0') end
    from generate_series(1, $1) n;
insert into customers (id, store_id, reference, name, created_at)
    select 'cus_' || n, 'sto_a', 'user-' || n, 'A' || n, now() from generate_series(1, $1) n;
insert into events (id, store_id, sequence, type, created_at, invoice_id, object)
    select 'evt_' || lpad(n::text, 29, '0'), 'sto_a', n,
        case when n % 3 = 0 then 'customer.credited' else 'payment.settled' end, now(),
        case when n % 2 = 0 then 'inv_' || n / 2 end, case when n % 3 = 0
            then '{"object":"credit","customer_id":"cus_' || lpad((n % 1000)::text, 29, '0') || '"}'
            else '{"object":"payment","id":"pay_' || lpad((n / 2)::text, 29, '0') || '"}' end
    from generate_series(1, 2 * $1) n;
insert into deliveries (id, event_id, store_id, webhook_id, url, lane, state, created_at, position)
    select 'dlv_' || lpad(n::text, 10, '0') || lpad('', 19, 'a'), 'evt_' || lpad(n::text, 10, '0') || lpad('', 19, '0'),
        'sto_a', 'whk_' || lpad((n % 4)::text, 29, '0'), 'https://a.example', 'a', 'delivered', now(), n
    from generate_series(1, $1) n;
"""
SEARCHES = {  # with the places of what is found at most, of networks, scripts, and what else there is
    "invoices": (invoices._SEARCH, ("{networks}", "{names}", "{scripts}", "100")),
    "payments": (payments._SEARCH, ("{networks}", "{names}", "{scripts}", "100", "1000")),
    "customers": (customers._SEARCH, ("{networks}", "{names}", "{scripts}", "100", "'\U0010ffff'")),
}
TYPES = "text, text, text, text[], text[], text[], bytea[], bigint, "
TEXTS = (
    "inv_77",
    "order-77",
    "pay_77",
    "cus_77",
    "lnk_1",
    "lnk_2",
    f"{77:064}",
    f"{'0' * 60}7771",
    "nothing",
    "rent-77",
    "A7",
)


@pytest.fixture
async def grown(database: Database) -> Database:
    async with database.pool.acquire() as connection:
        await connection.execute("set session_replication_role = replica")  # what is pointed at need not be there
        await connection.execute(_ROWS.replace("$1", str(ROWS)))
        await connection.execute("set session_replication_role = default")
        await connection.execute("vacuum analyze")
    return database


def nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


async def read(database: Database, kind: str, query: str, types: str, given: str) -> list[tuple[str, str, float]]:
    """Return each scan of a table: its kind, the index or table, and how many rows it read."""
    async with database.transaction() as tx:
        await tx.execute(f"set local plan_cache_mode = {kind}")
        await tx.execute(f"prepare sought ({types}) as {query}")
        [row] = await tx.fetch(f"explain (analyze, timing off, format json) execute sought ({given})")
        await tx.execute("deallocate sought")
    [explained] = json.loads(row["QUERY PLAN"])
    if os.environ.get("SHOW"):
        print(kind, given, explained["Execution Time"], explained["Planning Time"])
    return [
        (
            each["Node Type"],
            each.get("Index Name") or each["Relation Name"],
            (each["Actual Rows"] + each.get("Rows Removed by Filter", 0)) * each["Actual Loops"],
        )
        for each in nodes(explained["Plan"])
        if "Relation Name" in each or "Index Name" in each
    ]


@pytest.mark.parametrize("kind", ["force_custom_plan", "force_generic_plan"])
async def test_a_search_reads_what_it_finds_and_not_the_store(grown: Database, kind: str) -> None:
    for name, (query, more) in SEARCHES.items():
        types = TYPES + {"invoices": "", "payments": "bigint, ", "customers": "text, "}[name]
        for text in TEXTS:
            txids = f"'{{{text},0x{text}}}'" if len(text) == 64 else f"'{{{text}}}'"
            rest = ", ".join(more).format(
                networks="'{bitcoin,anvil}'", names="'{bitcoin,anvil}'",
                scripts=r"array['\x" + f"{'0' * 42}4d" + r"', '\x00']::bytea[]",
            )  # fmt: skip
            given = f"'sto_a', '{text}', '{text}', {txids}, {rest}"
            scans = await read(grown, kind, query, types.rstrip(", "), given)
            if os.environ.get("SHOW"):
                print(name, text, *scans, sep="\n    ")
            assert len(scans) >= 7
            assert [each for each in scans if each[0] == "Seq Scan"] == [], (name, text)
            most = 1_100 if text == "lnk_1" else 210
            assert [each for each in scans if each[2] > most] == [], (name, text)


@pytest.mark.parametrize("kind", ["force_custom_plan", "force_generic_plan"])
async def test_a_search_for_links_reads_what_it_finds_and_not_the_store(grown: Database, kind: str) -> None:
    for text in ("lnk_77", "rent-77", "nothing"):
        found = "'{" + ",".join(f"inv_{n}" for n in range(100)) + "}'"
        given = f"'sto_a', '{text}', '{text}', {found}, 100"
        scans = await read(grown, kind, links._SEARCH, "text, text, text, text[], bigint", given)
        if os.environ.get("SHOW"):
            print(text, *scans, sep="\n    ")
        assert [each for each in scans if each[0] == "Seq Scan" or each[2] > 110] == [], text


@pytest.mark.parametrize("kind", ["force_custom_plan", "force_generic_plan"])
async def test_a_search_for_events_and_deliveries_reads_what_it_finds_and_not_the_store(
    grown: Database, kind: str
) -> None:
    event, delivery = f"evt_{'77':0>10}{'':0>19}", f"dlv_{'77':0>10}{'':a>19}"
    found = [f"evt_{n:0>10}{'':0>19}" for n in range(100)]
    more = {
        "events": (events._SEARCH, "array['{}', 'inv_77', 'inv_78'], array['{}', 'pay_" + f"{99:029}" + "']"),
        "deliveries": (deliveries._SEARCH, "array['{}', " + ", ".join(f"'{one}'" for one in found) + "]"),
    }
    for name, (query, rest) in more.items():
        for text in (event, delivery, f"evt_{77:029}", f"cus_{77:029}", f"whk_{1:029}", "inv_77", "pay_77", "nothing"):
            types = "text, text, bigint, text[]" + (", text[]" if name == "events" else "")
            scans = await read(grown, kind, query, types, f"'sto_a', '{text}', 100, {rest.format(text, text)}")
            if os.environ.get("SHOW"):
                print(name, text, *scans, sep="\n    ")
            assert [each for each in scans if each[0] == "Seq Scan" or each[2] > 110] == [], (name, text)
