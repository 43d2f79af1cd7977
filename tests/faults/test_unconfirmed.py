"""Unconfirmed transactions on a real node: A8, A9, A10, A13, A14."""

from fractions import Fraction
from pathlib import Path

import pytest

from kassa.chains.bitcoin.devnode import DevNode
from kassa.db.pool import Database
from kassa.settings import Confirmations
from tests.chains.test_replaceable import SIGNALS_COUNT
from tests.shop import Shop, address, open_shop
from tests.tools.liar import Liar


async def test_a8_a_malleated_transaction_is_credited_once_under_its_new_id(shop: Shop) -> None:
    invoice = await shop.invoice()
    old = await shop.node.send_many([(address(invoice), 100_000)], legacy=True)
    await shop.until(invoice, status="processing", payments=["detected"])
    raw = await shop.node.malleate(old)
    new = (await shop.node.rpc.call("decoderawtransaction", raw))["txid"]
    assert new != old
    await shop.node.mine(transactions=[raw])
    shown = await shop.until(invoice, status="settled")
    assert {p["txid"]: (p["status"], p["replaced_by"]) for p in shown["payments"]} == {
        old: ("replaced", new),
        new: ("settled", None),
    }
    assert shown["amount_paid"] == "50.00"
    assert await shop.books() == {"wallet:bitcoin-regtest": 100_000, "sales": -100_000}


@pytest.mark.parametrize(("units", "paid"), [(50_000, "25.00"), (0, "0.00")])
async def test_a9_a_replacement_that_pays_less_takes_the_payment_back(shop: Shop, units: int, paid: str) -> None:
    invoice = await shop.invoice()
    first = await shop.pay(invoice)
    await shop.until(invoice, status="processing")
    second = await shop.node.replace(first, [(address(invoice), units)] if units else [])
    shown = await shop.until(invoice, status="new", amount_paid=paid)
    replaced = next(p for p in shown["payments"] if p["txid"] == first)
    assert (replaced["status"], replaced["replaced_by"]) == ("replaced", second)
    assert "payment.replaced" in await shop.events(invoice)
    assert (await shop.shown(invoice))["payment_options"][0]["address"] == address(invoice)
    await shop.node.mine()
    await shop.caught_up()
    assert (await shop.shown(invoice))["amount_settled"] == paid


async def from_unconfirmed(node: DevNode, to: str) -> tuple[str, str]:
    """Pay an address 50 EUR out of two unconfirmed transactions; return the ids of the first, and of the payment.

    Only the first signals that it may be replaced.
    """
    first = spent = await node.send_many([(await node.address(), 104_000)])
    for target, amount in ((await node.address(), "0.00102"), (to, "0.001")):
        coins = await node.rpc.call("listunspent", 0, 0)
        coin = next(coin for coin in coins if coin["txid"] == spent and coin["amount"] < 1)
        source = [{"txid": spent, "vout": coin["vout"], "sequence": 0xFFFFFFFF}]
        draft = await node.rpc.call("createrawtransaction", source, [{target: amount}])
        spent = await node.broadcast((await node.rpc.call("signrawtransactionwithwallet", draft))["hex"])
    return first, spent


@pytest.mark.parametrize("mined", [False, True])
async def test_a9_a_payment_ends_at_once_when_another_takes_the_place_of_an_ancestor(
    bitcoind: DevNode, database: Database, tmp_path: Path, mined: bool
) -> None:
    async with open_shop(bitcoind, database, tmp_path, drop_after_seconds=3600) as shop:
        invoice = await shop.invoice()
        ancestor, paid = await from_unconfirmed(bitcoind, address(invoice))
        await shop.until(invoice, status="processing", payments=["detected"])
        thief = await bitcoind.conflict(ancestor)
        if mined:
            await bitcoind.mine(transactions=[thief])
        else:
            await bitcoind.broadcast(thief)
        shown = await shop.until(invoice, status="new", payments=["replaced"])
        other = (await bitcoind.rpc.call("decoderawtransaction", thief))["txid"]
        assert [(p["txid"], p["replaced_by"]) for p in shown["payments"]] == [(paid, other)]


@pytest.mark.parametrize("known", [False, True])
async def test_a9_a_block_that_comes_during_a_look_may_hold_a_replacement_of_what_was_seen(
    bitcoind: DevNode, database: Database, tmp_path: Path, known: bool
) -> None:
    async with (
        Liar(bitcoind.rpc_url) as liar,
        open_shop(bitcoind, database, tmp_path, rpc_url=liar.url, drop_after_seconds=3600) as shop,
    ):
        invoice = await shop.invoice()
        if known:
            paid = await shop.pay(invoice)
            await shop.until(invoice, payments=["detected"])
        else:
            await shop.stop()
            paid = await shop.pay(invoice)
        thief = await bitcoind.conflict(paid)
        # The mempool was listed, and what is in it was asked about; the tip that the look ends with was not yet read.
        last = "getbestblockhash" if known else "getmempoolentry"
        during = liar.on("getblockhash").where(lambda _: liar.methods()[-1:] == [last]).times(1)
        during.run(lambda: bitcoind.mine(transactions=[thief]))
        if not known:
            shop.start()
        shown = await shop.until(invoice, status="new", payments=["replaced"])
        await shop.caught_up()
        other = (await bitcoind.rpc.call("decoderawtransaction", thief))["txid"]
        assert [(p["txid"], p["replaced_by"]) for p in shown["payments"]] == [(paid, other)]
        assert (await shop.events(invoice)).count("payment.detected") == 1


