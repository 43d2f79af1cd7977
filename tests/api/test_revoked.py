"""E9: a key that is revoked while a request of it runs."""

import asyncio

from kassa.stores import store as stores
from kassa.stores.model import SCOPES
from tests.api.served import ORDER, Served, until

_WAITS = "select count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


async def test_e9_a_key_that_is_revoked_while_its_order_runs_gets_nothing_for_it(served: Served) -> None:
    house, pool = served.house, served.house.database.pool
    async with house.database.transaction() as tx:
        key_id, text = await stores.create_key(tx, served.store, house.clock.now(), scopes=SCOPES)
    caller = served.caller(text)
    for _ in range(2):
        await caller.invoice()

    async with house.database.transaction() as tx:
        await tx.execute("lock table invoices in access exclusive mode")
        running = asyncio.create_task(caller.post("/v1/invoices", ORDER))
        await until(lambda: pool.fetchval(_WAITS))
        async with house.database.transaction() as revoking:
            await stores.revoke_key(revoking, key_id, house.clock.now())
        refused = await caller.get("/v1/store")

    answer = await running
    assert (refused.status, answer.status) == (401, 401)
    assert (await caller.post("/v1/invoices", ORDER)).status == 401
    assert await pool.fetchval("select count(*) from invoices") == 2
