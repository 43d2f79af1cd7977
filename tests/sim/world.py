"""Kassa beside a toy chain: the real follower and database, a clock moved by hand, the oracle after each step."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from kassa import flow
from kassa.audit.model import Actor
from kassa.chains.base import Connection
from kassa.core.errors import Conflict, LeaseLost, NotFound, Unavailable
from kassa.core.facts import BlockRef, Pending
from kassa.core.ids import CustomerId, LinkId, new_id
from kassa.core.money import currency, format_units
from kassa.customers import store as customers
from kassa.customers.model import Customer
from kassa.db.pool import Database, Tx
from kassa.flow.contracts import freeze_asset
from kassa.house import House
from kassa.invoices.model import Decision, Order
from kassa.invoices.policy import Over, Policy, Short
from kassa.links import store as links
from kassa.links.model import Chosen, Link
from kassa.settings import Confirmations, Rates
from kassa.stores.model import Store
from kassa.wallets import store as wallets
from kassa.watch import store as watch
from kassa.watch.keys import WatchedKeys
from kassa.watch.model import ChainUpdate
from kassa.workers.follow_chain import Follower
from tests.house import BITCOIN, RATES, SetClock, add_store, build_house, regtest
from tests.oracle import Oracle, Output, Truth, check_chain
from tests.rescan import compare, copy_terms
from tests.sim.toychain import ASSET, ToyBlock, ToyChain, ToySource, ToyTx

LEASE_SECONDS = 600
MAX_REORG = 6
DROP_AFTER_SECONDS = 10
# Up to 20 EUR without a confirmation, up to 100 EUR with one, above with three.
CONFIRMATIONS = (
    Confirmations(0, Fraction(20), "EUR"),
    Confirmations(1, Fraction(100), "EUR"),
    Confirmations(3),
)
CREDITING = Policy(tolerance_units=30, short=Short.CREDIT, over=Over.CREDIT, late_grace_seconds=20)
TOLERANT = Policy(tolerance_ppm=20_000, short=Short.ACCEPT, short_limit_ppm=400_000)
FOREIGN = b"\x00\x14" + b"\xee" * 20


@dataclass
class World:
    """One Kassa and one chain; every verb is something that could happen on a real day."""

    house: House
    clock: SetClock
    chain: ToyChain
    source: ToySource
    stores: list[Store]
    oracle: Oracle
    follower: Follower | None = None
    invoices: list[dict[str, Any]] = field(default_factory=list)
    # The customers of each store, with the script of their deposit address.
    customers: list[list[tuple[str, bytes]]] = field(default_factory=list)
    # Of each store one that is paid again and again: by every invoice that is for no customer.
    links: list[LinkId] = field(default_factory=list)
    # The moments at which everything there was had been seen.
    observed: list[datetime] = field(default_factory=list)

    @property
    def network(self) -> Any:
        return self.house.settings.networks[BITCOIN]

    async def start(self) -> None:
        """Begin to follow, as a process that has just started; whoever followed before has lost the lease."""
        async with self.house.database.transaction() as tx:
            await watch.register(tx, BITCOIN, BITCOIN)
            await tx.execute("update networks set lease_until = null")
            position = await watch.take_lease(tx, BITCOIN, "sim", LEASE_SECONDS)
        assert position is not None
        source = self.house.chains[BITCOIN].connect(Connection(""))
        self.follower = Follower(self.house, self.network, source, position)

    async def invoice(
        self,
        amount: str = "50.00",
        store: int = 0,
        expires_in: int = 900,
        customer: str | None = None,
        **policy: object,
    ) -> dict[str, Any] | None:
        """Open an invoice; None where the network cannot be offered now."""
        now = self.clock.now()
        order = Order(amount, "EUR", expires_in=expires_in, customer_id=customer, policy=policy)
        try:
            opening = await flow.quote_invoice(self.house, self.stores[store], order, now)
        except Unavailable:
            return None
        if customer is None:
            opening = replace(opening, terms=replace(opening.terms, link_id=self.links[store]))
        async with self.house.database.transaction() as tx:
            made = await flow.open_invoice(tx, self.house, opening, now)
        self.invoices.append(made)
        return made

    async def customer(self, store: int) -> None:
        """Make a customer of a store, with a deposit address."""
        now = self.clock.now()
        made = Customer(CustomerId(new_id("cus", now)), self.stores[store].id, None, None, "{}", now)
        async with self.house.database.transaction() as tx:
            await customers.put(tx, made)
        issuing = await flow.prepare_address(self.house, self.stores[store], made.id, ASSET, "key_test")
        async with self.house.database.transaction() as tx:
            issued = await flow.issue_address(tx, self.house, self.stores[store], made.id, issuing, now)
        self.customers[store].append((made.id, self.house.chains[BITCOIN].addresses.parse(issued["address"])))

    async def spend(self, invoice: dict[str, Any], units: int | None = None) -> bool:
        """Pay an invoice from its customer's credit, as far as that is possible."""
        amount = None if units is None else format_units(units, 8)
        now = self.clock.now()

        async def work(tx: Tx) -> None:
            await flow.pay_from_credit(tx, self.house, self.store_of(invoice), invoice["id"], ASSET, amount, "sim", now)

        try:
            await self.house.database.run(work)
        except Conflict:
            return False
        return True

    async def write_off(self, store: int, customer: str, units: int | None) -> bool:
        """Write off what a customer owes (without units, all of it), as far as that is possible."""
        amount = None if units is None else format_units(units, 8)
        now, owner = self.clock.now(), self.stores[store]

        async def work(tx: Tx) -> None:
            await flow.write_off(tx, owner, customer, ASSET, amount, "gone", Actor("sim"), now)

        try:
            await self.house.database.run(work)
        except Conflict:
            return False
        return True

    def store_of(self, invoice: dict[str, Any]) -> Store:
        return next(store for store in self.stores if store.id == invoice["store_id"])

    def script(self, invoice: dict[str, Any]) -> bytes:
        return self.house.chains[BITCOIN].addresses.parse(invoice["payment_options"][0]["address"])

    def due(self, invoice: dict[str, Any]) -> int:
        whole, _, cents = invoice["payment_options"][0]["amount"].partition(".")
        return int(whole + cents)

    def tx(
        self, *outputs: tuple[bytes, int], spends: Sequence[str] = (), signals: bool = False, name: str = ""
    ) -> ToyTx:
        return ToyTx(name or self.chain.name("tx"), tuple(spends) or (self.chain.coin(),), outputs, signals)

    def paying(self, invoice: dict[str, Any], units: int | None = None, **more: Any) -> ToyTx:
        """Build a transaction that pays an invoice what is due, or so many units."""
        return self.tx((self.script(invoice), self.due(invoice) if units is None else units), **more)

    async def look(self) -> None:
        """Let the follower look until nothing disturbs it any more; then the clock's gate comes by."""
        assert self.follower is not None
        for _ in range(len(self.source.faults)):
            if self.source.faults:
                await self.follower.look()
                await self._check_missing()
        self.source.faults.clear()  # a halted network asks its node nothing
        await self.follower.look()
        await self.tick()

    def price(self, rate: Fraction) -> None:
        """Let a bitcoin be worth so many euros from now on; what was fixed before stays."""
        fixed = self.house.settings.rates.fixed
        assert isinstance(fixed, dict)
        fixed["BTC/EUR"] = rate

    async def tick(self) -> None:
        while await self.house.database.run(lambda tx: flow.on_deadlines(tx, self.house, self.clock.now())):
            pass

    async def mark(self, invoice: dict[str, Any], decision: Decision) -> None:
        async with self.house.database.transaction() as tx:
            await flow.mark_invoice(
                tx, self.house, self.store_of(invoice), invoice["id"], decision, Actor("sim"), self.clock.now()
            )

    async def freeze(self) -> None:
        """Let there be a doubt about the asset."""
        async with self.house.database.transaction() as tx:
            await freeze_asset(tx, BITCOIN, ASSET, "as if", self.clock.now())

    async def thaw(self) -> None:
        """Decide as an operator does that there is no doubt any more, if there is one."""
        async with self.house.database.transaction() as tx:
            if (await watch.positions(tx))[BITCOIN].frozen:
                await flow.thaw_asset(tx, self.house, ASSET, Actor("operator test"), self.clock.now())

    async def unissued(self, above: int) -> bytes:
        """Return the script of an address that nobody was given yet, so many above the counter."""
        (keychain,) = await wallets.keychains(self.house.database.pool)
        derived = self.house.chains[BITCOIN].addresses.derive(keychain.descriptor, keychain.next_index + above)
        return derived.script

    async def assign(self, which: int, store: int, customer: str | None) -> None:
        """Decide as the operator, for the stores share a wallet, whose money is that was sent to an address of nobody.

        What another store has by now is out of reach.
        """
        rows = await self.house.database.pool.fetch(
            "select id from payments where invoice_id is null and (store_id is null or assigned_to is not null)"
            " order by id"
        )
        if not rows:
            return
        payment, now = rows[which % len(rows)]["id"], self.clock.now()

        async def work(tx: Tx) -> None:
            given = self.house, self.stores[store], payment, customer, Actor("sim"), now
            await flow.assign_payment(tx, *given, as_operator=True)

        with suppress(NotFound):
            await self.house.database.run(work)

    async def shown(self, invoice: dict[str, Any]) -> dict[str, Any]:
        async with self.house.database.transaction() as tx:
            return await flow.invoice_resource(tx, self.house, self.store_of(invoice), invoice["id"], self.clock.now())

    async def link(self) -> dict[str, Any]:
        """Return the link of the first store as it stands, its sums made one."""
        async with self.house.database.transaction() as tx:
            await flow.keep_sums(tx, self.clock.now())
            return await flow.link_resource_of(tx, self.house, self.stores[0], self.links[0], self.clock.now())

    async def position(self) -> Any:
        async with self.house.database.transaction() as tx:
            return (await watch.positions(tx))[BITCOIN]

    async def resume(self) -> None:
        """Do what an operator does after a halt, having looked at the chain."""
        async with self.house.database.transaction() as tx:
            await flow.resume_network(tx, BITCOIN, 1000, Actor("operator test"), self.clock.now())

    async def step(self) -> None:
        """Look, and compare everything with the chain, which the follower had the chance to see whole."""
        quiet = not self.source.faults and (await self.position()).state != "halted"
        await self.look()
        await self.oracle.check()
        await self._check_missing()
        position, tip = await self.position(), self.chain.blocks[self.chain.tip]
        shown = self.source.view()[-1]
        if position.tip == BlockRef(tip.height, tip.hash):
            looked = position.observed_at == self.clock.now() and not self.source.behind and self.source.whole
            if looked:
                self.observed.append(self.clock.now())
            excused = self.source.behind or not self.source.whole or position.state == "halted"
            assert looked or excused, "a look at our own tip did not count"
            await check_chain(self.house, truth_of(self.chain), looked=looked)
            await self._check_first_sight()
            return
        depth = position.tip.height - self._parting(position.tip.hash)
        if position.state == "halted":
            # Since it halted, the node may have changed its mind.
            assert depth > MAX_REORG or not quiet, f"halted at a reorganisation of {depth} blocks"
        else:
            assert shown.height < position.tip.height or self.source.behind, "the follower does not follow"
            assert shown.height <= position.tip.height, "the follower does not follow a lagging node as far as it shows"

    def _parting(self, ours: str) -> int:
        """Return the height of the last block that our chain and the node's have in common."""
        theirs = {block.hash for block in self.chain.path()}
        return max(block.height for block in self.chain.path(ours) if block.hash in theirs)

    async def stale_follower_is_refused(self) -> None:
        """Let another process take over; the first one, which does not know, must not be able to write anything."""
        before, stale, held = await self._everything(), self.follower, await self.position()
        await self.start()
        assert stale is not None
        started = await self._everything()
        try:
            await stale.look()
        except LeaseLost:
            pass
        else:
            # It may find that there is nothing to do, but not one row may be its own.
            assert (await self.position()).state == "halted", "a follower without the lease went on"
        now = self.clock.now()
        pending = Pending(held.tip, True, ())
        with pytest.raises(LeaseLost):
            await self.house.database.run(
                lambda tx: flow.on_pending(tx, self.house, held, pending, now, LEASE_SECONDS, now)
            )
        with pytest.raises(LeaseLost):
            await self.house.database.run(
                lambda tx: flow.on_chain_update(tx, self.house, held, ChainUpdate((), ()), LEASE_SECONDS, now)
            )
        assert await self._everything() == started
        assert {name: rows for name, rows in started.items() if name != "networks"} == {
            name: rows for name, rows in before.items() if name != "networks"
        }

    async def repeat(self) -> None:
        """D4: deliver what was delivered before once more; nothing but the moment of looking may change."""
        assert self.follower is not None
        await self.look()
        before, position = await self._everything(), await self.position()
        if position.state == "halted" or position.tip.height == self.chain.path()[0].height:
            return
        keys = WatchedKeys(self.house.database.pool, BITCOIN)
        again = ToySource(self.chain)
        tip = self.chain.height
        update = ChainUpdate((), tuple(await again.blocks(tip, tip, keys)))
        earlier = replace(position, tip=BlockRef(tip - 1, update.apply[0].parent))
        if position.tip == update.apply[0].ref:
            await self.house.database.run(
                lambda tx: flow.on_chain_update(tx, self.house, earlier, update, LEASE_SECONDS, self.clock.now())
            )
        await self.look()
        after = await self._everything()
        del before["networks"], after["networks"]
        assert after == before, "what was delivered twice was counted twice"

    async def _everything(self) -> dict[str, Any]:
        pool = self.house.database.pool
        tables = (
            "networks", "blocks", "payments", "invoices", "entries", "postings", "events", "payment_inputs", "spends",
            "customer_balances", "given_back",
        )  # fmt: skip
        return {table: await pool.fetch(f"select * from {table} order by 1, 2, 3") for table in tables}

    async def _check_missing(self) -> None:
        """Check that nothing is noted as missing that was always in a block or in the mempool."""
        rows = await self.house.database.pool.fetch("select txid from payments where missing_since is not null")
        assert {row["txid"] for row in rows} <= self.chain.lost | self._coinbases(), "not missing, only not looked at"

    def _coinbases(self) -> set[str]:
        return {tx.txid for tx in self.chain.known.values() if not tx.inputs}

    async def _check_first_sight(self) -> None:
        """Check that a payment was first seen neither before nor after a moment that somebody could claim for it."""
        rows = await self.house.database.pool.fetch("select txid, first_seen_at from payments")
        for row in rows:
            claims = [self.chain.arrived[row["txid"]], *self.chain.claims[row["txid"]]]
            seen = row["first_seen_at"]
            empty = [moment for moment in self.observed if moment < claims[0]]
            assert seen >= max(empty, default=seen), f"{row['txid']} was first seen at {seen}, when it was not there"
            assert min(claims) <= seen <= max(claims), (
                f"{row['txid']} was first seen at {seen}, and was there at {claims}"
            )

    async def compare_with_rescan(self, database: Database, folder: Path) -> None:
        """G6: catch up in quiet, then let a fresh Kassa with the same terms scan the same chain from its start."""
        self.source.behind, self.source.whole = 0, True
        self.source.faults.clear()
        if self.follower is None:
            await self.start()
        await self._catch_up()
        await self.thaw()
        # What is only missing is taken for lost after a while, and a rescan does not know that it ever was.
        self.clock.move(DROP_AFTER_SECONDS + 1)
        await self.step()
        source = ToySource(self.chain)
        fresh = await house_on(database, folder, self.clock, lambda: source)
        await copy_terms(self.house, fresh)
        rescan = World(fresh, self.clock, self.chain, source, self.stores, Oracle(fresh))
        source.behind = self.chain.height - self.chain.path()[0].height
        await rescan.start()
        await rescan.look()
        source.behind = 0
        await rescan.look()
        await compare(self.house, fresh)
        await fresh.marks.close()

    async def _catch_up(self) -> None:
        for _ in range(3):
            await self.look()
            position = await self.position()
            if position.state == "halted":
                await self.resume()
            elif position.tip.hash == self.chain.tip:
                return
            while self.chain.height < position.tip.height:
                # Shorter than ours, the node's chain proves nothing: blocks decide.
                self.chain.mine(())
        raise AssertionError("the follower does not catch up")


