"""The books against real nodes, by code that the follower does not share: F1, F11, G7, O2."""

import asyncio
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from kassa.chains.base import Connection
from kassa.chains.bitcoin import audit
from kassa.chains.bitcoin.audit import BitcoinAuditor
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from kassa.core.audits import Claim, Movement, Received
from kassa.core.errors import ChainMoved, ChainUnavailable
from kassa.core.facts import BlockRef
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.house import House
from kassa.settings import Books, Confirmations
from kassa.workers.reconcile import reconcile, reconcile_network
from tests.evmshop import PRICE_USDC, PRICE_WEI, EvmShop, open_evm_shop
from tests.house import BITCOIN, TPUB, add_store
from tests.shop import Json, Shop, address, open_shop
from tests.tools.liar import Liar

SIGNALS_COUNT = "-mempoolfullrbf=0"

pytestmark = pytest.mark.tampers("books and rows are changed, and money is moved past Kassa, to be found")


async def run(shop: Shop) -> Json:
    return await reconcile_network(shop.house, shop.network, lambda _done, _of: None)


def differences(told: Json) -> list[tuple[str, str, str]]:
    return [(each["address"], each["booked"], each["found"]) for each in told["differences"]]


async def alerts(house: House) -> list[str]:
    rows = await house.database.pool.fetch("select type from events where type like 'alert.%' order by position")
    return [row["type"] for row in rows]


async def plant_credit(shop: Shop, payment_id: str, units: int, asset: str) -> int:
    """Insert a balanced entry as somebody with the database's password would."""
    async with shop.house.database.transaction() as tx:
        number = await tx.fetchval(
            "insert into entries (store_id, payment_id, reason, booked_at) values ($1, $2, 'planted', now())"
            " returning id",
            shop.store.id, payment_id,
        )  # fmt: skip
        for account, sign in ((f"wallet:{shop.network}", 1), ("sales", -1)):
            await tx.execute(
                "insert into postings (entry_id, account, asset, units) values ($1, $2, $3, $4)",
                number, account, asset, sign * units,
            )  # fmt: skip
    return int(number)


