"""D26: a database that forgot its last addresses learns of them from the chain."""

from importlib.resources import files
from typing import Any

import pytest

from kassa import flow
from kassa.audit.model import Actor
from kassa.core.errors import Invalid, NotFound
from kassa.core.ids import CustomerId, new_id
from kassa.customers import store as customers
from kassa.customers.model import Customer
from kassa.stores import store as stores
from kassa.stores.model import Store
from kassa.wallets import store as wallets
from tests.house import TPUB, add_store
from tests.oracle import Oracle
from tests.shop import Shop, address


async def forget(shop: Shop, invoice_id: str) -> None:
    """Make the database what an older backup would be: without this invoice and its address, the counter lower."""
    pool = shop.house.database.pool
    async with pool.acquire() as connection, connection.transaction():
        index = await connection.fetchval("select index from addresses where invoice_id = $1", invoice_id)
        await connection.execute("alter table keychains disable trigger keychains_grow")
        await connection.execute("delete from payment_options where invoice_id = $1", invoice_id)
        await connection.execute("delete from addresses where invoice_id = $1", invoice_id)
        await connection.execute("delete from events where invoice_id = $1", invoice_id)
        await connection.execute("delete from invoices where id = $1", invoice_id)
        await connection.execute("update keychains set next_index = $1", index)
        await connection.execute("alter table keychains enable trigger keychains_grow")


async def test_d26_a_paid_address_above_the_counter_is_never_issued_again(shop: Shop) -> None:
    await shop.house.database.run(lambda tx: add_store(tx, shop.house, key=f"wpkh({TPUB}/7/*)"))  # learns nothing of it
    forgotten = await shop.invoice()
    await shop.stop()
    await forget(shop, forgotten["id"])
    shop.start()
    await shop.pay(forgotten)
    await shop.node.mine()
    pool = shop.house.database.pool

    async def booked() -> dict[str, object]:
        row = await pool.fetchrow(
            "select p.units, p.invoice_id from payments p join addresses a on a.id = p.address_id where a.address = $1",
            address(forgotten),
        )
        return {} if row is None else {"units": int(row["units"]), "invoice": row["invoice_id"]}

    await shop.until_seen(booked, {"units": 100_000, "invoice": None})
    jump = await pool.fetchrow("select from_index, to_index, reason from keychain_jumps order by id desc limit 1")
    assert (jump["from_index"], jump["to_index"]) == (0, 21)
    assert "index 0" in jump["reason"]
    fresh = await shop.invoice()
    assert address(fresh) != address(forgotten)
    assert await pool.fetchval("select index from addresses where invoice_id = $1", fresh["id"]) == 21
    told = await pool.fetch("select store_id from events where type = 'alert.opened'")
    assert [row["store_id"] for row in told] == [shop.store.id]


async def test_d26_all_that_a_counter_jumped_over_is_watched(shop: Shop) -> None:
    forgotten = await shop.invoice()
    await shop.stop()
    await forget(shop, forgotten["id"])
    async with shop.house.database.transaction() as tx:
        [keychain] = await wallets.keychains(tx)
        assert await wallets.jump(tx, keychain.id, 25_000, "an old backup was restored")
    shop.start()
    paid = await shop.pay(forgotten)
    await shop.node.mine()
    await shop.caught_up()
    assert await shop.books() == {f"wallet:{shop.network}": 100_000, "unowned": -100_000}
    assert await shop.house.database.pool.fetchval("select txid from payments") == paid


async def test_d26_money_without_an_owner_is_in_the_books_while_a_block_holds_it(shop: Shop) -> None:
    forgotten = await shop.invoice()
    await shop.stop()
    await forget(shop, forgotten["id"])
    shop.start()
    paid = await shop.pay(forgotten)
    await shop.caught_up()
    assert await shop.books() == {}

    await shop.node.mine()
    await shop.caught_up()
    assert await shop.books() == {f"wallet:{shop.network}": 100_000, "unowned": -100_000}

    await shop.node.fork(1, drop={paid})
    await shop.caught_up()
    assert await shop.books() == {}

    await shop.node.mine()
    await shop.caught_up()
    assert await shop.books() == {f"wallet:{shop.network}": 100_000, "unowned": -100_000}
    await Oracle(shop.house).check_books()


