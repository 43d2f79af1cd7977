"""A14: whose place another transaction may take, asked of a real node: none of these is trusted without a block."""

from typing import Any

from kassa.chains.base import Connection
from kassa.core.facts import Transaction
from tests.chains.bench import BITCOIN, Watched, watching
from tests.chains.test_bitcoin_source import UtxoBench
from tests.chains.test_bitcoin_source import bitcoin as bitcoin  # noqa: PLC0414  # a fixture
from tests.tools.liar import Liar

SIGNALS_COUNT = "-mempoolfullrbf=0"
"""The node replaces only what signals that it may be: no longer how Bitcoin Core comes."""


async def test_a_payment_that_signals_nothing_is_replaceable_where_the_node_replaces_any(bitcoin: UtxoBench) -> None:
    address, watched = bitcoin.address(), Watched()
    watched.pay(address)

    async def replaceable(connection: Connection) -> bool:
        async with watching(BITCOIN, bitcoin.node, connection) as fresh:
            (seen,) = (await fresh.source.pending(watched, ())).transactions
            return seen.replaceable

    node = bitcoin.node
    await node.rpc.named("sendtoaddress", address=address.text, amount="0.001", fee_rate=5, replaceable=False)
    assert (await node.rpc.call("getmempoolinfo"))["fullrbf"]
    assert await replaceable(Connection(node.rpc_url))
    async with Liar(node.rpc_url) as liar:  # as Bitcoin Core 31 answers
        liar.on("getmempoolinfo").mutate(lambda said: _without(said, "fullrbf") | {"limitclustercount": 64})
        liar.on("getmempoolentry").mutate(lambda said: _without(said, "bip125-replaceable"))
        assert await replaceable(Connection(liar.url))
    await node.restart(SIGNALS_COUNT)
    assert not await replaceable(Connection(node.rpc_url))


async def test_a_payment_below_the_mempool_minimum_is_replaceable(bitcoin: UtxoBench) -> None:
    address, watched = bitcoin.address(), Watched()
    watched.pay(address)
    node = bitcoin.node
    await node.restart(SIGNALS_COUNT, "-walletbroadcast=0")
    raws = {}
    for rate in (9, 11):  # sat/vB
        options = {"fee_rate": rate, "replaceable": False, "add_to_wallet": False}
        sent = await node.rpc.call("send", [{address.text: "0.001"}], None, "unset", None, options)
        raws[rate] = str(sent["txid"]), str(sent["hex"])
    await node.restart(SIGNALS_COUNT, "-minrelaytxfee=0.0001")  # 10 sat/vB
    await node.rpc.call("prioritisetransaction", raws[9][0], 0, 100_000)
    for _, raw in raws.values():
        await node.broadcast(raw)
    pending = await bitcoin.source.pending(watched, ())
    assert {seen.txid: seen.replaceable for seen in pending.transactions} == {raws[9][0]: True, raws[11][0]: False}


async def test_a_payment_at_the_end_of_a_chain_of_unconfirmed_ones_is_replaceable(bitcoin: UtxoBench) -> None:
    addresses, watched = [bitcoin.address() for _ in range(4)], Watched()
    watched.pay(*addresses)
    node = bitcoin.node
    await node.restart(SIGNALS_COUNT)
    coin, links = (await node.rpc.call("listunspent"))[0], []
    spent, number, left = coin["txid"], coin["vout"], int(coin["amount"] * 10**8)
    for address in addresses:
        change, left = await node.address(), left - 60_000
        outputs = [{address.text: "0.0005"}, {change: f"{left / 10**8:.8f}"}]
        draft = await node.rpc.call("createrawtransaction", [{"txid": spent, "vout": number}], outputs, 0, False)
        signed = await node.rpc.call("signrawtransactionwithwallet", draft)
        spent, number = await node.broadcast(signed["hex"]), 1
        links.append(spent)
    pending = await bitcoin.source.pending(watched, ())
    found = {seen.txid: seen.replaceable for seen in pending.transactions}
    assert [found[link] for link in links] == [False, False, False, True]
    await node.mine(transactions=links[:1])
    pending = await bitcoin.source.pending(watched, ())
    assert not any(seen.replaceable for seen in pending.transactions)


async def test_a_payment_of_which_the_node_does_not_say_more_is_replaceable_until_it_does(bitcoin: UtxoBench) -> None:
    address, watched = bitcoin.address(), Watched()
    watched.pay(address)
    node = bitcoin.node
    await node.restart(SIGNALS_COUNT)
    await node.rpc.named("sendtoaddress", address=address.text, amount="0.001", fee_rate=5, replaceable=False)
    async with Liar(node.rpc_url) as liar, watching(BITCOIN, node, Connection(liar.url)) as fresh:
        silent = liar.on("getmempoolentry").error(-5, "Transaction not in mempool")
        looks = []
        for _ in range(2):
            looks += [seen.replaceable for seen in (await fresh.source.pending(watched, ())).transactions]
            silent.off()
        assert looks == [True, False]


async def test_a_refused_answer_takes_no_trust_back_and_an_answer_does(bitcoin: UtxoBench) -> None:
    address, watched = bitcoin.address(), Watched()
    watched.pay(address)
    node = bitcoin.node
    await node.restart(SIGNALS_COUNT)
    sent = {"address": address.text, "amount": "0.001", "fee_rate": 5, "replaceable": False}
    await node.rpc.named("sendtoaddress", **sent)
    async with Liar(node.rpc_url) as liar, watching(BITCOIN, node, Connection(liar.url)) as fresh:

        async def look() -> Transaction:
            (seen,) = (await fresh.source.pending(watched, ())).transactions
            return seen

        first = await look()
        assert not first.replaceable
        refused = liar.on("getmempoolentry").error(-5, "Transaction not in mempool")
        await node.mine(transactions=[])
        assert await look() == first
        watched.spend(first)  # what is watched has grown: it is matched anew
        assert await look() == first
        refused.off()
        liar.on("getmempoolentry").mutate(lambda said: said | {"bip125-replaceable": True})
        assert (await look()).replaceable


def _without(said: dict[str, Any], name: str) -> dict[str, Any]:  # JSON
    return {key: value for key, value in said.items() if key != name}
