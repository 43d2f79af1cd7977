"""What only the Bitcoin family must do, against real nodes: outputs, inputs, coinbases, REST, ZMQ."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from kassa.chains.base import Connection
from kassa.chains.bitcoin.devnode import DevNode
from kassa.core.errors import ChainUnavailable
from tests.chains.bench import BITCOIN, SUBJECTS, Bench, Subject, Watched, watching
from tests.chains.liar import lying

UtxoBench = Bench[DevNode]


@pytest.fixture(params=["bitcoin-regtest", "litecoin-regtest"])
def network(request: pytest.FixtureRequest) -> tuple[Subject, DevNode]:
    """Each network of the family that has a node here, and that node."""
    subject = SUBJECTS[request.param]
    return subject, request.getfixturevalue(subject.fixture)


@pytest.fixture
async def utxo(network: tuple[Subject, DevNode]) -> AsyncIterator[UtxoBench]:
    async with watching(*network) as made:
        yield made


@pytest.fixture
async def bitcoin(bitcoind: DevNode) -> AsyncIterator[UtxoBench]:
    async with watching(BITCOIN, bitcoind) as made:
        yield made


async def test_each_output_of_a_transaction_is_its_own_transfer(utxo: UtxoBench) -> None:  # A20, A21
    ours, other, watched = utxo.address(), utxo.address(), Watched()
    watched.pay(ours, other)
    stranger = await utxo.node.address()
    outputs = [(ours.text, 3_000), (stranger, 9_000), (ours.text, 3_000), (other.text, 4_000)]
    await utxo.node.send_many(outputs)
    await utxo.node.mine()
    (block,) = await utxo.last(1, watched)
    (seen,) = block.transactions
    assert [(item.key.position, item.to, item.units) for item in seen.transfers] == [
        ("out:0", ours.script, 3_000),
        ("out:2", ours.script, 3_000),
        ("out:3", other.script, 4_000),
    ]


async def test_all_inputs_are_reported_as_the_node_names_them(utxo: UtxoBench) -> None:
    address, watched = utxo.address(), Watched()
    watched.pay(address)
    txid = await utxo.node.fund(address.text, 250_000_000)
    (seen,) = (await utxo.source.pending(watched, ())).transactions
    told = await utxo.node.transaction(txid)
    assert [item.outpoint for item in seen.inputs] == [f"{item['txid']}:{item['vout']}" for item in told["vin"]]


async def test_a_rival_seen_before_its_outpoint_was_watched_is_still_reported(bitcoin: UtxoBench) -> None:
    watched = Watched()
    stranger = await bitcoin.node.fund(await bitcoin.node.address(), 50_000)
    first = await bitcoin.source.pending(watched, ())
    assert (first.complete, first.transactions) == (True, ())
    told = await bitcoin.node.transaction(stranger)
    spent = bytes.fromhex(told["vin"][0]["txid"])[::-1]
    key = int.from_bytes(spent[:8], "little", signed=True) ^ told["vin"][0]["vout"]
    watched.outpoints = np.array([key], np.int64)
    (seen,) = (await bitcoin.source.pending(watched, ())).transactions
    assert seen.txid == stranger


async def test_a_coinbase_payment_says_how_deep_it_must_lie(utxo: UtxoBench) -> None:  # A15
    address, watched = utxo.address(), Watched()
    watched.pay(address)
    await utxo.node.mine(1, to=address.text)
    (block,) = await utxo.last(1, watched)
    (seen,) = block.transactions
    assert [item.maturity for item in seen.transfers] == [101]
    assert not seen.inputs


async def test_a_payment_that_leaves_the_mempool_is_missing_from_a_complete_look(bitcoin: UtxoBench) -> None:  # A13
    address, watched = bitcoin.address(), Watched()
    watched.pay(address)
    await bitcoin.node.fund(address.text, 50_000)
    assert (await bitcoin.source.pending(watched, ())).transactions
    await bitcoin.node.restart("-persistmempool=0", "-walletbroadcast=0")
    async with watching(BITCOIN, bitcoin.node) as again:
        pending = await again.source.pending(watched, ())
        assert (pending.complete, pending.transactions) == (True, ())


async def test_a_descendant_of_a_replaceable_transaction_is_replaceable(bitcoin: UtxoBench) -> None:  # A14
    address, watched = bitcoin.address(), Watched()
    watched.pay(address)
    node = bitcoin.node
    await node.restart("-mempoolfullrbf=0")
    parent = await node.fund(await node.address(), 1_000_000)
    told = await node.transaction(parent)
    number = next(item["n"] for item in told["vout"] if item["value"] * 100 == 1)
    spent = [{"txid": parent, "vout": number, "sequence": 0xFFFFFFFF}]
    draft = await node.rpc.call("createrawtransaction", spent, [{address.text: "0.009"}], 0, False)
    signed = await node.rpc.call("signrawtransactionwithwallet", draft)
    child = await node.broadcast(signed["hex"])
    (seen,) = (await bitcoin.source.pending(watched, ())).transactions
    assert (seen.txid, seen.replaceable) == (child, True)
    await node.mine(transactions=[parent])
    (later,) = (await bitcoin.source.pending(watched, ())).transactions
    assert (later.txid, later.replaceable) == (child, False)


async def test_blocks_are_read_without_the_rest_interface_too(utxo: UtxoBench) -> None:
    address, watched = utxo.address(), Watched()
    watched.pay(address)
    await utxo.node.fund(address.text, 50_000)
    await utxo.node.mine(3)
    with_rest = await utxo.last(5, watched)
    async with lying(utxo.node.rpc_url) as liar:
        liar.reply = lambda path: (404, b"") if path.startswith("/rest/") else None
        async with watching(utxo.subject, utxo.node, Connection(liar.url)) as without:
            assert await without.last(5, watched) == with_rest
            asked = len([path for path in liar.paths if path.startswith("/rest/")])
            assert await without.last(5, watched) == with_rest
            assert len([path for path in liar.paths if path.startswith("/rest/")]) == asked


async def test_an_impossible_push_address_is_named(bitcoin: UtxoBench) -> None:
    for wrong in ("nonsense", "tcp://127.0.0.1"):
        async with watching(BITCOIN, bitcoin.node, Connection(bitcoin.node.rpc_url, (wrong,))) as deaf:
            with pytest.raises(ChainUnavailable, match="zmq"):
                await anext(aiter(deaf.source.wake(Watched())))