async def test_f11_money_without_an_owner_is_listed_and_given_to_whom_a_person_names(shop: Shop) -> None:
    forgotten = await shop.invoice()
    await shop.stop()
    await forget(shop, forgotten["id"])
    shop.start()
    paid = await shop.pay(forgotten)
    await shop.node.mine()
    await shop.caught_up()
    house, pool, now = shop.house, shop.house.database.pool, shop.house.clock.now()
    ada = Customer(CustomerId(new_id("cus", now)), shop.store.id, None, None, "{}", now)
    async with house.database.transaction() as tx:
        await customers.put(tx, ada)
        other = await stores.create_store(tx, "Other", "EUR", False, now)
        (listed,) = await flow.unassigned(tx, house)
    assert (listed["amount"], listed["stores"], listed["suggested"]) == ("0.00100000", [shop.store.id], "income")

    async def assign(to: str | None, store: Store = shop.store) -> dict[str, Any]:
        async with house.database.transaction() as tx:
            return await flow.assign_payment(tx, house, store, listed["payment_id"], to, Actor("test"), now)

    with pytest.raises(NotFound):
        await assign(None, other)
    with pytest.raises(Invalid):
        await assign("cus_nobody")
    held = f"wallet:{shop.network}"
    assert ((await assign(None))["assigned_to"], await shop.books()) == ("income", {held: 100_000, "income": -100_000})
    shown = await assign(ada.id)
    assert (shown["customer_id"], shown["assigned_to"], shown["value"]) == (ada.id, ada.id, "50.00")
    assert await shop.books() == {held: 100_000, f"customer:{ada.id}": -100_000}
    assert await pool.fetchval("select units from customer_balances") == 100_000
    async with house.database.transaction() as tx:
        assert await flow.unassigned(tx, house) == []
    assert (await flow.verify(house, lambda *_: None)).failures == 0

    await shop.node.fork(1, drop={paid})
    await shop.caught_up()
    assert await shop.books() == {}
    await shop.node.mine()
    await shop.caught_up()
    assert await shop.books() == {held: 100_000, f"customer:{ada.id}": -100_000}
    await Oracle(house).check_books()


@pytest.mark.tampers("what an earlier version left behind")
async def test_money_without_an_owner_that_an_earlier_version_kept_is_booked_by_the_migration(shop: Shop) -> None:
    forgotten = await shop.invoice()
    await shop.stop()
    await forget(shop, forgotten["id"])
    shop.start()
    await shop.pay(forgotten)
    await shop.node.mine()
    await shop.caught_up()
    await shop.stop()
    pool = shop.house.database.pool
    async with pool.acquire() as connection, connection.transaction():
        for table in ("postings", "entries"):
            await connection.execute(f"alter table {table} disable trigger user")
            await connection.execute(f"delete from {table}")
            await connection.execute(f"alter table {table} enable trigger user")
        await connection.execute("drop index payments_unowned")
        await connection.execute((files("kassa.db") / "migrations" / "0009_unowned_money.sql").read_text())
    assert await shop.books() == {f"chain:{shop.network}": 100_000, "unowned": -100_000}


async def test_addresses_that_are_issued_while_we_look_are_their_invoices(shop: Shop) -> None:
    invoices = [await shop.invoice() for _ in range(120)]
    await shop.node.fund_each([(address(invoice), 100_000) for invoice in invoices[::10]])
    await shop.node.mine()
    for invoice in invoices[::10]:
        await shop.until(invoice, status="settled")
    assert await shop.house.database.pool.fetchval("select count(*) from keychain_jumps") == 0