def truth_of(chain: ToyChain) -> Truth:
    """Say what a toy chain holds, in the oracle's words."""

    def outputs(tx: ToyTx, block: ToyBlock | None) -> list[tuple[tuple[str, str], Output]]:
        where = None if block is None else (block.height, block.hash)
        return [((tx.txid, f"out:{n}"), Output(script, units, where)) for n, (script, units) in enumerate(tx.outputs)]

    path = chain.path()
    found = [item for tx in chain.mempool.values() for item in outputs(tx, None)]
    found += [item for block in path for tx in block.transactions for item in outputs(tx, block)]
    return Truth(
        BITCOIN,
        ASSET,
        [(block.height, block.hash, block.parent) for block in path],
        dict(found),
        chain.spenders(),
        {spent: tx.txid for tx in chain.mempool.values() for spent in tx.inputs},
    )


async def house_on(database: Database, folder: Path, clock: SetClock, source: Callable[[], ToySource]) -> House:
    """Build a house whose one network is a toy chain."""
    network = regtest(confirmations=CONFIRMATIONS, max_reorg=MAX_REORG, drop_after_seconds=DROP_AFTER_SECONDS)
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    house = await build_house(database, folder, {BITCOIN: network}, clock, rates=Rates(fixed=dict(RATES)))
    chain = replace(house.chains[BITCOIN], connect=lambda _: source())
    return replace(house, chains={BITCOIN: chain})


@asynccontextmanager
async def new_world(database: Database, folder: Path, clock: Any = None) -> AsyncIterator[World]:
    """Build a world: three stores of different policies, each with two customers; the follower has looked once.

    With another `clock` than one moved by hand, use no verb that moves it.
    """
    clock = clock or SetClock()
    chain = ToyChain(clock)
    source = ToySource(chain)
    house = await house_on(database, folder, clock, lambda: source)
    async with database.transaction() as tx:
        stores = [
            await add_store(tx, house),
            await add_store(tx, house, policy=CREDITING),
            await add_store(tx, house, policy=TOLERANT),
        ]
        linked = [
            Link(
                LinkId(new_id("lnk", clock.now())), store.id, "Tea", Chosen(1, None), currency("EUR"), True, clock.now()
            )
            for store in stores
        ]
        for link in linked:
            await links.put(tx, link)
    world = World(
        house, clock, chain, source, stores, Oracle(house), customers=[[], [], []], links=[link.id for link in linked]
    )
    await world.start()
    for number in range(len(stores)):
        await world.customer(number)
        await world.customer(number)
    await world.look()
    try:
        yield world
    finally:
        await house.marks.close()