async def test_a9_an_ancestor_is_followed_on_a_node_without_push_as_well(
    litecoind: DevNode, database: Database, tmp_path: Path
) -> None:
    await litecoind.restart("-mempoolreplacement=1")
    async with open_shop(litecoind, database, tmp_path, network="litecoin-regtest", drop_after_seconds=3600) as shop:
        invoice = await shop.invoice("0.08")  # 0.001 LTC
        ancestor, paid = await from_unconfirmed(litecoind, address(invoice))
        await shop.until(invoice, status="processing", payments=["detected"])
        thief = await litecoind.broadcast(await litecoind.conflict(ancestor))
        shown = await shop.until(invoice, status="new", payments=["replaced"])
        assert [(p["txid"], p["replaced_by"]) for p in shown["payments"]] == [(paid, thief)]


async def test_a9_a_payment_first_seen_in_a_block_ends_with_its_ancestor_when_that_block_is_undone(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    async with open_shop(bitcoind, database, tmp_path, drop_after_seconds=3600) as shop:
        invoice = await shop.invoice()
        await shop.stop()
        ancestor, paid = await from_unconfirmed(bitcoind, address(invoice))
        thief = await bitcoind.conflict(ancestor)
        other = (await bitcoind.rpc.call("decoderawtransaction", thief))["txid"]
        await bitcoind.mine(transactions=[ancestor])
        await bitcoind.mine()
        shop.start()
        await shop.until(invoice, status="settled", payments=["settled"])
        await bitcoind.fork(2, drop={ancestor}, transactions=[thief])
        shown = await shop.until(invoice, status="new", payments=["reversed"])
        assert [(p["txid"], p["replaced_by"]) for p in shown["payments"]] == [(paid, other)]


async def test_a9_an_ancestor_that_confirms_takes_nothing_back(shop: Shop) -> None:
    invoice = await shop.invoice()
    ancestor, _ = await from_unconfirmed(shop.node, address(invoice))
    await shop.until(invoice, status="processing")
    await shop.node.mine(transactions=[ancestor])
    await shop.caught_up()
    await shop.node.mine()
    await shop.until(invoice, status="settled", payments=["settled"])
    assert "payment.replaced" not in await shop.events(invoice)


async def test_a10_fee_bumps_count_once_whichever_version_is_mined(shop: Shop) -> None:
    invoice = await shop.invoice()
    first = await shop.pay(invoice)
    await shop.until(invoice, status="processing")
    second = await shop.node.bump(first)
    middle = str(await shop.node.rpc.call("getrawtransaction", second))
    await shop.node.bump(second)
    await shop.caught_up()
    shown = await shop.shown(invoice)
    assert (shown["status"], shown["amount_paid"], shown["amount_over"]) == ("processing", "50.00", "0.00")
    await shop.node.mine(transactions=[middle])
    shown = await shop.until(invoice, status="settled", amount_paid="50.00", amount_over="0.00")
    assert [p["txid"] for p in shown["payments"] if p["status"] == "settled"] == [second]
    assert await shop.books() == {"wallet:bitcoin-regtest": 100_000, "sales": -100_000}


async def test_a13_a_payment_dropped_by_a_restart_comes_back_as_the_same_payment(shop: Shop) -> None:
    invoice = await shop.invoice()
    txid = await shop.pay(invoice)
    raw = str(await shop.node.rpc.call("getrawtransaction", txid))
    first = await shop.until(invoice, status="processing")
    await shop.node.restart("-persistmempool=0", "-walletbroadcast=0")
    await shop.until(invoice, status="new", payments=["dropped"])
    await shop.node.mine(2)
    await shop.node.mine(transactions=[raw])
    shown = await shop.until(invoice, status="settled")
    assert [p["id"] for p in shown["payments"]] == [p["id"] for p in first["payments"]]
    assert await shop.events(invoice) == [
        "invoice.created", "payment.detected", "invoice.processing", "payment.dropped", "invoice.reopened",
        "payment.settled", "invoice.settled",
    ]  # fmt: skip


async def test_a13_a_payment_that_the_mempool_let_expire_comes_back_as_the_same_payment(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    await bitcoind.restart("-mempoolexpiry=1", "-walletbroadcast=0")
    async with open_shop(bitcoind, database, tmp_path) as shop:
        invoice = await shop.invoice()
        raw = await bitcoind.draft([(address(invoice), 100_000)])
        await bitcoind.broadcast(raw)
        first = await shop.until(invoice, status="processing")
        await bitcoind.set_mock_time(int(shop.house.clock.now().timestamp()) + 2 * 3600)
        await shop.heard()
        assert (await shop.shown(invoice))["status"] == "processing"  # a node forgets only when something comes
        await bitcoind.broadcast(await bitcoind.draft([(await bitcoind.address(), 50_000)]))
        await shop.until(invoice, status="new", payments=["dropped"])
        await bitcoind.mine(2)
        await bitcoind.mine(transactions=[raw])
        shown = await shop.until(invoice, status="settled")
        assert [p["id"] for p in shown["payments"]] == [p["id"] for p in first["payments"]]
        assert await shop.books() == {"wallet:bitcoin-regtest": 100_000, "sales": -100_000}
        said = await shop.events(invoice)
        assert [said.count(f"payment.{what}") for what in ("detected", "dropped", "settled")] == [1, 1, 1]


async def test_a_dropped_payment_that_is_broadcast_again_is_the_same_payment(shop: Shop) -> None:
    invoice = await shop.invoice()
    txid = await shop.pay(invoice)
    raw = str(await shop.node.rpc.call("getrawtransaction", txid))
    await shop.until(invoice, status="processing")
    await shop.node.restart("-persistmempool=0", "-walletbroadcast=0")
    await shop.until(invoice, payments=["dropped"])
    await shop.node.broadcast(raw)
    await shop.until(invoice, status="processing", payments=["detected"])


async def test_zero_confirmations_settle_small_amounts_that_do_not_signal_replacement(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    await bitcoind.restart(SIGNALS_COUNT)
    policy = (Confirmations(0, Fraction(50), "EUR"), Confirmations(1))
    async with open_shop(bitcoind, database, tmp_path, confirmations=policy) as shop:
        small, signalling, large = await shop.invoice(), await shop.invoice(), await shop.invoice("50.01")
        final = {"fee_rate": 5, "replaceable": False}
        await bitcoind.rpc.named("sendtoaddress", address=address(small), amount="0.001", **final)
        await bitcoind.rpc.named("sendtoaddress", address=address(signalling), amount="0.001", replaceable=True)
        await bitcoind.rpc.named("sendtoaddress", address=address(large), amount="0.0010002", **final)
        settled = await shop.until(small, status="settled")
        assert settled["payments"][0]["confirmations"] == 0
        await shop.until(signalling, status="processing")
        await shop.until(large, status="processing")


async def test_a9_an_ancestor_that_signals_replacement_keeps_a_payment_from_settling_without_a_block(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    await bitcoind.restart(SIGNALS_COUNT)
    policy = (Confirmations(0, Fraction(50), "EUR"), Confirmations(1))
    async with open_shop(bitcoind, database, tmp_path, confirmations=policy) as shop:
        invoice = await shop.invoice()
        await from_unconfirmed(bitcoind, address(invoice))
        await shop.until(invoice, payments=["detected"])
        await shop.caught_up()
        shown = await shop.shown(invoice)
        assert (shown["status"], shown["payments"][0]["confirmations_required"]) == ("processing", 1)


async def test_a14_a_node_that_replaces_any_transaction_settles_none_without_a_block(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    policy = (Confirmations(0, Fraction(50), "EUR"), Confirmations(1))
    async with open_shop(bitcoind, database, tmp_path, confirmations=policy) as shop:
        invoice = await shop.invoice()
        await bitcoind.rpc.named(
            "sendtoaddress", address=address(invoice), amount="0.001", fee_rate=5, replaceable=False
        )
        shown = await shop.until(invoice, status="processing", payments=["detected"])
        assert shown["payments"][0]["confirmations_required"] == 1
        await bitcoind.mine()
        await shop.until(invoice, status="settled")
        assert "invoice.reopened" not in await shop.events(invoice)


async def test_a14_a_zero_confirmation_settlement_that_is_double_spent_is_reversed(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    await bitcoind.restart(SIGNALS_COUNT)
    policy = (Confirmations(0, Fraction(50), "EUR"), Confirmations(1))
    async with open_shop(bitcoind, database, tmp_path, confirmations=policy) as shop:
        invoice = await shop.invoice()
        paid = await bitcoind.rpc.named(
            "sendtoaddress", address=address(invoice), amount="0.001", fee_rate=5, replaceable=False
        )
        await shop.until(invoice, status="settled")
        thief = await bitcoind.conflict(str(paid))
        await bitcoind.mine(transactions=[thief])
        await shop.until(invoice, status="new", flags=["reversed"], payments=["reversed"])
        assert await shop.books() == {}
