"""Detectors on real nodes: what the chain does, what is told of it, what is held back, and how a person ends it."""

from pathlib import Path
from typing import Any

import pytest

import kassa.wallets.store as wallets
from kassa import flow
from kassa.alerts.model import Alert, Kind, Severity
from kassa.chains.bitcoin.devnode import DevNode
from kassa.core.errors import Unavailable
from kassa.core.ids import CustomerId
from kassa.customers import store as customers
from kassa.customers.model import Customer
from kassa.db.pool import Database
from kassa.settings import Confirmations
from tests.detecting import look, open_alerts, undo
from tests.evmshop import EvmShop
from tests.evmshop import address as evm_address
from tests.shop import Shop, address, open_shop
from tests.tools.liar import Liar


async def doubled(shop: Shop, invoice: Any) -> None:
    """Pay an invoice, then spend the coin elsewhere."""
    txid = await shop.pay(invoice)
    await shop.until(invoice, payments=["detected"])
    await shop.node.replace(txid)
    await shop.until(invoice, payments=["replaced"])


async def test_f3_a_reversal_and_a_deep_reorganisation_ask_for_more_until_a_person_has_looked(shop: Shop) -> None:
    lost = await shop.invoice()
    txid = await shop.pay(lost)
    thief = await shop.node.conflict(txid)
    await shop.node.mine(2)
    await shop.until(lost, status="settled")
    await shop.caught_up()  # it settled by the first block; only who stands on the second sees both of them undone
    await shop.node.fork(2, drop={txid}, transactions=[thief])
    await shop.until(lost, payments=["reversed"])
    found = await look(shop.house, "reorganisations", "reversals")
    [deep], [reversal] = found[Kind.DEEP_REORGANISATION], found[Kind.SETTLED_REVERSED]
    assert (deep.finding.severity, deep.finding.about["depth"]) == (Severity.CRITICAL, 2)
    assert reversal.finding.about["invoice_id"] == lost["id"]

    fresh = await shop.invoice()
    await shop.pay(fresh)
    await shop.node.mine(3)
    waiting = await shop.until(fresh, status="processing", payments=["confirming"])
    await shop.caught_up()
    assert (await shop.shown(fresh))["payment_options"][0]["confirmations_required"] == 4
    assert waiting["payments"][0]["confirmations_required"] == 4
    await shop.node.mine(1)
    await shop.until(fresh, status="settled")

    other = await shop.invoice()
    await shop.pay(other)
    await shop.node.mine(1)
    await shop.until(other, payments=["confirming"])
    await undo(shop.house, deep)
    await shop.caught_up()
    assert (await shop.shown(other))["status"] == "processing"  # the reversal still asks for two
    await undo(shop.house, reversal)
    await shop.until(other, status="settled")
    again = await look(shop.house, "reorganisations", "reversals")
    assert again == {}  # still so, and decided
    assert (await shop.events(fresh)).count("invoice.settled") == 1


