"""A shop on a real node: a store, the follower and the clock running in this process, on a real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kassa import flow
from kassa.chains.bitcoin.devnode import DevNode
from kassa.core.clock import Clock, SystemClock
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.house import House
from kassa.invoices.model import Order
from kassa.settings import Network
from kassa.stores.model import Store
from kassa.workers.follow_chain import follow_chain
from kassa.workers.tick import tick
from tests.house import BITCOIN, add_store, build_house, regtest
from tests.rescan import compare, copy_terms, stand_on_first
from tests.sizes import size

Json = dict[str, Any]
LIMIT_SECONDS = size(30, 900)
_PRICE = 100_000  # what 50 EUR are in satoshi at the fixed rate


class Shop:
    """What a test does with a shop, and what it sees of it."""

    def __init__(self, house: House, node: DevNode, store: Store, network: str) -> None:
        self.house, self.node, self.store, self.network = house, node, store, network
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *others: str) -> None:
        """Follow the chain and keep deadlines, until `stop`; or follow other networks too."""
        self._tasks += [asyncio.create_task(follow_chain(self.house, network)) for network in others]
        if not others:
            follow = follow_chain(self.house, self.network)
            self._tasks += [asyncio.create_task(follow), asyncio.create_task(tick(self.house))]

    async def stop(self) -> None:
        """End the follower and the clock in good order: Kassa is down."""
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for end in ends:
            if end is not None and not isinstance(end, asyncio.CancelledError):
                raise end

    @property
    def running(self) -> bool:
        return all(not task.done() for task in self._tasks)

    async def ready(self) -> None:
        """Wait until the network was seen whole."""
        await self.until_network(state="ok")

    async def heard(self) -> None:
        """Wait until the node was asked again."""
        now = self.house.clock.now()

        async def look() -> Json:
            row = await self.house.database.pool.fetchrow("select * from networks where id = $1", self.network)
            return {"heard": row["contacted_at"] > now}

        await self._until(look, lambda seen: seen, {"heard": True})

    async def until_network(self, network: str | None = None, **expected: object) -> Json:
        """Wait until the row of the network, or of another, shows all of this."""
        name = network or self.network

        async def look() -> Json | None:
            row = await self.house.database.pool.fetchrow("select * from networks where id = $1", name)
            return None if row is None or row["observed_at"] is None else dict(row)

        return await self._until(look, lambda row: {name: row[name] for name in expected}, expected)

    async def caught_up(self) -> None:
        """Wait until we stand on the node's tip and have seen its mempool after that."""
        now = self.house.clock.now()
        tip = await self.node.tip()

        async def look() -> Json:
            row = await self.house.database.pool.fetchrow("select * from networks where id = $1", self.network)
            return {"hash": row["hash"], "seen": row["observed_at"] is not None and row["observed_at"] >= now}

        await self._until(look, lambda row: row, {"hash": tip.hash, "seen": True})

    async def invoice(self, amount: str = "50.00", *, store: Store | None = None, **more: Any) -> Json:
        """Make an invoice (50 EUR are 0.001 BTC)."""
        now = self.house.clock.now()
        opening = await flow.quote_invoice(self.house, store or self.store, Order(amount, "EUR", **more), now)
        async with self.house.database.transaction() as tx:
            return await flow.open_invoice(tx, self.house, opening, now)

    async def pay(self, invoice: Json, units: int = _PRICE) -> str:
        """Pay an invoice's address from the node's wallet; return the txid."""
        return await self.node.fund(address(invoice), units)

    async def shown(self, invoice: Json, store: Store | None = None) -> Json:
        async with self.house.database.transaction() as tx:
            return await flow.invoice_resource(
                tx, self.house, store or self.store, invoice["id"], self.house.clock.now()
            )

    async def until(self, invoice: Json, store: Store | None = None, **expected: object) -> Json:
        """Wait until an invoice shows all of this; `payments` compares their statuses in order."""
        return await self._until(lambda: self.shown(invoice, store), lambda shown: _part(shown, expected), expected)

    async def events(self, invoice: Json) -> list[str]:
        """Return the types of an invoice's events, in order."""
        rows = await self.house.database.pool.fetch(
            "select type from events where invoice_id = $1 order by position", invoice["id"]
        )
        return [row["type"] for row in rows]

    async def until_event(self, invoice: Json, type_: str) -> None:
        """Wait until an event of this type was announced of an invoice."""

        async def look() -> Json:
            return {"said": type_ in await self.events(invoice)}

        await self._until(look, lambda seen: seen, {"said": True})

    async def until_seen(self, look: Callable[[], Awaitable[Json]], expected: Json) -> None:
        """Wait until a look of the test's own sees this."""
        await self._until(look, lambda seen: seen, expected)

    async def books(self) -> dict[str, int]:
        """Return the balances of the books that are not zero."""
        rows = await self.house.database.pool.fetch(
            "select account, sum(units) as units from postings group by 1 having sum(units) <> 0"
        )
        return {row["account"]: int(row["units"]) for row in rows}

    async def _until(self, look: Any, part: Callable[[Json], object], expected: object) -> Json:
        seen: Json | None = None
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                while (seen := await look()) is None or part(seen) != expected:  # noqa: ASYNC110 rows tell nobody
                    await asyncio.sleep(0.01)
        except TimeoutError:
            got = None if seen is None else part(seen)
            raise AssertionError(f"expected {expected}, after {LIMIT_SECONDS} s still {got}") from None
        return seen


