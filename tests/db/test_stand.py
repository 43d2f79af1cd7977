"""What a scrape reads from the database: every one of these gauges follows what it is about."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import Metric

import kassa.alerts.store as alerts
import kassa.webhooks.store as webhooks
from kassa.alerts.model import Finding, Kind, Severity
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.metrics.stand import Stand
from tests.house import BITCOIN
from tests.sim.world import World, new_world

HERE = frozenset({("network", BITCOIN)})


async def shown(world: World) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    stand = Stand(world.house, ("work",))
    await stand.refresh()
    families: list[Metric] = list(stand.collect())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


async def test_a_scrape_says_how_a_network_and_its_node_stand(database: Database, tmp_path: Path) -> None:
    async with new_world(database, tmp_path) as world:
        await database.pool.execute(
            """update networks set height = 90, node_height = 100, state = 'stalled', internal = 'trace',
                   observed_at = now() - interval '50 s', node_time = now() - interval '70 s', final_height = 80,
                   final_at = now() - interval '100 s', contacted_at = now() - interval '20 s', clock_skew_seconds = 7,
                   lease_until = now() + interval '1 min'"""
        )
        found = await shown(world)
        lone = {name: value for (name, labels), value in found.items() if labels == HERE and "_network_" in name}
        assert lone == {
            "kassa_network_height_blocks": 90,
            "kassa_network_node_height_blocks": 100,
            "kassa_network_lag_blocks": 10,
            "kassa_network_lag_seconds": pytest.approx(50, abs=10),
            "kassa_network_tip_age_seconds": pytest.approx(70, abs=10),
            "kassa_network_silence_seconds": pytest.approx(20, abs=10),
            "kassa_network_final_height_blocks": 80,
            "kassa_network_final_age_seconds": 30,
            "kassa_network_node_clock_skew_seconds": 7,
            "kassa_network_followed": 1,
            "kassa_network_undone_blocks": 0,
        }
        states = {dict(labels)["state"]: v for (name, labels), v in found.items() if name == "kassa_network_state"}
        assert states == {"ok": 0, "syncing": 0, "stalled": 1, "halted": 0, "unreachable": 0}
        ways = {dict(labels)["way"] for (name, labels), v in found.items() if name == "kassa_network_internal" and v}
        assert ways == {"trace"}


async def test_a_scrape_says_what_waits_and_for_how_long(database: Database, tmp_path: Path) -> None:
    async with new_world(database, tmp_path) as world:
        store, pool = world.stores[0], database.pool
        async with database.transaction() as tx:
            secret, now = Secret("whsec_x"), world.clock.now()
            await webhooks.create_endpoint(tx, store.id, "https://shop.example/", ("*",), secret, now)
        fresh, paid = await world.invoice("10.00"), await world.invoice("50.00")
        assert fresh is not None
        assert paid is not None
        world.chain.submit(world.paying(paid))
        await world.step()
        await pool.execute(
            "update invoices set deadline = case id when $1 then now() - interval '40 s' end", fresh["id"]
        )
        await pool.execute("update payments set first_seen_at = now() - interval '30 s'")
        rows = await pool.fetch("select id from deliveries order by id")
        for row, due in zip(rows, ("now() - interval '25 s'", "now() + interval '1 h'", "null"), strict=False):
            await pool.execute(f"update deliveries set due_at = {due} where id = $1", row["id"])
        await pool.execute("delete from deliveries where id <> all($1)", [row["id"] for row in rows[:3]])
        await pool.execute("update events set sequence = null where position = (select max(position) from events)")
        found = await shown(world)

        def of(name: str, **labels: str) -> float:
            return found[name, frozenset(labels.items())]

        assert (of("kassa_invoices_open", status="new"), of("kassa_invoices_open", status="processing")) == (1, 1)
        assert 35 < of("kassa_invoices_overdue_seconds") < 70
        assert of("kassa_payments_waiting", network=BITCOIN, status="detected") == 1
        assert 25 < of("kassa_payments_waiting_oldest_seconds", network=BITCOIN, status="detected") < 60
        assert of("kassa_events_unpublished") == 1
        assert of("kassa_events_unpublished_oldest_seconds") > 0
        assert [of("kassa_deliveries_waiting", state=each) for each in ("due", "later", "held")] == [1, 1, 1]
        assert 20 < of("kassa_deliveries_overdue_seconds") < 60


async def test_a_scrape_says_what_is_wrong(database: Database, tmp_path: Path) -> None:
    async with new_world(database, tmp_path) as world:
        pool, now = database.pool, world.clock.now()
        before = await shown(world)
        async with database.transaction() as tx:
            for kind in (Kind.NODE_CLOCK, Kind.ADDRESS_MISMATCH):
                await alerts.open_alert(tx, Finding(kind, "x", Severity.WARNING, "why"), now)
        await pool.execute(
            """insert into differences (network, asset, booked, found, height, hash, opened_at)
               values ($1, 'BTC@' || $1, 1, 2, 1, 'h', now())""", BITCOIN
        )  # fmt: skip
        await pool.execute("insert into contracts (asset, network, frozen_for) values ('X', $1, 'why')", BITCOIN)
        await pool.execute(
            "insert into reconciliations (network, begun_at, ended_at) values ($1, now(), now() - interval '90 s')",
            BITCOIN,
        )
        await pool.execute("insert into backups values (now() - interval '80 s', 1, '')")
        async with pool.acquire() as idle, idle.transaction():
            await idle.execute("select pg_current_xact_id()")
            await deadlock(database)
            for _ in range(150):  # the server counts when it comes to it
                if (found := await shown(world))["kassa_db_deadlocks_total", frozenset()]:
                    break
                await asyncio.sleep(0.2)
            assert found["kassa_db_deadlocks_total", frozenset()] == 1
            assert found["kassa_db_longest_transaction_seconds", frozenset()] >= 1
            await idle.execute("set application_name = 'pg_dump'")  # a backup is no fault, however long it takes
            found = await shown(world)
            assert found["kassa_db_longest_transaction_seconds", frozenset()] < 1
        assert before["kassa_db_deadlocks_total", frozenset()] == 0
        moved = {name: value for (name, labels), value in found.items() if value != before.get((name, labels))}
        assert moved["kassa_alerts_open"] == 1
        assert (moved["kassa_ledger_differences_open"], moved["kassa_address_faults"]) == (1, 1)
        assert moved["kassa_assets_frozen"] == 1
        assert moved["kassa_reconciliation_age_seconds"] == pytest.approx(105, abs=20)
        assert moved["kassa_backup_age_seconds"] == pytest.approx(95, abs=20)


async def deadlock(database: Database) -> None:
    """Let two transactions wait for each other."""
    both = asyncio.Barrier(2)

    async def hold(first: int, second: int) -> None:
        async with database.pool.acquire() as connection, connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", first)
            await both.wait()
            await connection.execute("select pg_advisory_xact_lock($1)", second)

    ends = await asyncio.gather(hold(1, 2), hold(2, 1), return_exceptions=True)
    assert [type(end) for end in ends if end is not None] == [asyncpg.DeadlockDetectedError]