async def test_o2_books_on_bitcoin_are_what_the_node_holds(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    await agree(bitcoind, database, tmp_path, BITCOIN)


async def test_o2_books_on_litecoin_are_what_the_node_holds(
    litecoind: DevNode, database: Database, tmp_path: Path
) -> None:
    await agree(litecoind, database, tmp_path, "litecoin-regtest")


async def agree(node: DevNode, database: Database, tmp_path: Path, network: str) -> None:
    async with open_shop(node, database, tmp_path, network=network) as shop:
        paid, mined, unpaid = [await shop.invoice("8.00") for _ in range(3)]
        await shop.pay(paid, 33_333)
        await shop.pay(paid, 100_001)
        await node.mine()
        await node.mine(1, to=address(mined))
        await shop.caught_up()
        told = await run(shop)
        assert (told["differences"], told["addresses"], told["bounded"]) == ([], 3, 0)
        tip = await node.tip()
        assert (told["height"], told["hash"]) == (tip.height, tip.hash)
        await node.fork(2)
        await shop.caught_up()
        assert differences(await run(shop)) == []
        assert await alerts(shop.house) == []
        assert unpaid["status"] == "new"


async def test_f1_a_credit_that_was_inserted_is_named_once_and_closed_when_it_is_corrected(shop: Shop) -> None:
    invoice = await shop.invoice()
    await shop.pay(invoice)
    await shop.node.mine()
    shown = await shop.until(invoice, status="settled")
    payment = shown["payments"][0]
    planted = await plant_credit(shop, payment["id"], 7, payment["asset"])
    for _ in range(2):
        (found,) = (await run(shop))["differences"]
        assert (found["address"], found["booked"], found["found"]) == (address(invoice), "0.00100007", "0.00100000")
        assert (found["invoice_id"], found["difference"]) == (invoice["id"], "-0.00000007")
        assert found["entries"][-1].endswith(f"{planted:029d}")
        assert await alerts(shop.house) == ["alert.opened"]
    await plant_credit(shop, payment["id"], -7, payment["asset"])
    assert differences(await run(shop)) == []
    assert await alerts(shop.house) == ["alert.opened", "alert.closed"]


async def test_f1_an_entry_that_was_deleted_is_found(shop: Shop) -> None:
    invoice = await shop.invoice()
    await shop.pay(invoice)
    await shop.node.mine()
    await shop.until(invoice, status="settled")
    async with shop.house.database.transaction() as tx:
        await tx.execute("alter table postings disable trigger postings_append_only")
        await tx.execute("delete from postings where account like 'wallet:%'")
    assert differences(await run(shop)) == [(address(invoice), "0.00000000", "0.00100000")]


@pytest.mark.parametrize("neighbours", [0, 1])
async def test_f1_entries_that_lead_to_no_address_are_a_difference(shop: Shop, neighbours: int) -> None:
    for _ in range(neighbours):
        await shop.house.database.run(lambda tx: add_store(tx, shop.house, key=f"wpkh({TPUB}/7/*)"))
    async with shop.house.database.transaction() as tx:
        await tx.execute("insert into customers (id, store_id, created_at) values ('cus_x', $1, now())", shop.store.id)
        await tx.execute(
            """with made as (insert into entries (store_id, customer_id, reason, booked_at)
                   values ($1, 'cus_x', 'planted', now()) returning id)
               insert into postings (entry_id, account, asset, units)
               select id, a.account, 'BTC@bitcoin-regtest', a.units from made,
                   (values ('wallet:bitcoin-regtest', 5), ('customer:cus_x', -5)) as a (account, units)""",
            shop.store.id,
        )
    (found,) = (await run(shop))["differences"]
    assert (found["address"], found["booked"], found["found"]) == (None, "0.00000005", "0.00000000")
    # With a neighbour it could be theirs: only the operator is told, so that neither learns of the other's books.
    assert await alerts(shop.house) == ["alert.opened"] * (neighbours == 0)
    assert await shop.house.database.pool.fetchval("select count(*) from alerts where kind = 'books_differ'") == 1


async def test_f11_money_that_the_follower_never_booked_is_found_with_its_owner(shop: Shop) -> None:
    invoice = await shop.invoice()
    await shop.pay(invoice)
    await shop.node.mine()
    await shop.until(invoice, status="settled")
    async with shop.house.database.transaction() as tx:
        for table in ("postings", "entries"):
            await tx.execute(f"alter table {table} disable trigger {table}_append_only")
            await tx.execute(f"delete from {table}")
        await tx.execute("delete from payments")
    (found,) = (await run(shop))["differences"]
    assert (found["invoice_id"], found["booked"], found["found"]) == (invoice["id"], "0.00000000", "0.00100000")


async def test_money_accepted_without_a_block_is_set_aside(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    await bitcoind.restart(SIGNALS_COUNT)
    policy = (Confirmations(0, Fraction(50), "EUR"), Confirmations(1))
    async with open_shop(bitcoind, database, tmp_path, confirmations=policy) as shop:
        invoice = await shop.invoice()
        await bitcoind.rpc.named(
            "sendtoaddress", address=address(invoice), amount="0.001", fee_rate=5, replaceable=False
        )
        await shop.until(invoice, status="settled")
        told = await run(shop)
        assert (told["differences"], told["without_block"]) == ([], {"BTC@bitcoin-regtest": "0.00100000"})


async def test_spent_outputs_count_by_the_block_that_holds_them(bitcoind: DevNode) -> None:
    rpc, auditor = bitcoind.rpc, BitcoinAuditor(Connection(bitcoind.rpc_url))
    ours = await bitcoind.address()
    script = bytes.fromhex((await rpc.call("getaddressinfo", ours))["scriptPubKey"])
    txid = await bitcoind.fund(ours, 50_000)
    (block,) = await bitcoind.mine()
    output = next(
        out["n"] for out in (await rpc.call("getrawtransaction", txid, True, block))["vout"] if out["value"] * 2000 == 1
    )
    await rpc.named(
        "sendall", recipients=[await bitcoind.address()], options={"inputs": [{"txid": txid, "vout": output}]}
    )
    await bitcoind.mine()
    tip = await bitcoind.tip()

    async def found(*movements: Movement, at: BlockRef = tip) -> Received:
        (received,) = await auditor.received(at, 1, [Claim(script, "BTC", movements)], lambda _done, _of: None)
        return received

    movement = Movement(txid, f"out:{output}", 50_000, block)
    assert await found(movement) == Received(50_000)
    assert await found(replace(movement, block=tip.hash)) == Received(0)
    assert await found(replace(movement, txid="ab" * 32)) == Received(0)
    assert await found(replace(movement, position="out:9")) == Received(0)
    assert await found(replace(movement, block=None)) == Received(0)
    before = BlockRef(tip.height - 2, await bitcoind.block_hash(tip.height - 2))
    assert await found(movement, at=before) == Received(0)
    stranger = Claim(bytes(22), "BTC", (movement,))
    assert await auditor.received(tip, 1, [stranger], lambda _done, _of: None) == [Received(0)]
    with pytest.raises(ChainMoved):
        await found(movement, at=BlockRef(tip.height, block))
    await auditor.close()


async def test_a_pruned_node_tells_only_of_too_much(bitcoind: DevNode) -> None:
    """What was spent in a block that the node has dropped can be shown by nobody: it is no difference."""
    await bitcoind.restart("-txindex=0", "-fastprune", "-prune=1")
    rpc, auditor = bitcoind.rpc, BitcoinAuditor(Connection(bitcoind.rpc_url))
    scripts, movements = [], []
    for units in (50_000, 60_000):
        ours = await bitcoind.address()
        scripts.append(bytes.fromhex((await rpc.call("getaddressinfo", ours))["scriptPubKey"]))
        txid = await bitcoind.fund(ours, units)
        (block,) = await bitcoind.mine()
        paid = (await rpc.call("getblock", block, 2))["tx"][1]["vout"]
        place = next(out["n"] for out in paid if out["scriptPubKey"]["hex"] == scripts[-1].hex())
        movements.append(Movement(txid, f"out:{place}", units, block))
    spent = {"txid": movements[0].txid, "vout": int(movements[0].position.removeprefix("out:"))}
    await rpc.named("sendall", recipients=[await bitcoind.address()], options={"inputs": [spent]})
    await bitcoind.mine(700)
    tip = await bitcoind.tip()
    claims = [Claim(script, "BTC", (each,)) for script, each in zip(scripts, movements, strict=True)]

    async def told() -> list[Received]:
        return list(await auditor.received(tip, 1, claims, lambda _done, _of: None))

    assert await told() == [Received(50_000), Received(60_000)]
    pruned = await rpc.call("pruneblockchain", tip.height - 300)
    assert pruned >= 0, (pruned, tip)
    assert await told() == [Received(0, exact=False), Received(60_000)]
    await auditor.close()


async def test_a_node_that_refuses_the_scan_tells_only_what_the_books_name(shop: Shop) -> None:
    invoice = await shop.invoice("8.00")
    await shop.pay(invoice, 16_000)
    await shop.node.mine()
    await shop.until(invoice, status="settled")
    async with Liar(shop.node.rpc_url) as liar:
        behind = replace(shop.house.settings.networks[shop.network], rpc_url=Secret(liar.url))
        settings = replace(shop.house.settings, networks={shop.network: behind})
        house = replace(shop.house, settings=settings)

        async def compared() -> Json:
            return await reconcile_network(house, shop.network, lambda _done, _of: None)

        liar.on("scantxoutset").error(-32601, "Method not found")
        told = await compared()
        assert (told["differences"], told["bounded"]) == ([], told["compared"])
        liar.honest()
        told = await compared()
        assert (told["differences"], told["bounded"]) == ([], 0)


async def test_a_scan_that_is_already_running_is_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "BUSY_PAUSE_SECONDS", 0.01)
    await shop.caught_up()
    async with Liar(shop.node.rpc_url) as liar:
        auditor = BitcoinAuditor(Connection(liar.url))
        tip = await shop.node.tip()

        async def told() -> list[Received]:
            return list(await auditor.received(tip, 1, [Claim(bytes(22), "BTC")], lambda _done, _of: None))

        said = 'Scan already in progress, use action "abort" or "status"'
        liar.on("scantxoutset").after(1).times(3).error(-8, said)
        assert await told() == [Received(0)]
        liar.honest()
        liar.on("scantxoutset").after(1).error(-8, said)
        monkeypatch.setattr(audit, "BUSY_SECONDS", 0.05)
        with pytest.raises(ChainUnavailable, match="already in progress"):
            await told()
        await auditor.close()


async def test_unspent_outputs_outside_of_the_blocks_asked_for_do_not_count(bitcoind: DevNode) -> None:
    ours, auditor = await bitcoind.address(), BitcoinAuditor(Connection(bitcoind.rpc_url))
    script = bytes.fromhex((await bitcoind.rpc.call("getaddressinfo", ours))["scriptPubKey"])
    before = await bitcoind.tip()
    await bitcoind.fund(ours, 50_000)
    await bitcoind.mine()
    after = await bitcoind.tip()

    async def found(tip: BlockRef, first: int) -> int:
        (received,) = await auditor.received(tip, first, [Claim(script, "BTC")], lambda _done, _of: None)
        return received.units

    assert [await found(after, 1), await found(before, 1), await found(after, after.height + 1)] == [50_000, 0, 0]
    await auditor.close()


async def test_g7_ether_and_tokens_are_what_the_node_holds(evm: EvmShop) -> None:
    coin, token = await evm.only("ETH"), await evm.only("USDC")
    await evm.anvil.fund(address(coin), PRICE_WEI)
    await evm.anvil.fund(address(token), PRICE_USDC, "USDC")
    await evm.mine()
    await evm.until(coin, status="settled")
    await evm.until(token, status="settled")
    told = await run(evm)
    assert (told["differences"], told["compared"], told["bounded"]) == ([], 4, 0)


async def test_f1_a_balance_set_in_the_state_is_found(evm: EvmShop) -> None:
    coin = await evm.only("ETH")
    await evm.anvil.fund(address(coin), PRICE_WEI)
    await evm.mine()
    await evm.until(coin, status="settled")
    for wei in (PRICE_WEI - 1, PRICE_WEI + 1):
        await evm.anvil.rpc.call("anvil_setBalance", address(coin), hex(wei))
        await evm.mine()
        (found,) = (await run(evm))["differences"]
        assert (found["asset"], found["invoice_id"]) == ("ETH@anvil", coin["id"])
        assert found["difference"] == f"{'-' if wei < PRICE_WEI else ''}0.000000000000000001"
    assert await alerts(evm.house) == ["alert.opened"]


async def test_f11_money_that_a_contract_sent_unseen_is_found(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with open_evm_shop(anvil, database, tmp_path, internal="off") as shop:
        coin = await shop.only("ETH")
        payer = await shop.contract("SelfDestructPayer", f"0x{0:040x}", wei=PRICE_WEI)
        await payer.send("destruct", address(coin))
        await shop.mine()
        assert [each["invoice_id"] for each in (await run(shop))["differences"]] == [coin["id"]]


async def test_what_the_owner_moves_away_is_no_difference_and_more_than_was_booked_is(evm: EvmShop) -> None:
    coin, token = await evm.only("ETH"), await evm.only("USDC")
    await evm.anvil.fund(address(coin), PRICE_WEI)
    await evm.anvil.fund(address(token), PRICE_USDC, "USDC")
    await evm.mine()
    rpc, away = evm.anvil.rpc, await evm.anvil.address()
    for owner in (address(coin), address(token)):
        await rpc.call("anvil_impersonateAccount", owner)
    await rpc.call("eth_sendTransaction", {"from": address(coin), "to": away, "value": hex(PRICE_WEI // 2)})
    moved = f"0xa9059cbb{away[2:].lower():0>64}{PRICE_USDC - 1:064x}"
    await rpc.call("anvil_setBalance", address(token), hex(PRICE_WEI))
    await rpc.call("eth_sendTransaction", {"from": address(token), "to": evm.anvil.tokens["USDC"], "data": moved})
    await evm.mine()
    told = await run(evm)
    found = {each["asset"]: each["invoice_id"] for each in told["differences"]}
    # The gas for moving the token came from nowhere: that is more than was booked.
    assert found == {"ETH@anvil": token["id"]}
    assert told["bounded"] == 2


async def test_the_role_work_reconciles_by_itself_and_one_process_does_it(shop: Shop) -> None:
    invoice = await shop.invoice()
    await shop.pay(invoice)
    await shop.node.mine()
    shown = await shop.until(invoice, status="settled")
    await plant_credit(shop, shown["payments"][0]["id"], 1, "BTC@bitcoin-regtest")
    house = replace(shop.house, settings=replace(shop.house.settings, books=Books(reconcile_seconds=3600)))
    loops = [asyncio.create_task(reconcile(house)) for _ in range(3)]

    async def look() -> Json:
        return {"alerts": await alerts(house)}

    try:
        await shop.until_seen(look, {"alerts": ["alert.opened"]})
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    row = await house.database.pool.fetchrow("select * from reconciliations")
    assert (row["network"], row["differences"]) == (shop.network, 1)
