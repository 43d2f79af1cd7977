"""What a claim reads of a long queue, whatever PostgreSQL knows of it: nothing, as after a restore, or odd things."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kassa.db.pool import Database
from kassa.webhooks import queue_store as queue
from tests.tools.sending import open_shop

WAITING, ROOM = 20_000, 10
_EVENTS = """
insert into events overriding system value select (json_populate_record(null::events, json_build_object(
    'id', 'evt_' || n, 'store_id', $1::text, 'type', 'invoice.updated', 'sequence', n, 'created_at', now(),
    'invoice_id', 'inv_' || n % $2::int, 'object', '{}', 'position', n, 'correlation', 'c'))).*
from generate_series(1, $3::int) n
"""
_DELIVERIES = """
insert into deliveries (id, event_id, store_id, webhook_id, url, state, created_at, due_at, lane, invoice_id, position)
select 'dlv_' || n, 'evt_' || n, $1, $2, 'https://shop.example/hook', 'due', now(), now() - interval '1 hour', $3,
    'inv_' || n % $4::int, n from generate_series(1, $5::int) n
"""


def scans(plan: Any) -> Iterator[Any]:
    if plan.get("Relation Name") == "deliveries" or "deliveries" in plan.get("Index Name", ""):
        yield plan
    for each in plan.get("Plans", ()):
        yield from scans(each)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("invoices", [1, 20, 5_000])
@pytest.mark.parametrize("kind", ["force_custom_plan", "force_generic_plan"])
async def test_a_claim_reads_what_it_takes_and_not_the_queue(
    database: Database, tmp_path: Path, known: bool, invoices: int, kind: str
) -> None:
    shop = await open_shop(database, tmp_path)
    endpoint = await shop.endpoint("https://shop.example/hook")
    async with database.transaction() as tx:
        await tx.execute("alter table deliveries set (autovacuum_enabled = false)")
        await tx.execute(_EVENTS, shop.store_id, invoices, WAITING)
        await tx.execute(_DELIVERIES, shop.store_id, endpoint.id, f"{shop.store_id}/{endpoint.id}", invoices, WAITING)
    if known:
        await database.pool.execute("analyze deliveries")
    async with database.transaction() as tx:
        await tx.execute(f"set local plan_cache_mode = {kind}")
        await tx.execute(f"prepare claim (text[], int[], timestamptz, timestamptz, int) as {queue._CLAIM}")
        now = shop.clock.now()
        lane, until = f"{shop.store_id}/{endpoint.id}", now + timedelta(minutes=10)
        asked = f"'{{{lane}}}', '{{{ROOM}}}', '{now}', '{until}', {queue.TRAIN}"
        [row] = await tx.fetch(f"explain (analyze, timing off, format json) execute claim ({asked})")
        await tx.execute("deallocate claim")

    [explained] = json.loads(row["QUERY PLAN"])
    read = [
        (each["Node Type"], (each["Actual Rows"] + each.get("Rows Removed by Filter", 0)) * each["Actual Loops"])
        for each in scans(explained["Plan"])
    ]
    assert len(read) > 5
    assert [each for each in read if each[1] > 2 * ROOM * queue.TRAIN] == []