async def test_f3_double_spends_of_a_store_and_of_one_customer(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    tiers = (Confirmations(1, 1000, "EUR"), Confirmations(3))  # type: ignore[arg-type]
    async with open_shop(bitcoind, database, tmp_path, confirmations=tiers) as shop:
        ada = CustomerId("cus_" + "0" * 29)
        async with database.transaction() as tx:
            await customers.put(tx, Customer(ada, shop.store.id, None, None, "{}", shop.house.clock.now()))
        await doubled(shop, await shop.invoice(customer_id=ada))
        assert await look(shop.house, "double_spends") == {}
        await doubled(shop, await shop.invoice(customer_id=ada))
        [payer] = (await look(shop.house, "double_spends"))[Kind.DOUBLE_SPENDING_PAYER]
        assert payer.finding.about["payer"] == ada
        await doubled(shop, await shop.invoice())
        found = await look(shop.house, "double_spends")
        assert [each.finding.store_id for each in found[Kind.DOUBLE_SPENDS]] == [shop.store.id]

        honest = await shop.invoice()
        await shop.pay(honest)
        await bitcoind.mine(2)
        await shop.caught_up()
        assert (await shop.shown(honest))["status"] == "processing"
        await bitcoind.mine(1)
        await shop.until(honest, status="settled")

        for alert in (payer, *found[Kind.DOUBLE_SPENDS]):
            await undo(shop.house, alert)
        trusted = await shop.invoice()
        await shop.pay(trusted)
        await bitcoind.mine(1)
        await shop.until(trusted, status="settled")


async def test_paying_more_for_the_same_is_no_double_spend(shop: Shop) -> None:
    for _ in range(3):
        invoice = await shop.invoice()
        txid = await shop.pay(invoice)
        await shop.until(invoice, payments=["detected"])
        await shop.node.rpc.call("bumpfee", txid)
        await shop.until_event(invoice, "payment.replaced")
    assert await look(shop.house, "double_spends") == {}


async def test_a_flood_of_dust_is_told_to_its_store(shop: Shop) -> None:
    invoice = await shop.invoice()
    await shop.node.send_many([(address(invoice), 900)] * 20)
    await shop.until(invoice, payments=["detected"] * 20)
    [flood] = (await look(shop.house, "dust"))[Kind.DUST_FLOOD]
    assert (flood.finding.store_id, flood.finding.about["count"]) == (shop.store.id, 20)


async def test_b8_transfers_of_nothing_are_told_once_however_many(evm: EvmShop) -> None:
    invoice = await evm.only("USDC")
    spammer = await evm.contract("ZeroTransferSpammer")
    stranger = await evm.anvil.address()
    await spammer.send("spam", evm.anvil.tokens["USDC"], stranger, evm_address(invoice), 200, gas=20_000_000)
    await evm.mine()
    [told] = (await look(evm.house, "dust", "dust"))[Kind.EMPTY_TRANSFERS]
    assert told.finding.about["count"] == 200


async def test_f11_money_that_nobody_owns_is_listed_after_an_hour(shop: Shop) -> None:
    async with shop.house.database.transaction() as tx:
        [wallet] = await wallets.wallets_of(tx, shop.store.id)
    chain = shop.house.chains[shop.network]
    stray = chain.addresses.derive(wallet.descriptor, wallet.next_index + 7).text
    await shop.node.fund(stray, 100_000)
    await shop.node.mine(1)
    await shop.caught_up()
    assert Kind.MONEY_UNOWNED not in await look(shop.house, "unowned_money")
    await shop.house.database.pool.execute("update payments set first_seen_at = first_seen_at - interval '61 minutes'")
    [found] = (await look(shop.house, "unowned_money"))[Kind.MONEY_UNOWNED]
    assert [each["address"] for each in found.finding.about["payments"]] == [stray]
    assert (found.finding.store_id, found.finding.network) == (shop.store.id, shop.network)


async def test_f2_credit_that_the_books_do_not_hold_stops_its_asset(shop: Shop) -> None:
    ada = CustomerId("cus_" + "0" * 29)
    pool, now = shop.house.database.pool, shop.house.clock.now
    async with shop.house.database.transaction() as tx:
        await customers.put(tx, Customer(ada, shop.store.id, None, None, "{}", now()))
    issuing = await flow.prepare_address(shop.house, shop.store, ada, f"BTC@{shop.network}", "key_test")
    async with shop.house.database.transaction() as tx:
        given = await flow.issue_address(tx, shop.house, shop.store, ada, issuing, now())
    await shop.node.fund(given["address"], 100_000)
    await shop.node.mine(1)

    async def credit() -> dict[str, Any]:
        return {"units": await pool.fetchval("select max(units)::int from customer_balances")}

    await shop.until_seen(credit, {"units": 100_000})
    assert await look(shop.house, "solvency") == {}
    await pool.execute("update customer_balances set units = units + 1")
    [alert] = (await look(shop.house, "solvency"))[Kind.BOOKS_INSOLVENT]
    with pytest.raises(Unavailable, match="held back"):
        await shop.invoice()
    await pool.execute("update customer_balances set units = units - 1")
    [alert] = (await look(shop.house, "solvency"))[Kind.BOOKS_INSOLVENT]
    assert alert.over_at is not None  # only a person releases it
    await undo(shop.house, alert)
    assert await shop.invoice()


async def test_f4_a_node_that_is_stalled_of_another_chain_or_followed_by_nobody(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    async with Liar(bitcoind.rpc_url) as liar:
        settings: dict[str, Any] = {"rpc_url": liar.url, "stalled_after_seconds": 3600}
        async with open_shop(bitcoind, database, tmp_path, **settings) as shop:
            assert await look(shop.house, "nodes") == {}
            liar.on("getblockchaininfo").mutate(lambda info: {**info, "time": info["time"] - 7200})
            await shop.until_network(state="stalled")
            assert list(await look(shop.house, "nodes")) == [Kind.NODE_STALLED]
            liar.honest()
            await shop.until_network(state="ok")
            assert await look(shop.house, "nodes") == {}
            await shop.stop()
            liar.on("getblockchaininfo").mutate(lambda info: {**info, "chain": "main"})
            shop.start()
            await shop.until_network(node_refused=True)
            [alert] = (await look(shop.house, "nodes"))[Kind.NODE_REFUSED]
            assert "main" in alert.finding.detail
            assert await told(shop, alert) == ["alert.opened"]
            await shop.stop()
            await database.pool.execute("update networks set lease_until = now() - interval '61 seconds'")
            assert list(await look(shop.house, "nodes")) == [Kind.NOT_FOLLOWED]
            assert await told(shop, alert) == ["alert.opened", "alert.closed"]
        assert len(await open_alerts(shop.house)) == 1


async def told(shop: Shop, alert: Alert) -> list[str]:
    rows = await shop.house.database.pool.fetch(
        "select type from events where object::json->>'id' = $1 order by position", alert.id
    )
    return [row["type"] for row in rows]
