"""Claims of several senders at one moment, on a real PostgreSQL."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from kassa.db.pool import Database
from kassa.events import store as events
from kassa.webhooks import queue_store as queue
from kassa.webhooks.model import Answer, Claimed, Delivered, Outcome, Postponed, Result, RetryAt
from tests.tools.sending import Shop, open_shop

ROUNDS = 20


CLAIM = timedelta(minutes=10)


async def _claim(shop: Shop) -> list[tuple[Claimed, ...]]:
    now = shop.clock.now()
    async with shop.database.transaction() as tx:
        room = {lane.name: 30 for lane in await queue.lanes(tx, "", 10)}
        return await queue.claim(tx, room, now, now + CLAIM)


@pytest.fixture
async def shop(database: Database, tmp_path: Path) -> Shop:
    """A shop with an endpoint, to which five events of each of 20 invoices are due."""
    made = await open_shop(database, tmp_path)
    await made.endpoint("https://shop.example/hook")
    await made.events(100, invoices=20)
    await database.run(events.number)
    return made


async def test_nothing_overtakes_a_delivery_that_somebody_holds(shop: Shop) -> None:
    async with shop.database.transaction() as other:
        third = "select id from deliveries where invoice_id = 'inv_7' order by position offset 2 limit 1"
        await other.execute(f"select from deliveries where id = ({third}) for update")
        trains = {train[0].invoice_id: len(train) for train in await _claim(shop)}
    assert trains == {f"inv_{n}": 2 if n == 7 else 5 for n in range(20)}


async def test_two_senders_that_claim_at_once_share_no_invoice(shop: Shop) -> None:
    for _ in range(ROUNDS):
        await shop.due_now(dead=True)
        both = await asyncio.gather(_claim(shop), _claim(shop))
        trains = Counter(train[0].invoice_id for claimed in both for train in claimed)
        assert [invoice for invoice, count in trains.items() if count > 1] == []
        assert trains.total() > 0


@pytest.mark.parametrize("ending", ["put back", "to be tried again", "delivered"])
async def test_who_was_away_for_longer_than_its_claim_leaves_anothers(shop: Shop, ending: str) -> None:
    frozen = [each for train in await _claim(shop) for each in train]
    shop.clock.ahead += CLAIM
    other = [each for train in await _claim(shop) for each in train]
    assert {each.id for each in other} == {each.id for each in frozen}

    now = shop.clock.now()
    answer = Answer(now, 1, 200, None, None)
    outcome: Outcome = Delivered() if ending == "delivered" else RetryAt(now)
    results = [] if ending == "put back" else [Result(each, answer, outcome) for each in frozen]
    postponed = [Postponed(each, now) for each in frozen] if ending == "put back" else []
    await shop.database.run(lambda tx: queue.record(tx, results, postponed, now))

    assert await _claim(shop) == []
    assert await shop.states() == {"delivered" if ending == "delivered" else "due": 100}
    # The one who holds them now still says what came of them.
    await shop.database.run(lambda tx: queue.record(tx, [Result(each, answer, Delivered()) for each in other], [], now))
    assert await shop.states() == {"delivered": 100}
