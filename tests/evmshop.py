"""A shop on a private Ethereum node: the follower and the clock run in this process, contracts are ours to deploy.

At the rates of `tests.house`, 50 EUR are 0.02 ETH, or 50 whole units of a token.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kassa import flow
from kassa.audit.model import Actor
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.rpc import JsonRpc
from kassa.core.clock import Clock, SystemClock
from kassa.core.money import Token
from kassa.db.pool import Database
from kassa.house import House
from kassa.stores.model import Store
from tests.contracts.deploy import Contract, deploy
from tests.house import XPUB, add_store, anvil_network, build_house
from tests.shop import Json, Shop, address, compare_with_fresh_scan

ANVIL = "anvil"
ETHER = 10**18
PRICE_WEI = 2 * 10**16
PRICE_USDC = 50 * 10**6


class EvmShop(Shop):
    """`rpc` speaks to the node itself, past whatever stands before it for Kassa."""

    def __init__(self, house: House, node: AnvilNode, store: Store, rpc: JsonRpc) -> None:
        super().__init__(house, node, store, ANVIL)  # type: ignore[arg-type]  # it asks no more than `base.DevNode`
        self.anvil, self.rpc = node, rpc

    async def mine(self, count: int = 1) -> None:
        """Mine what waits, and then some; wait until Kassa stands on the last block."""
        await self.anvil.mine(count)
        await self.caught_up()

    async def contract(self, name: str, *values: object, wei: int = 0) -> Contract:
        """Deploy one of the test contracts."""
        return await deploy(self.rpc, name, *values, wei=wei)

    async def paid(self, invoice: Json) -> list[tuple[str, str, str]]:
        """Return asset, position and amount of each payment of an invoice that is alive."""
        shown = await self.shown(invoice)
        alive = ("detected", "confirming", "settled")
        return [
            (payment["asset"].partition("@")[0], payment["position"], payment["amount"])
            for payment in shown["payments"]
            if payment["status"] in alive
        ]

    async def frozen(self) -> dict[str, str]:
        """Return why assets are frozen, by asset."""
        rows = await self.house.database.pool.fetch(
            "select asset, frozen_for from contracts where frozen_for is not null"
        )
        return {row["asset"]: row["frozen_for"] for row in rows}

    async def database_books(self) -> dict[tuple[str, str], int]:
        """Return the balances of the books that are not zero, by account and asset."""
        rows = await self.house.database.pool.fetch(
            "select account, asset, sum(units) as units from postings group by 1, 2 having sum(units) <> 0"
        )
        return {(row["account"], row["asset"]): int(row["units"]) for row in rows}

    async def until_frozen(self, asset: str) -> str:
        """Wait until an asset is frozen; return why."""

        async def look() -> Json:
            return {"frozen": asset in await self.frozen()}

        await self.until_seen(look, {"frozen": True})
        return (await self.frozen())[asset]

    async def thaw(self, asset: str) -> None:
        """Decide as an operator does with `kassa asset thaw`."""
        async with self.house.database.transaction() as tx:
            await flow.thaw_asset(tx, self.house, asset, Actor("operator test"), self.house.clock.now())

    async def only(self, asset: str, amount: str = "50.00", **more: Any) -> Json:
        """Make an invoice that offers one asset, by its symbol."""
        return await self.invoice(amount, payment_options=(f"{asset}@{ANVIL}",), **more)


def usdc(node: AnvilNode, decimals: int = 6) -> Token:
    """Return the node's demo token as settings name it."""
    return Token("USDC", node.tokens["USDC"], decimals)


def gem(contract: Contract, decimals: int = 6) -> Token:
    """Return a contract as the token GEM."""
    return Token("GEM", contract.address, decimals)


@asynccontextmanager
async def open_evm_shop(
    node: AnvilNode,
    database: Database,
    data_dir: Path,
    *tokens: Token,
    rpc_url: str | None = None,
    clock: Clock | None = None,
    ready: bool = True,
    **settings: object,
) -> AsyncIterator[EvmShop]:
    """Run a shop on an anvil; without `ready` nobody waits until the network was seen whole."""
    configured = anvil_network(rpc_url or node.rpc_url, *(tokens or (usdc(node),)), **settings)
    house = await build_house(database, data_dir, {ANVIL: configured}, clock or SystemClock())  # type: ignore[arg-type]
    async with database.transaction() as tx:
        store = await add_store(tx, house, ANVIL, XPUB)
    async with JsonRpc(node.rpc_url) as rpc:
        shop = EvmShop(house, node, store, rpc)
        shop.start()
        try:
            if ready:
                await shop.ready()
            yield shop
        finally:
            await shop.stop()
            await house.marks.close()


__all__ = [
    "ANVIL", "ETHER", "PRICE_USDC", "PRICE_WEI", "EvmShop", "address", "compare_with_fresh_scan", "gem",
    "open_evm_shop", "usdc",
]  # fmt: skip
