"""Payment links against a real PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import asyncpg
import pytest

from kassa.core.errors import NotFound
from kassa.core.ids import InvoiceId, LinkId, new_id
from kassa.core.money import currency
from kassa.db.pool import Database, Tx
from kassa.flow import keep_sums
from kassa.invoices.model import Status as InvoiceStatus
from kassa.links import store as links
from kassa.links.model import Announced, Ask, Chosen, Fixed, Flag, Link, Payer, Status
from kassa.stores import store as stores
from kassa.stores.model import Store

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WEI = 10**40  # far above what 64 bits hold


async def store_in(tx: Tx) -> Store:
    return await stores.create_store(tx, "Shop", "EUR", False, NOW)


async def put(tx: Tx, store: Store, ask: Ask = Fixed(5000), **more: object) -> Link:  # noqa: B008  a frozen value
    made = Link(LinkId(new_id("lnk", NOW)), store.id, "Tea", ask, currency("EUR"), False, NOW)
    made = replace(made, **more)
    await links.put(tx, made)
    return made


async def invoice(tx: Tx, link: Link, status: str = "settled", paid: int = 5000, flags: tuple[str, ...] = ()) -> str:
    id_ = new_id("inv", NOW)
    await tx.execute(
        """insert into invoices (id, store_id, amount_units, currency, tolerance_ppm, created_at, expires_at, status,
               link_id, paid_units, settled_units, flags)
           values ($1, $2, 5000, 'EUR', 0, $3, $4, $5, $6, $7, $7, $8)""",
        id_, link.store_id, NOW, NOW + timedelta(minutes=15), status, link.id, paid, list(flags),
    )  # fmt: skip
    return id_


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"ask": Chosen(1, None), "reusable": True},
        {"ask": Chosen(1, WEI), "asset": "ETH@anvil", "payment_options": ("ETH@anvil",), "currency": currency("ETH")},
        {"description": "d", "reference": "r", "metadata": '{"a":1}', "redirect_url": "https://a.example/",
         "expires_at": NOW, "closed_at": NOW, "show_received": False, "invoice_seconds": 60},
    ],
)  # fmt: skip
async def test_a_link_comes_back_as_it_was_written(database: Database, more: dict[str, object]) -> None:
    async with database.transaction() as tx:
        store = await store_in(tx)
        made = await put(tx, store, **more)
        assert await links.get(tx, made.id, store_id=store.id) == made
        changed = replace(made, title="Coffee", reference="x", closed_at=NOW, expires_at=None)
        await links.change(tx, changed)
        assert await links.get(tx, made.id) == changed
        assert await links.hold(tx, [made.id]) == [(changed, Announced(Status.OPEN, (), 0, 0))]
        other = await store_in(tx)
        with pytest.raises(NotFound):
            await links.get(tx, made.id, store_id=other.id)


async def test_an_invoice_cannot_be_for_a_link_of_another_store(database: Database) -> None:
    async with database.transaction() as tx:
        link = await put(tx, await store_in(tx))
        other = await store_in(tx)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with database.transaction() as tx:
            await invoice(tx, replace(link, store_id=other.id))


async def test_links_are_found_by_what_was_announced_and_by_their_deadline(database: Database) -> None:
    async with database.transaction() as tx:
        store = await store_in(tx)
        first, second = await put(tx, store, expires_at=NOW), await put(tx, store, reference="r")
        await links.announce(tx, second.id, Announced(Status.COMPLETED, (Flag.OVERPAID,), WEI, 1), None)
        assert (
            await links.page(tx, store.id, None, None, None, 9)
            == sorted([first, second], key=lambda link: link.id)[::-1]
        )
        assert await links.page(tx, store.id, "completed", "r", None, 9) == [second]
        assert await links.page(tx, store.id, "open", "r", None, 9) == []
        assert (await links.hold(tx, [second.id]))[0][1] == Announced(Status.COMPLETED, (Flag.OVERPAID,), WEI, 1)
        assert await links.due(tx, NOW, 9) == []
        assert await links.due(tx, NOW + timedelta(seconds=1), 9) == [first.id]


async def test_invoices_are_summed_alike_for_one_payment_and_whole_for_many(database: Database) -> None:
    async with database.transaction() as tx:
        store = await store_in(tx)
        once, again = await put(tx, store), await put(tx, store, reusable=True)
        for link in (once, again):
            for paid in (5000, 5000, 5001):
                await invoice(tx, link, paid=paid)
            await invoice(tx, link, "expired", 10, ("late",))
        found = await links.invoices_of(tx, [once, again])
    assert sorted((each.paid_units, each.count, each.late) for each in found[once.id]) == [
        (10, 1, True), (5001, 1, False), (10_000, 2, False),
    ]  # fmt: skip
    assert sorted((each.status, each.paid_units, each.count) for each in found[again.id]) == [
        (InvoiceStatus.EXPIRED, 10, 1), (InvoiceStatus.SETTLED, 15_001, 3),
    ]  # fmt: skip


async def sums(tx: Tx, link: Link) -> list[tuple[str, int, int, int]]:
    found = (await links.invoices_of(tx, [link]))[link.id]
    return sorted((each.status.value, each.count, each.paid_units, each.settled_units) for each in found)


async def test_sums_follow_each_change_of_an_invoice_and_are_made_one(database: Database) -> None:
    async with database.transaction() as tx:
        link = await put(tx, await store_in(tx), reusable=True)
        first = await invoice(tx, link, "new", 0)
        await invoice(tx, link, "new", 0)
        assert await sums(tx, link) == [("new", 2, 0, 0)]
        await tx.execute(
            "update invoices set status = 'settled', paid_units = $2, settled_units = 7 where id = $1", first, WEI
        )
        await links.fold(tx)
        assert await sums(tx, link) == [("new", 1, 0, 0), ("settled", 1, WEI, 7)]
        await tx.execute(
            "update invoices set status = 'expired', paid_units = 1, settled_units = 0 where id = $1", first
        )
        await links.fold(tx)
        await tx.execute("update invoices set description = 'x'")  # nothing that is summed up
        assert await sums(tx, link) == [("expired", 1, 1, 0), ("new", 1, 0, 0)]
        assert await tx.fetchval("select count(*) from link_sums") == 3  # settled: none any more


async def test_sums_are_those_of_the_invoices_whatever_changes_of_them(database: Database) -> None:
    counted = """select status, count(*), sum(paid_units), sum(settled_units) from invoices where link_id = $1
        group by 1 order by 1"""
    async with database.transaction() as tx:
        store = await store_in(tx)
        once, *again = [await put(tx, store, reusable=number > 0) for number in range(3)]
        for link in (once, *again):
            made = [await invoice(tx, link, "settled", paid) for paid in (5000, 5001, 5002, 5003)]
            for change in ("paid_units = 7000", "settled_units = 3", "status = 'expired'", "paid_units = 9000"):
                await tx.execute(f"update invoices set {change} where id = any($1)", made[:2])
                made = [*made[1:], made[0]]
                await links.fold(tx)
        for link in again:
            assert await sums(tx, link) == [tuple(row) for row in await tx.fetch(counted, link.id)]
        assert await tx.fetchval("select count(*) from link_sums where link_id = $1", once.id) == 0


async def test_sums_are_whole_while_they_are_made_one(database: Database) -> None:
    async with database.transaction() as tx:
        link = await put(tx, await store_in(tx), reusable=True)
    seen, over = [0], asyncio.Event()

    async def write(count: int) -> None:
        for _ in range(count):
            async with database.transaction() as tx:
                made = await invoice(tx, link, "new", 0)
            async with database.transaction() as tx:
                await tx.execute("update invoices set status = 'settled', paid_units = 1 where id = $1", made)

    async def keep() -> None:
        while not over.is_set():
            await database.run(lambda tx: keep_sums(tx, NOW))

    async def read() -> None:
        while not over.is_set():
            async with database.transaction() as tx:
                seen.append(sum(count for _, count, *_ in await sums(tx, link)))

    async with asyncio.TaskGroup() as group:
        others = [group.create_task(each()) for each in (keep, keep, read)]
        await asyncio.gather(*(write(50) for _ in range(4)))
        over.set()
        await asyncio.gather(*others)
    async with database.transaction() as tx:
        assert await sums(tx, link) == [("settled", 200, 200, 0)]
    assert seen == sorted(seen)  # none was ever out of the sums


async def test_what_was_there_before_sums_were_kept_is_in_them(database: Database) -> None:
    async with database.transaction() as tx:
        store = await store_in(tx)
        link, once = await put(tx, store, reusable=True), await put(tx, store)
        for each in (link, link, once):
            await invoice(tx, each)
        await tx.execute("update invoices set settled_units = 4000")
        await tx.execute("drop function sum_up_link cascade; drop table link_sums")
        await tx.execute((files("kassa.db") / "migrations" / "0267_link_sums.sql").read_text())
        await invoice(tx, link)
        assert await sums(tx, link) == [("settled", 3, 15_000, 13_000)]
        assert await tx.fetchval("select count(*) from link_sums where link_id = $1", once.id) == 0


async def test_attempts_are_told_newest_first_and_whose_they_are(database: Database) -> None:
    async with database.transaction() as tx:
        link = await put(tx, await store_in(tx))
        me, they = Payer(b"me", b"here"), Payer(b"they", b"here")
        mine = await links.begin_attempt(tx, link.id, me, NOW)
        theirs = await links.begin_attempt(tx, link.id, they, NOW)
        made = InvoiceId(await invoice(tx, link, "new", 0))
        await links.end_attempt(tx, mine, made)
        await links.drop_attempt(tx, mine)  # nothing: it led to an invoice
        found = await links.attempts(tx, link, me, NOW)
        assert [each.near for each in found] == [True, True]
        assert [each.near for each in await links.attempts(tx, link, Payer(b"me"), NOW)] == [False, False]
        assert [(each.mine, each.invoice, each.asked_units) for each in found] == [(False, None, 0), (True, made, 5000)]
        assert await links.last_invoice(tx, link.id, b"me") == made
        assert await links.last_invoice(tx, link.id, b"they") is None
        await links.drop_attempt(tx, theirs)
        assert len(await links.attempts(tx, link, me, NOW)) == 1
        assert await links.attempts(tx, link, me, NOW + timedelta(hours=1)) == []
