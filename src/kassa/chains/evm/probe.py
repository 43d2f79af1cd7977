"""A closer look at a node than following it needs: its clock, as its HTTP answers tell it."""

from datetime import UTC, datetime
from decimal import Decimal

from kassa.chains.base import About, Connection
from kassa.chains.evm.hexadecimal import number
from kassa.chains.rpc import JsonRpc
from kassa.core.errors import ChainError


class EvmProbe:
    """A `Probe`."""

    def __init__(self, connection: Connection) -> None:
        self._rpc = JsonRpc(connection.rpc_url)

    async def clock(self) -> datetime | None:
        """Return the time of day that the node's answer bears, to the second; None over WebSocket.

        Ethereum's JSON-RPC does not tell it, and the time of a block is that of its slot. Behind a gateway it is the
        gateway's.
        """
        await self._rpc.call(str, "eth_chainId")
        date = self._rpc.date
        return date if date is None or date.tzinfo is not None else date.replace(tzinfo=UTC)

    async def about(self) -> About:
        """Return what the node calls itself, its peers, and what gas costs; it warns of nothing.

        Nodes that are rented tell less: of peers and fees, nothing is concluded from a refusal.
        """
        name = await self._rpc.call(str, "web3_clientVersion")
        peers, price = await self._told("net_peerCount"), await self._told("eth_gasPrice")
        return About(
            "".join(filter(str.isprintable, name))[:200],
            outdated=False,
            warnings=(),
            peers=None if peers is None else min(peers, 2**31 - 1),
            fee=None if price is None else f"{_gwei(min(price, 2**63))} gwei",
        )

    async def _told(self, method: str) -> int | None:
        try:
            return number(await self._rpc.call(str, method))
        except ChainError:
            return None

    async def pushed(self, endpoint: str, seconds: float) -> str | None:
        """Return None: what this family pushes comes over its one connection."""
        return None

    async def close(self) -> None:
        """Close every connection."""
        await self._rpc.close()


def _gwei(wei: int) -> Decimal:
    return (Decimal(wei) / 10**9).quantize(Decimal("0.001"))
