"""E28: what the chain is searched for is written over in the database, which no text on any page shows."""

from typing import Any

from kassa import flow
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.bitcoin.transactions import script_key
from kassa.invoices.deadline_store import FIRST_TURN
from kassa.workers.reconcile import reconcile_network
from tests.house import BITCOIN
from tests.shop import Json, Shop, address

CHANGE = "update addresses set script = $2, watch_key = $3 where invoice_id = $1 returning id"


async def searched(shop: Shop, invoice: Json) -> tuple[bytes, int]:
    row = await shop.house.database.pool.fetchrow(
        "select script, watch_key from addresses where invoice_id = $1", invoice["id"]
    )
    return row["script"], row["watch_key"]


async def write_over(shop: Shop, invoice: Json, script: bytes, key: int) -> None:
    await shop.house.database.pool.execute(CHANGE, invoice["id"], script, key)


async def open_alerts(shop: Shop) -> list[str]:
    rows = await shop.house.database.pool.fetch(
        "select reason from alerts where kind = 'address_mismatch' and closed_at is null"
    )
    return [row["reason"] for row in rows]


async def strangers(shop: Shop, node: DevNode) -> tuple[str, bytes, int]:
    """Return an address of the node's own wallet, and what the chain is searched for it."""
    text = await node.rpc.call("getnewaddress", "", "bech32")
    script = bytes.fromhex((await node.rpc.call("getaddressinfo", text))["scriptPubKey"])
    return text, script, script_key(script) or 0


async def passed(shop: Shop) -> None:
    """Wait until an honest payment that was made just now is settled: the follower has come as far."""
    honest = await shop.invoice()
    await shop.pay(honest)
    await shop.node.mine(1)
    await shop.until(honest, status="settled", flags=[])


async def test_e28_money_that_reached_a_strangers_script_settles_nothing(shop: Shop) -> None:
    victim = await shop.invoice()
    true = await searched(shop, victim)
    text, *false = await strangers(shop, shop.node)
    await write_over(shop, victim, *false)
    await shop.node.fund(text, 100_000)
    await passed(shop)

    shown = await shop.shown(victim)
    assert (shown["status"], shown["payments"]) == ("new", [])
    assert len(await open_alerts(shop)) == 1

    # Right again by now: what was paid in between counts no more for that.
    await write_over(shop, victim, *true)
    await passed(shop)
    shown = await shop.shown(victim)
    assert (shown["status"], shown["payments"]) == ("new", [])
    await shop.pay(victim)
    await shop.node.mine(1)
    await shop.until(victim, status="settled", flags=[])


async def test_e28_a_strangers_script_is_found_before_anyone_pays_it(shop: Shop) -> None:
    victim, honest = await shop.invoice(), await shop.invoice()
    _, *false = await strangers(shop, shop.node)
    await write_over(shop, victim, *false)
    async with shop.house.database.transaction() as tx:
        await flow.check_addresses(tx, shop.house, FIRST_TURN, 100, shop.house.clock.now())
    assert len(await open_alerts(shop)) == 1
    hidden, right = (await shop.shown(victim))["payment_options"], (await shop.shown(honest))["payment_options"]
    assert [option["address"] for option in hidden] == [None]
    assert [option["address"] for option in right] == [address(honest)]


async def test_e28_money_of_an_address_whose_owner_was_changed_is_nobodys(shop: Shop) -> None:
    one, other = await shop.invoice(), await shop.invoice()
    pool = shop.house.database.pool
    ids: list[Any] = [
        await pool.fetchval("select id from addresses where invoice_id = $1", each["id"]) for each in (one, other)
    ]
    await pool.execute("update addresses set invoice_id = null where id = $1", ids[0])
    await pool.execute("update addresses set invoice_id = $2 where id = $1", ids[1], one["id"])
    await shop.node.fund(address(other), 100_000)
    await passed(shop)
    assert (await shop.shown(one))["status"] == "new"
    rows = await pool.fetch("select invoice_id, store_id, units from payments where address_id = $1", ids[1])
    assert [tuple(row.values()) for row in rows] == [(None, None, 100_000)]


async def test_e28_reconciliation_asks_the_node_for_what_was_issued(shop: Shop) -> None:
    victim = await shop.invoice()
    await shop.pay(victim)
    await shop.node.mine(1)
    await shop.until(victim, status="settled")
    text, *false = await strangers(shop, shop.node)
    await write_over(shop, victim, *false)
    await shop.node.fund(text, 300_000)
    await passed(shop)
    assert (await reconcile_network(shop.house, BITCOIN, lambda *_: None))["differences"] == []
