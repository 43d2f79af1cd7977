"""A closer look at a node than following it needs: its clock, and whether what it publishes arrives."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import msgspec
import zmq.asyncio

from kassa.chains.base import About, Connection
from kassa.chains.bitcoin.push import subscribe
from kassa.chains.rpc import Fault, JsonRpc


class _Totals(msgspec.Struct):
    """What we read of `getnettotals`: the only answer that tells the machine's time, which no setting can mock."""

    timemillis: Annotated[int, msgspec.Meta(ge=0, le=2**47)]  # in the year 6429


class _Node(msgspec.Struct):
    """What we read of `getnetworkinfo`. `warnings` is one text before Bitcoin Core 28, then a list."""

    version: Annotated[int, msgspec.Meta(ge=0, le=2**32)]
    subversion: str
    connections: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    warnings: str | list[str] = ""


class _Fee(msgspec.Struct):
    """What we read of `estimatesmartfee`: whole coins for 1,000 virtual bytes; none while too little was seen."""

    feerate: Decimal | None = None


_FEE_BLOCKS = 6
_MOST_FEE = 21_000_000
_PER_BYTE = 10**8 // 1_000
"""From whole coins for 1,000 virtual bytes to smallest units for one."""


class BitcoinProbe:
    """A `Probe`."""

    def __init__(self, connection: Connection, least_version: int = 0) -> None:
        self._rpc = JsonRpc(connection.rpc_url)
        self._least_version = least_version

    async def clock(self) -> datetime:
        """Return the time of day on the node's machine, to the millisecond."""
        totals = await self._rpc.call(_Totals, "getnettotals")
        return datetime.fromtimestamp(totals.timemillis / 1000, UTC)

    async def about(self) -> About:
        """Return what the node calls itself, whether it is too old for the chain's rules, and what it warns of."""
        told, fee = await self._rpc.batch_raw([("getnetworkinfo", ()), ("estimatesmartfee", (_FEE_BLOCKS,))])
        if isinstance(told, Fault):
            raise self._rpc.refused("getnetworkinfo", told)
        node = self._rpc.read(_Node, told, "getnetworkinfo")
        warnings = [node.warnings] if isinstance(node.warnings, str) else node.warnings
        return About(
            _line(node.subversion),
            node.version < self._least_version,
            tuple(_line(each) for each in warnings if each.strip()),
            node.connections,
            None if isinstance(fee, Fault) else _fee(self._rpc.read(_Fee, fee, "estimatesmartfee")),
        )

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


def _fee(told: _Fee) -> str | None:
    if told.feerate is None or not 0 <= told.feerate <= _MOST_FEE:
        return None
    return f"{(told.feerate * _PER_BYTE).quantize(Decimal('0.1'))} sat/vB"


def _line(text: str) -> str:
    """Make a node's text fit for a line that people read."""
    return "".join(each if each.isprintable() else " " for each in text).strip()[:200]