def address(invoice: Json) -> str:
    return str(invoice["payment_options"][0]["address"])


def _part(shown: Json, expected: dict[str, object]) -> Json:
    part = {name: shown[name] for name in expected}
    if "payments" in expected:
        part["payments"] = [payment["status"] for payment in shown["payments"]]
    return part


@asynccontextmanager
async def open_shop(
    node: DevNode,
    database: Database,
    data_dir: Path,
    *,
    clock: Clock | None = None,
    network: str = BITCOIN,
    rpc_url: str | None = None,
    beside: Sequence[Network] = (),
    **settings: object,
) -> AsyncIterator[Shop]:
    """Run a shop on a node, asked by way of `rpc_url` if given; `beside` are further networks of the same house.

    `settings` are those of the network (`zmq`, `confirmations`, `max_reorg`, …).
    """
    configured = regtest(network, node.rpc_url, zmq=node.push, poll_seconds=1, drop_after_seconds=2)
    if rpc_url is not None:
        configured = replace(configured, rpc_url=Secret(rpc_url))
    configured = replace(configured, **settings)  # type: ignore[arg-type]
    house = await build_house(
        database, data_dir, {network: configured, **{each.name: each for each in beside}}, clock or SystemClock()
    )  # type: ignore[arg-type]
    async with database.transaction() as tx:
        store = await add_store(tx, house, network)
    shop = Shop(house, node, store, network)
    shop.start()
    try:
        await shop.ready()
        yield shop
    finally:
        await shop.stop()
        await house.marks.close()


async def compare_with_fresh_scan(shop: Shop, fresh: Database, data_dir: Path) -> None:
    """Stop a shop on its node's tip; let an empty Kassa with the same terms scan its chain, past any proxy."""
    await shop.caught_up()
    await shop.stop()
    network = replace(shop.house.settings.networks[shop.network], rpc_url=Secret(shop.node.rpc_url))
    house = await build_house(fresh, data_dir, {shop.network: network}, shop.house.clock)  # type: ignore[arg-type]
    await copy_terms(shop.house, house)
    await stand_on_first(shop.house, house)
    scan = Shop(house, shop.node, shop.store, shop.network)
    scan.start()
    try:
        await scan.caught_up()
    finally:
        await scan.stop()
        await house.marks.close()
    await compare(shop.house, house)
