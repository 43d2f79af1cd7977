"""D29: what a flood of foreign transactions costs a look at the mempool, and what it must not hide."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import cast

import pytest
import zmq
import zmq.asyncio

from kassa.chains.bitcoin import mempool
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.bitcoin.mempool import Mempool, _Seen
from kassa.chains.bitcoin.push import hints
from kassa.chains.bitcoin.transactions import RawTransaction, read_transaction, transaction_keys
from kassa.chains.matching import NO_KEYS
from tests.chains.bench import BITCOIN, Bench, Watched, watching
from tests.e2e.test_floods import spending


@pytest.fixture
async def bitcoin(bitcoind: DevNode) -> AsyncIterator[Bench[DevNode]]:
    async with watching(BITCOIN, bitcoind) as made:
        yield made


def foreign(number: int) -> bytes:
    """Return a transaction that pays a script of nobody's."""
    return bytes.fromhex(spending(sha256(str(number).encode()).hexdigest(), 0))


def read(number: int) -> RawTransaction:
    return read_transaction(foreign(number), alone=True)


async def test_d29_a_look_at_a_flood_ends_in_time_says_so_and_is_gone_on_with_by_the_next(
    bitcoin: Bench[DevNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mempool, "FETCHED_AT_ONCE", 2)
    monkeypatch.setattr(mempool, "LOOK_SECONDS", 0)
    address, watched = bitcoin.address(), Watched()
    watched.pay(address)
    stranger = await bitcoin.node.address()
    for _ in range(6):
        await bitcoin.node.fund(stranger, 50_000)
    ours = await bitcoin.node.fund(address.text, 50_000)
    looks = [await bitcoin.source.pending(watched, ()) for _ in range(4)]
    assert [each.complete for each in looks] == [False, False, False, True]
    assert [each.txid for each in looks[-1].transactions] == [ours]


async def test_d29_an_address_is_watched_from_the_next_look_on_though_each_has_news(bitcoin: Bench[DevNode]) -> None:
    address, watched = bitcoin.address(), Watched()
    for _ in range(2):
        await bitcoin.node.fund(await bitcoin.node.address(), 50_000)
        assert (await bitcoin.source.pending(watched, ())).transactions == ()
    watched.committed = [address.key]
    ours = await bitcoin.node.fund(address.text, 50_000)
    assert [each.txid for each in (await bitcoin.source.pending(watched, ())).transactions] == [ours]


def test_d29_what_has_left_the_mempool_takes_no_memory() -> None:
    at_once, rounds = 500, 12
    seen, most = _Seen(), 0
    for round_ in range(rounds):
        fetched = [read(number) for number in range(round_ * at_once, (round_ + 1) * at_once)]
        seen.keep_only([])
        seen.add(fetched, NO_KEYS, NO_KEYS)
        most = max(most, seen.size)
    keys = sum(part.size for part in transaction_keys(fetched[0]))
    assert most <= keys * (1_000 + 2 * at_once)
    # Two that have left, long ago and just now, and one that is there.
    for number, raw in ((0, None), (at_once * (rounds - 1) - 1, None), (at_once * rounds - 1, fetched[-1])):
        pays, spends = transaction_keys(read(number))
        assert seen.matching(pays, NO_KEYS) == seen.matching(NO_KEYS, spends) == ([raw.txid] if raw else [])


async def test_d29_a_stream_of_foreign_transactions_puts_off_no_hint() -> None:
    context, watched = zmq.asyncio.Context(), Watched()
    publisher = context.socket(zmq.PUB)
    publisher.set_hwm(0)
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    found = hints([f"tcp://127.0.0.1:{port}"], watched, cast(Mempool, None))  # asked of what leaves it alone
    hint = asyncio.ensure_future(anext(found))
    ours, sent = read(0), 0
    try:
        async with asyncio.timeout(60):
            while not hint.done():
                if watched.refreshes and not watched.committed and not watched.destinations.size:
                    watched.committed = transaction_keys(ours)[0].tolist()
                    await publisher.send_multipart([b"rawtx", foreign(0), b""])
                for _ in range(5):
                    sent += 1
                    await publisher.send_multipart([b"rawtx", foreign(sent), b""])
                await asyncio.sleep(0)
        await hint
    finally:
        hint.cancel()
        await asyncio.wait([hint])
        await found.aclose()
        context.destroy(linger=0)
