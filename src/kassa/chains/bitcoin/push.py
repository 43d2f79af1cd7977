"""Hints over ZMQ that a look is worthwhile. A message is never taken as a fact: it may be lost, repeated or forged."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import zmq
import zmq.asyncio

from kassa.chains.base import Watched
from kassa.chains.bitcoin.layout import Damaged
from kassa.chains.bitcoin.mempool import Mempool
from kassa.chains.bitcoin.transactions import RawTransaction, read_transaction, touches
from kassa.core.errors import ChainUnavailable

DEBOUNCE_SECONDS = 0.02
MESSAGE_LIMIT = 8 * 2**20  # bytes
UNSURE_LIMIT = 1000  # transactions held until the next refresh
TOPICS = (b"rawtx", b"hashblock", b"sequence")
_REMOVED = ord("R")


async def hints(endpoints: Sequence[str], watched: Watched, mempool: Mempool) -> AsyncGenerator[None, None]:
    """Yield at every block, at every transaction that touches a watched key, and when one of ours leaves the mempool.

    A transaction may pay an address that is newer than the keys in memory. So one that matches nothing is kept, the
    keys are refreshed once within `DEBOUNCE_SECONDS`, and only then is it let go.
    """
    context = zmq.asyncio.Context()
    loop = asyncio.get_running_loop()
    unsure: list[RawTransaction] = []
    refresh_at = 0.0
    try:
        socket = subscribe(context, endpoints)
        while True:
            wait = -1 if not unsure else max(0, int((refresh_at - loop.time()) * 1000) + 1)
            if await socket.poll(wait):
                worthwhile, raw = _read(await socket.recv_multipart(), mempool)
                if raw is not None:
                    worthwhile = touches(raw, watched.destinations, watched.outpoints)
                    if not worthwhile and len(unsure) < UNSURE_LIMIT:
                        refresh_at = refresh_at if unsure else loop.time() + DEBOUNCE_SECONDS
                        unsure.append(raw)
                if worthwhile:
                    yield
            # A stream of messages must not put off the refresh.
            if unsure and loop.time() >= refresh_at:
                await watched.refresh()
                held, unsure = unsure, []
                if any(touches(raw, watched.destinations, watched.outpoints) for raw in held):
                    yield
            await asyncio.sleep(0)  # a block's thousands of messages leave others their turn
    finally:
        context.destroy(linger=0)


def subscribe(context: zmq.asyncio.Context, endpoints: Sequence[str]) -> zmq.asyncio.Socket:
    """Open a socket on which everything arrives that may be worth a look; raise `ChainUnavailable` for no address."""
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_LIMIT)
    for topic in TOPICS:
        socket.setsockopt(zmq.SUBSCRIBE, topic)
    for endpoint in endpoints:
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise ChainUnavailable(f"{endpoint!r} in the network's zmq is no address to listen to: {error}") from None
    return socket


def _read(message: Sequence[bytes], mempool: Mempool) -> tuple[bool, RawTransaction | None]:
    """Return whether a message is worth a look by itself, or the transaction in it."""
    if len(message) < 2:
        return False, None
    topic, body = message[0], message[1]
    if topic == b"rawtx":
        with suppress(Damaged):
            return False, read_transaction(body, alone=True)
        return False, None
    if topic == b"sequence":
        return len(body) >= 33 and body[32] == _REMOVED and mempool.concerns_us(body[:32].hex()), None
    return topic == b"hashblock", None
