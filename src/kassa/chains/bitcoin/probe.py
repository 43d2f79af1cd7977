"""A closer look at a node than following it needs: its clock, and whether what it publishes arrives."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import zmq.asyncio

from kassa.chains.base import Connection
from kassa.chains.bitcoin.push import subscribe
from kassa.chains.rpc import JsonRpc


class _Totals(msgspec.Struct):
    """What we read of `getnettotals`: the only answer that tells the machine's time, which no setting can mock."""

    timemillis: Annotated[int, msgspec.Meta(ge=0, le=2**48)]


class BitcoinProbe:
    """A `Probe`."""

    def __init__(self, connection: Connection) -> None:
        self._rpc = JsonRpc(connection.rpc_url)

    async def clock(self) -> datetime:
        """Return the time of day on the node's machine, to the millisecond."""
        totals = await self._rpc.call(_Totals, "getnettotals")
        return datetime.fromtimestamp(totals.timemillis / 1000, UTC)

    async def pushed(self, endpoint: str, seconds: float) -> str | None:
        """Listen to one ZMQ address; return the topic of the first message that a look would follow from."""
        context = zmq.asyncio.Context()
        try:
            socket = subscribe(context, (endpoint,))
            async with asyncio.timeout(seconds):
                topic, *_ = await socket.recv_multipart()
            return bytes(topic).decode("ascii", "replace")[:20]
        except TimeoutError:
            return None
        finally:
            context.destroy(linger=0)

    async def close(self) -> None:
        """Close every connection."""
        await self._rpc.close()
