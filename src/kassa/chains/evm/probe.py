"""A closer look at a node than following it needs: its clock, as its HTTP answers tell it."""

from datetime import UTC, datetime

from kassa.chains.base import About, Connection
from kassa.chains.rpc import JsonRpc


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
        """Return what the node calls itself; it warns of nothing."""
        name = await self._rpc.call(str, "web3_clientVersion")
        return About("".join(filter(str.isprintable, name))[:200], outdated=False, warnings=())

    async def pushed(self, endpoint: str, seconds: float) -> str | None:
        """Return None: what this family pushes comes over its one connection."""
        return None

    async def close(self) -> None:
        """Close every connection."""
        await self._rpc.close()
