"""The outbox on a real PostgreSQL."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from kassa.core.errors import Invalid
from kassa.core.ids import EventId, InvoiceId, StoreId
from kassa.db.pool import Database
from kassa.events import store
from kassa.events.model import NewEvent
from kassa.events.resource import event_resource

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


async def add_store(database: Database, name: str = "a") -> StoreId:
    await database.pool.execute(
        "insert into stores (id, name, currency, livemode, webhook_secret, created_at)"
        " values ($1, $1, 'EUR', false, 'whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0', $2)",
        f"sto_{name}",
        NOW,
    )
    return StoreId(f"sto_{name}")


async def add_endpoint(database: Database, store_id: StoreId, name: str, events: Sequence[str]) -> None:
    await database.pool.execute(
        "insert into webhooks (id, store_id, url, events, secret, created_at)"
        " values ($1, $2, 'https://shop.example/hook', $3, 'whsec_x', $4)",
        name,
        store_id,
        list(events),
        NOW,
    )


async def write(database: Database, *events: NewEvent) -> None:
    async with database.transaction() as tx:
        await store.write(tx, events, NOW)


async def read(
    database: Database, store_id: StoreId, after: EventId | None = None, kind: str | None = None, limit: int = 1000
) -> list[Any]:
    async with database.transaction() as tx:
        await store.number(tx, store_id)
        return [json.loads(e.object)["n"] for e in await store.list_after(tx, store_id, after, kind, limit)]


def event(store_id: StoreId, n: object, kind: str = "invoice.updated", **more: str) -> NewEvent:
    invoice = more.get("invoice")
    return NewEvent(store_id, kind, {"n": n}, InvoiceId(invoice) if invoice else None, more.get("url"))


async def receivers(database: Database) -> set[tuple[str, str | None]]:
    rows = await database.pool.fetch(
        "select e.type, coalesce(d.webhook_id, d.url) as receiver from deliveries d join events e on e.id = d.event_id"
    )
    return {(row["type"], row["receiver"]) for row in rows}


async def test_events_are_listed_in_the_order_of_writing(database: Database) -> None:
    shop = await add_store(database)
    await write(database, *[event(shop, n) for n in range(50)])
    await write(database, *[event(shop, n) for n in range(50, 100)])
    assert await read(database, shop) == list(range(100))


async def test_pages_join_without_gap_or_repeat(database: Database) -> None:
    shop = await add_store(database)
    await write(database, *[event(shop, n) for n in range(10)])
    seen: list[int] = []
    after: EventId | None = None
    async with database.transaction() as tx:
        await store.number(tx, shop)
        while page := await store.list_after(tx, shop, after, None, 3):
            seen += [found.sequence for found in page]
            after = page[-1].id
    assert seen == list(range(1, 11))


async def test_an_unknown_or_foreign_after_is_refused(database: Database) -> None:
    shop, other = await add_store(database), await add_store(database, "b")
    await write(database, event(other, 1))
    async with database.transaction() as tx:
        await store.number(tx)
        [foreign] = await store.list_after(tx, other, None, None, 10)
        for after in (foreign.id, EventId("evt_none")):
            with pytest.raises(Invalid, match="after"):
                await store.list_after(tx, shop, after, None, 10)


async def test_a_list_can_be_narrowed_to_a_type_or_a_family(database: Database) -> None:
    shop = await add_store(database)
    kinds = ["invoice.created", "payment.detected", "invoice.settled"]
    await write(database, *[event(shop, kind, kind) for kind in kinds])
    assert await read(database, shop, kind="invoice.settled") == ["invoice.settled"]
    assert await read(database, shop, kind="invoice.*") == ["invoice.created", "invoice.settled"]


async def test_each_endpoint_gets_what_its_filter_takes(database: Database) -> None:
    shop, other = await add_store(database), await add_store(database, "b")
    await add_endpoint(database, shop, "all", ["*"])
    await add_endpoint(database, shop, "exact", ["invoice.settled"])
    await add_endpoint(database, shop, "family", ["payment.*"])
    await add_endpoint(database, shop, "disabled", ["*"])
    await add_endpoint(database, shop, "deleted", ["*"])
    await add_endpoint(database, other, "foreign", ["*"])
    await database.pool.execute("update webhooks set disabled_at = now() where id = 'disabled'")
    await database.pool.execute("update webhooks set deleted_at = now() where id = 'deleted'")
    own = "https://shop.example/own?order=1"
    await write(database, event(shop, 1, "invoice.settled", url=own), event(shop, 2, "payment.detected"))
    assert await receivers(database) == {
        ("invoice.settled", "all"),
        ("invoice.settled", "exact"),
        ("invoice.settled", own),
        ("payment.detected", "all"),
        ("payment.detected", "family"),
    }


async def test_a_rolled_back_event_leaves_no_gap(database: Database) -> None:
    shop = await add_store(database)
    await write(database, event(shop, 1))
    async with database.pool.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        await store.write(connection, [event(shop, 2)], NOW)
        await undone.rollback()
    await write(database, event(shop, 3))
    assert await read(database, shop) == [1, 3]
    assert await database.pool.fetchval("select max(sequence) from events") == 2


async def test_many_writers_and_numberers_leave_a_gapless_order_per_invoice(database: Database) -> None:
    shops = [await add_store(database, name) for name in "abc"]
    for name in range(12):
        await database.pool.execute(
            "insert into invoices (id, store_id, amount_units, currency, tolerance_ppm, created_at, expires_at, status)"
            " values ($1, $2, 1, 'EUR', 0, $3, $3, 'new')",
            f"inv_{name}",
            shops[name % 3],
            NOW,
        )

    async def writer(name: int, times: range) -> None:
        for n in times:
            async with database.transaction() as tx:
                await tx.execute("select from invoices where id = $1 for update", f"inv_{name}")
                before = await tx.fetchval("select count(*) from events where invoice_id = $1", f"inv_{name}")
                await store.write(tx, [event(shops[name % 3], before, invoice=f"inv_{name}")], NOW)
            if n % 3 == 0:
                async with database.transaction() as tx:
                    await store.number(tx, shops[name % 3] if n % 2 else None)

    async with asyncio.TaskGroup() as group:
        for name in range(12):
            group.create_task(writer(name, range(10)))
            group.create_task(writer(name, range(10)))
    async with database.transaction() as tx:
        await store.number(tx)
    for shop in shops:
        rows = await database.pool.fetch(
            "select sequence, invoice_id, object from events where store_id = $1 order by sequence", shop
        )
        assert [row["sequence"] for row in rows] == list(range(1, 81))
        for invoice in {row["invoice_id"] for row in rows}:
            mine = [json.loads(row["object"])["n"] for row in rows if row["invoice_id"] == invoice]
            assert mine == list(range(20))


async def test_writers_of_one_store_do_not_wait_for_each_other(database: Database) -> None:
    shop = await add_store(database)
    async with database.transaction() as first, database.transaction() as second:
        await store.write(first, [event(shop, 1)], NOW)
        await asyncio.wait_for(store.write(second, [event(shop, 2)], NOW), 20)


async def test_a_committed_event_wakes_the_listeners(database: Database) -> None:
    shop = await add_store(database)
    woken = asyncio.Event()
    async with database.pool.acquire() as listening:
        await listening.add_listener(store.CHANNEL, lambda *_: woken.set())
        await write(database, event(shop, 1))
        await asyncio.wait_for(woken.wait(), 20)
        await listening.reset()


async def test_the_resource_carries_the_stored_object_unchanged(database: Database) -> None:
    shop = await add_store(database)
    odd = {"b": "49.90", "a": ["é", "<&>", None, 10**30], "n": 1}
    await write(database, NewEvent(shop, "invoice.created", odd))
    async with database.transaction() as tx:
        await store.number(tx)
        [found] = await store.list_after(tx, shop, None, None, 1)
    shown = json.loads(event_resource(found, livemode=False))
    assert shown.pop("data") == {"object": odd}
    assert shown == {
        "object": "event",
        "id": found.id,
        "type": "invoice.created",
        "sequence": 1,
        "created_at": "2026-05-04T12:00:00.000Z",
        "livemode": False,
    }
