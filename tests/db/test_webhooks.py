"""Endpoints, the queue and its log, on a real PostgreSQL with a real receiver."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from kassa.core.errors import Conflict, NotFound
from kassa.core.ids import StoreId, WebhookId
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.events import store as events
from kassa.stores import store as stores
from kassa.webhooks import store
from kassa.webhooks.model import Change, Endpoint, State
from kassa.webhooks.resource import delivery_resource
from kassa.webhooks.rules import make_secret
from tests.tools.sending import SECRET, Shop, open_shop, until
from tests.tools.sink import Sink, status


@pytest.fixture
async def shop(database: Database, tmp_path: Path) -> Shop:
    return await open_shop(database, tmp_path)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as opened:
        yield opened


async def test_an_event_arrives_signed_as_the_specification_says(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url + "/hook")
    async with shop.sending():
        await shop.write(shop.event(7))
        await sink.until(lambda: len(sink.got) == 1)
    [got] = sink.got
    event = Webhook(SECRET).verify(got.body, got.headers)
    assert event["type"] == "invoice.updated"
    assert event["sequence"] == 1
    assert event["data"]["object"] == {"object": "invoice", "id": "inv_0", "n": 7}
    assert got.headers["webhook-id"] == event["id"]
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("Kassa/")


async def test_an_event_is_sent_when_it_is_told_of_not_at_the_next_look(
    shop: Shop, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.workers.send_webhooks._PAUSES", (0.005, 250))
    listens = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and query like 'LISTEN%' and state = 'idle'"
    )
    await shop.endpoint(sink.url)
    async with shop.sending():
        await until(lambda: shop.database.pool.fetchval(listens))
        for n in range(5):
            await shop.write(shop.event(n, n))  # of another invoice: it waits for none of those before it
            await sink.until(lambda n=n: len(sink.got) > n)  # type: ignore[misc]


async def test_an_invoices_own_url_is_signed_with_the_secret_of_the_store(shop: Shop, sink: Sink) -> None:
    secret = await shop.database.pool.fetchval("select webhook_secret from stores")
    async with shop.sending():
        await shop.write(shop.event(1, url=sink.url + "/own?order=1"))
        await shop.until_states(delivered=1)
    [got] = sink.got
    assert got.path == "/own?order=1"
    Webhook(secret).verify(got.body, got.headers)


async def test_during_a_rotation_both_secrets_verify_and_afterwards_one(shop: Shop, sink: Sink) -> None:
    new = make_secret(bytes(32))
    hook = await shop.endpoint(sink.url)
    async with shop.database.transaction() as tx:
        await store.update_endpoint(tx, shop.store_id, hook.id, Change(secret=Secret(new)), shop.clock.now())
    async with shop.sending():
        await shop.write(shop.event(1))
        await shop.until_states(delivered=1)
        shop.clock.ahead = timedelta(hours=24, minutes=1)
        await shop.write(shop.event(2))
        await shop.until_states(delivered=2)
    during, after = sink.got
    for secret in (SECRET, new):
        Webhook(secret).verify(during.body, during.headers)
    assert len(after.headers["webhook-signature"].split(" ")) == 1
    late = after.headers | {"webhook-timestamp": during.headers["webhook-timestamp"]}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(after.body, late)


async def test_the_secret_of_the_store_rotates_like_that_of_an_endpoint(shop: Shop, sink: Sink) -> None:
    old, new = await shop.database.pool.fetchval("select webhook_secret from stores"), make_secret(bytes(32))
    async with shop.database.transaction() as tx:
        await stores.rotate_webhook_secret(tx, shop.store_id, Secret(new), shop.clock.now() + timedelta(hours=24))
    async with shop.sending():
        await shop.write(shop.event(1, url=sink.url))
        await shop.until_states(delivered=1)
        shop.clock.ahead = timedelta(hours=24, minutes=1)
        await shop.write(shop.event(2, url=sink.url))
        await shop.until_states(delivered=2)
    during, after = sink.got
    for secret in (old, new):
        Webhook(secret).verify(during.body, during.headers)
    late = after.headers | {"webhook-timestamp": during.headers["webhook-timestamp"]}
    assert len(after.headers["webhook-signature"].split(" ")) == 1
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(after.body, late)


async def test_what_was_sent_to_an_invoices_own_url_can_be_read(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url + "/all")
    async with shop.sending():
        await shop.write(shop.event(1, 1, url=sink.url + "/own"), shop.event(2, 2))
        await shop.until_states(delivered=3)
    async with shop.database.transaction() as tx:
        found = await store.list_of_invoice(tx, shop.store_id, "inv_1", None, 10)
        assert await store.list_of_invoice(tx, StoreId("sto_other"), "inv_1", None, 10) == []
    assert sorted((each.url, each.webhook_id is None) for each in found) == [
        (sink.url + "/all", False),
        (sink.url + "/own", True),
    ]
    assert [attempt.answer.status_code for each in found for attempt in each.attempts] == [200, 200]


async def test_a_rotation_that_is_asked_for_twice_keeps_the_old_secret(shop: Shop, sink: Sink) -> None:
    new = make_secret(bytes(32))
    hook = await shop.endpoint(sink.url)
    for _ in range(2):
        async with shop.database.transaction() as tx:
            await store.update_endpoint(tx, shop.store_id, hook.id, Change(secret=Secret(new)), shop.clock.now())
    async with shop.sending():
        await shop.write(shop.event(1))
        await shop.until_states(delivered=1)
    [got] = sink.got
    for secret in (SECRET, new):
        Webhook(secret).verify(got.body, got.headers)


async def test_the_events_of_an_invoice_arrive_in_order(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url)
    async with shop.sending():
        await shop.events(400, invoices=20)
        await shop.until_states(delivered=400)
    for invoice in range(20):
        mine = [e["data"]["object"]["n"] for e in sink.bodies() if e["data"]["object"]["id"] == f"inv_{invoice}"]
        assert mine == sorted(mine)
        assert len(mine) == 20


async def test_a_clock_that_is_ahead_keeps_the_order_of_an_invoice(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url)
    shop.clock.ahead = timedelta(seconds=1)
    await shop.write(shop.event(1), shop.event(2))  # as a process does whose machine's clock is ahead
    shop.clock.ahead = timedelta()
    await shop.write(shop.event(3))
    async with shop.sending():
        await shop.until_states(delivered=3)
    assert [e["sequence"] for e in sink.bodies()] == [1, 2, 3]


async def test_a_stumble_keeps_the_order_of_an_invoice(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url)
    sink.default = status(500)
    async with shop.sending():
        await shop.events(3, invoices=1)
        await shop.attempted(1)
        assert [e["sequence"] for e in sink.bodies()] == [1]
        sink.default = status(200)
        await shop.due_now()
        await shop.until_states(delivered=3)
    assert [e["sequence"] for e in sink.bodies()] == [1, 1, 2, 3]


async def test_an_event_that_is_never_taken_does_not_hide_the_later_ones(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url)
    sink.default = status(500)
    async with shop.sending():
        await shop.events(2, invoices=1)
        for tries in range(1, 5):
            await shop.attempted(tries)
            await shop.due_now()
        await sink.until(lambda: 2 in [e["sequence"] for e in sink.bodies()])
    assert [e["sequence"] for e in sink.bodies()][:6] == [1, 1, 1, 1, 1, 2]


async def test_the_log_shows_each_attempt_and_the_next_one(shop: Shop, sink: Sink) -> None:
    hook = await shop.endpoint(sink.url)
    sink.default = status(503, body=b"over\x1b[31mload\x00ed \xff" + b"y" * 5000)
    async with shop.sending():
        await shop.write(shop.event(1))
        await shop.attempted(1)
    async with shop.database.transaction() as tx:
        [delivery] = await store.list_deliveries(tx, shop.store_id, hook.id, None, 10)
    shown = delivery_resource(delivery)
    [attempt] = shown["attempts"]
    assert shown["state"] == "due"
    assert shown["next_attempt_at"] > shown["created_at"]
    assert (attempt["number"], attempt["status_code"], attempt["error"]) == (1, 503, "HTTP 503")
    assert attempt["response"].startswith("over·[31mload·ed ")
    assert len(attempt["response"].encode()) <= 1024


async def test_a_410_disables_the_endpoint_and_puts_the_rest_aside(shop: Shop, sink: Sink) -> None:
    hook = await shop.endpoint(sink.url)
    sink.default = status(410)
    async with shop.sending():
        await shop.events(3, invoices=1)
        await shop.until_states(failed=1, due=2)
        await until(lambda: _disabled(shop, hook.id))
        assert (await _endpoint(shop, hook.id)).disabled_reason == "it answered 410 Gone"
        async with shop.database.transaction() as tx:
            await events.number(tx)
            assert (await events.list_after(tx, shop.store_id, None, "alert.*", 10)) != []
        sink.default = status(200)
        async with shop.database.transaction() as tx:
            await store.update_endpoint(tx, shop.store_id, hook.id, Change(disabled=False), shop.clock.now())
        await shop.until_states(failed=1, delivered=3)
    # The opening of the alert, 4, came while it was disabled. Its closing, 5, is of no invoice and may overtake.
    sent = [e["sequence"] for e in sink.bodies()]
    assert sorted(sent) == [1, 2, 3, 5]
    assert [sequence for sequence in sent if sequence != 5] == [1, 2, 3]


async def test_a_receiver_that_takes_nothing_for_72_hours_is_disabled(shop: Shop, sink: Sink) -> None:
    hook = await shop.endpoint(sink.url)
    sink.default = status(500)
    await shop.write(shop.event(1))
    shop.clock.ahead = timedelta(hours=73)
    async with shop.sending():
        await shop.until_states(failed=1)
        await until(lambda: _disabled(shop, hook.id))
    assert (await _endpoint(shop, hook.id)).disabled_reason == "it took nothing for 72 hours"


async def test_an_old_delivery_that_is_sent_again_in_vain_disables_nothing(shop: Shop, sink: Sink) -> None:
    hook = await shop.endpoint(sink.url)
    async with shop.sending():
        await shop.write(shop.event(1))
        await shop.until_states(delivered=1)
        shop.clock.ahead = timedelta(days=5)
        sink.default = status(503)
        delivery = await shop.database.pool.fetchval("select id from deliveries")
        await shop.database.run(lambda tx: store.retry_delivery(tx, shop.store_id, delivery, shop.clock.now()))
        await shop.until_states(failed=1)
    assert not await _disabled(shop, hook.id)


async def test_a_disabled_endpoint_gets_nothing_until_it_is_enabled(shop: Shop, sink: Sink) -> None:
    hook = await shop.endpoint(sink.url)
    await shop.events(2)
    async with shop.database.transaction() as tx:
        await store.update_endpoint(tx, shop.store_id, hook.id, Change(disabled=True), shop.clock.now())
    await shop.endpoint(sink.url + "/other")
    async with shop.sending():
        await shop.write(shop.event(9, 9))
        await shop.until_states(due=2, delivered=1)
        assert {got.path for got in sink.got} == {"/other"}
        async with shop.database.transaction() as tx:
            await store.update_endpoint(tx, shop.store_id, hook.id, Change(disabled=False), shop.clock.now())
        await shop.until_states(delivered=3)


async def test_a_deleted_endpoint_gets_nothing_and_keeps_its_log(shop: Shop, sink: Sink) -> None:
    hook = await shop.endpoint(sink.url)
    await shop.events(2)
    async with shop.database.transaction() as tx:
        await store.delete_endpoint(tx, shop.store_id, hook.id, shop.clock.now())
        with pytest.raises(NotFound):
            await store.get_endpoint(tx, shop.store_id, hook.id)
    await shop.endpoint(sink.url + "/other")
    async with shop.sending():
        await shop.write(shop.event(9, 9))
        await shop.until_states(failed=2, delivered=1)
    assert {got.path for got in sink.got} == {"/other"}


async def test_a_delivery_can_be_sent_again(shop: Shop, sink: Sink) -> None:
    hook = await shop.endpoint(sink.url)
    async with shop.sending():
        await shop.write(shop.event(1))
        await shop.until_states(delivered=1)
        async with shop.database.transaction() as tx:
            [delivery] = await store.list_deliveries(tx, shop.store_id, hook.id, None, 10)
            again = await store.retry_delivery(tx, shop.store_id, delivery.id, shop.clock.now())
        assert again.state is State.DUE
        await sink.until(lambda: len(sink.got) == 2)
        await shop.until_states(delivered=1)
    assert sink.got[0].headers["webhook-id"] == sink.got[1].headers["webhook-id"]
    assert [a["number"] for a in await shop.attempts()] == [1, 2]


async def test_a_test_event_goes_to_one_endpoint_whatever_its_filter(shop: Shop, sink: Sink) -> None:
    hook = await shop.endpoint(sink.url + "/asked", "invoice.settled")
    await shop.endpoint(sink.url + "/other")
    async with shop.sending():
        async with shop.database.transaction() as tx:
            made = await store.write_test_event(tx, shop.store_id, hook.id, shop.clock.now())
        await shop.until_states(delivered=1)
    assert [(got.path, got.event["type"]) for got in sink.got] == [("/asked", "webhook.test")]
    async with shop.database.transaction() as tx:
        assert (await store.get_delivery(tx, shop.store_id, made)).state is State.DELIVERED
        await store.update_endpoint(tx, shop.store_id, hook.id, Change(disabled=True), shop.clock.now())
        with pytest.raises(Conflict):
            await store.write_test_event(tx, shop.store_id, hook.id, shop.clock.now())


async def test_a_test_event_is_told_apart_from_what_is_committed_beside_it(shop: Shop, sink: Sink) -> None:
    hook = await shop.endpoint(sink.url)
    await shop.write(shop.event(1))
    # Stands for one that another transaction committed in between.
    await shop.database.pool.execute("update deliveries set position = position + 1000")
    async with shop.database.transaction() as tx:
        made = await store.write_test_event(tx, shop.store_id, hook.id, shop.clock.now())
        assert (await store.get_delivery(tx, shop.store_id, made)).event_type == "webhook.test"


async def test_a_foreign_endpoint_or_delivery_is_not_found(shop: Shop, sink: Sink) -> None:
    hook = await shop.endpoint(sink.url)
    await shop.write(shop.event(1))
    other = StoreId("sto_other")
    async with shop.database.transaction() as tx:
        [delivery] = await store.list_deliveries(tx, shop.store_id, hook.id, None, 10)
        for asked in (
            store.get_endpoint(tx, other, hook.id),
            store.update_endpoint(tx, other, hook.id, Change(disabled=True), shop.clock.now()),
            store.delete_endpoint(tx, other, hook.id, shop.clock.now()),
            store.list_deliveries(tx, other, hook.id, None, 10),
            store.get_delivery(tx, other, delivery.id),
            store.retry_delivery(tx, other, delivery.id, shop.clock.now()),
            store.write_test_event(tx, other, hook.id, shop.clock.now()),
        ):
            with pytest.raises(NotFound):
                await asked


async def test_e11_what_one_store_does_to_its_endpoint_moves_none_of_anothers(shop: Shop) -> None:
    now, pool = shop.clock.now(), shop.database.pool
    hooks = [await shop.endpoint(f"https://shop.example/{n}") for n in range(2)]
    async with shop.database.transaction() as tx:
        other = await stores.create_store(tx, "Other", "EUR", False, now)
        hooks.append(await store.create_endpoint(tx, other.id, "https://other.example", ("*",), Secret(SECRET), now))
        theirs = replace(shop.event(1), store_id=other.id)
        await events.write(tx, [shop.event(1), theirs], now)

    async def moved(change: Change | None) -> list[bool]:
        """Return of which endpoints the delivery is another one than before."""
        asked = "select webhook_id, d::text as text from deliveries d"
        before = {row["webhook_id"]: row["text"] for row in await pool.fetch(asked)}
        async with shop.database.transaction() as tx:
            if change is None:
                await store.delete_endpoint(tx, shop.store_id, hooks[0].id, now)
            else:
                await store.update_endpoint(tx, shop.store_id, hooks[0].id, change, now)
        after = {row["webhook_id"]: row["text"] for row in await pool.fetch(asked)}
        return [before[hook.id] != after[hook.id] for hook in hooks]

    assert await moved(Change(disabled=True)) == [True, False, False]
    await pool.execute("update deliveries set due_at = null")
    assert await moved(Change(disabled=False)) == [True, False, False]
    assert await moved(None) == [True, False, False]


async def test_e11_the_endpoints_of_others_take_no_room(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_ENDPOINTS", 2)
    for _ in range(2):
        hook = await shop.endpoint("https://shop.example")
    with pytest.raises(Conflict, match="the most there can be"):
        await shop.endpoint("https://shop.example")
    async with shop.database.transaction() as tx:
        other = await stores.create_store(tx, "Other", "EUR", False, shop.clock.now())
        await store.create_endpoint(tx, other.id, "https://other.example", ("*",), Secret(SECRET), shop.clock.now())
        await store.delete_endpoint(tx, shop.store_id, hook.id, shop.clock.now())
    await shop.endpoint("https://shop.example")


async def test_deliveries_are_listed_newest_first_in_pages(shop: Shop, sink: Sink) -> None:
    hook = await shop.endpoint(sink.url)
    for n in range(5):
        shop.clock.ahead = timedelta(seconds=n)  # ids sort by the millisecond
        await shop.write(shop.event(n))
    seen = []
    before = None
    async with shop.database.transaction() as tx:
        while page := await store.list_deliveries(tx, shop.store_id, hook.id, before, 2):
            seen += [delivery.created_at for delivery in page]
            before = page[-1].id
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5


async def test_two_senders_share_the_work_and_send_nothing_twice(shop: Shop, sink: Sink) -> None:
    for name in range(5):
        await shop.endpoint(f"{sink.url}/{name}")
    await shop.events(200, invoices=50)
    async with shop.sending(), shop.sending():
        await shop.until_states(delivered=1000)
    assert len({(got.path, got.headers["webhook-id"]) for got in sink.got}) == len(sink.got) == 1000


async def test_hundreds_of_lanes_are_all_served(shop: Shop, sink: Sink) -> None:
    async with shop.database.transaction() as tx:
        others = [await stores.create_store(tx, f"{n}", "EUR", False, shop.clock.now()) for n in range(500)]
    await shop.write(*[replace(shop.event(n, n, sink.url), store_id=other.id) for n, other in enumerate(others)])
    later = "update deliveries set due_at = due_at + interval '1 hour', attempts = 6 where position <= 300"
    await shop.database.pool.execute(later)
    async with shop.sending():
        await shop.until_states(due=300, delivered=200)
    assert (
        await shop.database.pool.fetchval("select count(distinct lane) from deliveries where state = 'delivered'")
        == 200
    )


async def _disabled(shop: Shop, webhook_id: WebhookId) -> bool:
    return (await _endpoint(shop, webhook_id)).disabled_at is not None


async def _endpoint(shop: Shop, webhook_id: WebhookId) -> Endpoint:
    async with shop.database.transaction() as tx:
        return await store.get_endpoint(tx, shop.store_id, webhook_id)
