"""Follow one network: blocks first, then the mempool, for as long as this process holds the network's lease."""

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from time import perf_counter

import asyncpg
import structlog

import kassa.payments.rival_store as rivals
import kassa.payments.store as payments
import kassa.watch.store as watch
from kassa import flow, measures, tracing
from kassa.chains.base import ChainSource
from kassa.core.correlation import correlated
from kassa.core.crashpoint import crashpoint
from kassa.core.errors import ChainInvalid, ChainMoved, ChainUnavailable, ChainUnfit, LeaseLost
from kassa.core.facts import Block, BlockRef, Pending, Tip
from kassa.db.pool import Tx
from kassa.house import House, connection_of
from kassa.settings import Network
from kassa.wallets.ahead import Ahead
from kassa.watch.keys import WatchedKeys
from kassa.watch.model import ChainUpdate, Extension, Older, Position, TooDeep
from kassa.watch.rules import extend, is_behind, node_state
from kassa.workers.closer_look import CloserLook, Note
from kassa.workers.sharing import Sharing

log = structlog.get_logger()

LEASE_SECONDS = 10
TAKE_OVER_SECONDS = 0.5
"""How often one that stands by looks whether the lease was given back, or ran out."""
BLOCKS_AT_ONCE = 100
"""Blocks that are read and committed together while catching up."""
STALLED_AFTER_INTERVALS = 12
"""On a live network, a tip older than this many block intervals is a stalled node: chance 0.0006 % per block."""
UNREACHABLE_AFTER = timedelta(seconds=60)
LEAST_STALL_SECONDS = 120
"""A chain of short intervals makes its blocks less evenly."""
CONTRACTS_EVERY = timedelta(minutes=10)
_MOVED_PAUSE_SECONDS = 0.05  # and then twice as long each time, where a node goes on naming blocks that it has not
_MOST_MOVED_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 30
_ANSWERING_PAUSE_SECONDS = 2  # while the node at least says where its chain ends


async def follow_chain(house: House, network: str) -> None:
    """Follow a network until cancelled, whatever its node does; stand by while another process holds its lease.

    Ends with `LeaseLost` when another process took the lease over: the caller starts it again, from what is stored.
    """
    configured, chain = house.settings.networks[network], house.chains[network]
    source = chain.connect(connection_of(configured))
    try:
        position = await _wait_for_lease(house, configured)
        log.info("following", network=network, height=None if position.tip is None else position.tip.height)
        try:
            await Follower(house, configured, source, position).run()
        finally:
            await _release(house, position)
    finally:
        await source.close()


async def _wait_for_lease(house: House, network: Network) -> Position:
    holder = f"{socket.gethostname()}:{os.getpid()}"
    async with house.database.transaction() as tx:
        await watch.register(tx, network.name, network.chain)
    while True:
        async with house.database.transaction() as tx:
            position = await watch.take_lease(tx, network.name, holder, LEASE_SECONDS)
        if position is not None:
            return position
        await asyncio.sleep(TAKE_OVER_SECONDS)


async def _release(house: House, position: Position) -> None:
    try:
        async with house.database.transaction() as tx:
            await watch.release_lease(tx, position.network, position.fence)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
        # It runs out by itself; the next follower only starts a few seconds later.
        log.warning("the lease could not be released", network=position.network, fault=str(fault))


class Follower:
    """One following of a network: where we stand, and when the node was last heard.

    `run` looks whenever a look is worthwhile; `look` is one look, for who wants to choose the moments.
    """

    def __init__(self, house: House, network: Network, source: ChainSource, position: Position) -> None:
        self._house = house
        self._network = network
        self._source = source
        self._position = position
        self._keys = WatchedKeys(house.database.pool, network.name, house.clock)
        self._closer = CloserLook(house, network.name, source, self._keys, self._write)
        self._ahead = Ahead(network.name, self._derive, self._keys.add)
        self._sharing = Sharing(house, network.name)
        self._woken = asyncio.Event()
        self._checked = False
        self._heard_at = house.clock.now()
        self._vetted_at: datetime | None = None
        self._pause = 0.0
        self._answering = False
        self._blocks_at_once = BLOCKS_AT_ONCE

    async def run(self) -> None:
        """Follow until cancelled; raise `LeaseLost` when another process follows the network."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_lease())
                group.create_task(self._listen())
                group.create_task(self._look_for_ever())
        except ExceptionGroup as faults:
            lost, others = faults.split(LeaseLost)
            if lost is None or others is not None:
                raise
            raise LeaseLost(f"another process follows {self._network.name} now") from None

    async def _keep_lease(self) -> None:
        # Reading may take longer than the lease; what is committed in between prolongs it as well.
        while True:
            async with self._house.database.transaction() as tx:
                await watch.hold(tx, self._network.name, self._position.fence, LEASE_SECONDS)
            await asyncio.sleep(LEASE_SECONDS / 4)

    async def _write(self, note: Note) -> None:
        """Write what the node was found to be, beside its chain; raise `LeaseLost` when another process follows it."""

        async def held(tx: Tx) -> None:
            await watch.hold(tx, self._network.name, self._position.fence, LEASE_SECONDS)
            await note(tx)

        await self._house.database.run(held)

    async def _listen(self) -> None:
        async for _ in self._source.wake(self._keys):
            self._closer.pushed_at = self._house.clock.now()
            self._woken.set()

    async def _look_for_ever(self) -> None:
        while True:
            self._woken.clear()
            await self.look()
            await self._wait()

    async def _wait(self) -> None:
        if self._pause:
            await asyncio.sleep(self._pause)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._network.poll_seconds):
                await self._woken.wait()

    async def look(self) -> None:
        """Look once: blocks first, then the mempool. What the node does wrong is noted, never raised.

        Raises `LeaseLost` when another process follows the network.
        """
        try:
            with correlated(), tracing.span("look", network=self._network.name):
                await self._look()
        except ChainMoved:
            self._pause = min(_MOST_MOVED_PAUSE_SECONDS, max(_MOVED_PAUSE_SECONDS, self._pause * 2))
        except ChainUnavailable as fault:
            # A node that breaks off now and then may still finish a smaller piece.
            self._blocks_at_once = max(1, self._blocks_at_once // 2)
            await self._not_heard(fault)
        except ChainInvalid as fault:
            # Behind one address there may be several nodes, of which not each can do the same.
            if self._checked and not isinstance(fault, ChainUnfit):
                await self._halt(str(fault))
            else:
                await self._refuse(fault)
        else:
            self._heard()

    async def _look(self) -> None:
        if await self._halted():
            return
        self._answering = False
        if not self._checked:
            await self._check()
        await self._sharing.go_on(await self._ahead.refresh(self._house.database.pool))
        read_at = self._house.clock.now()
        tip = await self._source.tip()
        self._answering = True
        await self._note(tip)
        await self._look_at_contracts()
        await self._follow_blocks(tip.ref)
        if self._position.tip == tip.ref:
            await self._note_final(tip)
            tip = await self._look_into_mempool(tip, read_at)
        await self._note(tip)
        await self._closer.look()

    async def _check(self) -> None:
        ability, at = await self._source.check(), self._position.tip
        if at is not None and ability.first_height > at.height + 1:
            raise ChainUnfit(
                f"the node has pruned what lies below block {ability.first_height}, and {at.height + 1} is the next "
                "that is needed: use a node that keeps it, or let this one keep more (prune) and fetch the chain again"
            )
        await self._write(lambda tx: flow.on_ability(tx, self._house, self._network.name, ability))
        self._checked = True

    async def _halted(self) -> bool:
        if self._position.state != "halted":
            return False
        async with self._house.database.transaction() as tx:
            stored = (await watch.positions(tx))[self._network.name]
        self._position = replace(self._position, state=stored.state, allowed_reorg=stored.allowed_reorg)
        return stored.state == "halted"

    async def _follow_blocks(self, end: BlockRef) -> bool:
        """Follow the node up to a block of its best chain; return whether blocks of ours were undone for it."""
        undone = False
        while (at := self._position.tip) != end:
            if at is not None and end.height < at.height:
                break  # a lagging node, or a branch that has not overtaken ours
            extension = await self._extension(end)
            if isinstance(extension, TooDeep):
                limit = "below a final block" if extension.below_final else f"max_reorg is {self._network.max_reorg}"
                await self._halt(
                    f"the node's chain parts from ours {extension.depth} or more blocks below our tip ({limit});"
                    f" look at the chain, then `kassa network resume {self._network.name} --depth N`"
                )
                break
            if not isinstance(extension, ChainUpdate):
                break
            if extension.undo and await self._learn_ancestors(extension.undo):
                continue  # the same blocks again, looked through for what takes the place of an ancestor too
            if any(block.upgrades for block in extension.apply):
                self._vetted_at = None  # before anything in them settles
                await self._look_at_contracts()
            await self._move(extension)
            undone = undone or bool(extension.undo)
        return undone

    async def _learn_ancestors(self, undone: Sequence[BlockRef]) -> bool:
        """Note what of blocks that are to be undone our payments hang on; return whether any of it is new."""
        needed = await rivals.needed(self._house.database.pool, self._network.name, undone[-1].height - 1)
        if not needed:
            return False
        found = await self._source.ancestors(undone, needed)
        return await self._house.database.run_to_end(
            lambda tx: flow.on_undoing(tx, self._position, found, LEASE_SECONDS)
        )

    async def _extension(self, end: BlockRef) -> Extension:
        at = self._position.tip
        if at is None:
            return extend((), await self._read(end.height, end.height), 0)
        first, held = min(at.height + 1, end.height), [at]
        allowed = self._position.allowed_reorg
        max_reorg = max(self._network.max_reorg, allowed or 0)
        final = self._position.final if allowed is None else None
        while True:
            # Up to our old height at least: a reorganisation lands whole or not at all.
            last = max(at.height, min(end.height, first + self._blocks_at_once - 1))
            offered = await self._read(first, last)
            if first <= at.height:
                async with self._house.database.transaction() as tx:
                    held = await watch.held_blocks(tx, self._network.name, max(0, first - 1))
            extension = extend(held, offered, max_reorg, final)
            if not isinstance(extension, Older):
                return extension
            first = extension.first

    async def _read(self, first: int, last: int) -> Sequence[Block]:
        began = perf_counter()
        blocks = await self._source.blocks(first, last, self._keys)
        measures.BLOCK_SECONDS.labels(self._network.name).observe((perf_counter() - began) / (last - first + 1))
        return blocks

    async def _move(self, update: ChainUpdate) -> None:
        crashpoint("chain.read")
        now = self._house.clock.now()
        name = self._network.name
        with measures.COMMIT_SECONDS.labels(name).time(), tracing.span("commit", network=name):
            self._position = await self._house.database.run_to_end(
                lambda tx: flow.on_chain_update(
                    tx, self._house, self._position, update, LEASE_SECONDS, now, self._ahead
                )
            )
        crashpoint("chain.committed")
        measures.BLOCKS.labels(name).inc(len(update.apply))
        self._heard()
        self._blocks_at_once = min(BLOCKS_AT_ONCE, self._blocks_at_once + 1)
        if update.undo:
            measures.REORG_DEPTH.labels(self._network.name).observe(len(update.undo))
            log.warning(
                "reorganisation", network=self._network.name, undone=len(update.undo), applied=len(update.apply)
            )

    async def _note_final(self, tip: Tip) -> None:
        if tip.final is None or (self._position.final is not None and tip.final.height <= self._position.final):
            return
        final, now = tip.final, self._house.clock.now()
        self._position = await self._house.database.run_to_end(
            lambda tx: flow.on_final(tx, self._house, self._position, final, LEASE_SECONDS, now)
        )

    async def _look_at_contracts(self) -> None:
        now = self._house.clock.now()
        if self._vetted_at is not None and abs(now - self._vetted_at) < CONTRACTS_EVERY:
            return
        seen = await self._source.contracts()
        decimals = {asset.id: asset.decimals for asset in self._house.chains[self._network.name].assets}
        if seen:
            await self._write(lambda tx: flow.on_contracts(tx, self._network.name, seen, decimals, now))
        self._vetted_at = now

    async def _look_into_mempool(self, tip: Tip, read_at: datetime) -> Tip:
        """Look at what waits; return the node's tip, which is a later one if a block came during the look."""
        waiting = await payments.waiting(self._house.database.pool, self._network.name)
        with measures.MEMPOOL_SECONDS.labels(self._network.name).time():
            pending = await self._source.pending(self._keys, waiting)
        measures.MEMPOOL_WATCHED.labels(self._network.name).set(len(pending.transactions))
        if self._state(tip)[0] != "ok":
            # What a lagging or stalled node does not show proves nothing.
            pending = replace(pending, complete=False)
        if pending.tip.height > tip.ref.height:
            # What was there was there after `tip`, perhaps before the later blocks: they may hold what overtook it.
            if pending.transactions:
                await self._note_pending(replace(pending, tip=tip.ref, complete=False), read_at)
            # What was not there is missing only once we stand there too. On a fast chain a block comes during every
            # look.
            if await self._follow_blocks(pending.tip):
                pending = replace(pending, complete=False)  # what was undone may have been in a block when we looked
            tip = replace(tip, ref=pending.tip, best_header=max(tip.best_header, pending.tip.height))
        await self._note_pending(pending, read_at)
        return tip

    async def _note_pending(self, pending: Pending, read_at: datetime) -> None:
        crashpoint("mempool.read")
        now = self._house.clock.now()
        await self._house.database.run_to_end(
            lambda tx: flow.on_pending(
                tx, self._house, self._position, pending, read_at, LEASE_SECONDS, now, self._ahead
            )
        )

    def _derive(self, network: str, descriptor: str, index: int) -> tuple[str, bytes, int]:
        derived = self._house.chains[network].addresses.derive(descriptor, index)
        return derived.text, derived.script, derived.key

    def _state(self, tip: Tip) -> tuple[str, str]:
        chain, stalled_after = self._house.chains[self._network.name], self._network.stalled_after_seconds
        if stalled_after is None and chain.livemode:
            stalled_after = max(LEAST_STALL_SECONDS, chain.block_seconds * STALLED_AFTER_INTERVALS)
        return node_state(tip, self._position.tip, stalled_after, self._house.clock.now())

    async def _note(self, tip: Tip) -> None:
        if self._position.state == "halted":
            return
        state, detail = self._state(tip)
        await self._put_state(tip, state, detail)

    async def _put_state(self, tip: Tip | None, state: str, detail: str, *, refused: bool = False) -> None:
        now = self._house.clock.now()
        block_seconds = self._house.chains[self._network.name].block_seconds
        behind = tip is not None and is_behind(tip, self._position.tip, block_seconds)
        async with self._house.database.transaction() as tx:
            changed = await flow.note_node(tx, self._position, tip, state, detail, now, behind=behind, refused=refused)
        self._position = replace(self._position, state=state)
        if changed:
            log.info("network", network=self._network.name, state=state, detail=detail)

    def _heard(self) -> None:
        self._pause = 0.0
        self._heard_at = self._house.clock.now()

    async def _not_heard(self, fault: ChainUnavailable) -> None:
        self._checked = False
        most = _ANSWERING_PAUSE_SECONDS if self._answering else _MAX_PAUSE_SECONDS
        self._pause = min(most, max(0.25, self._pause * 2))
        log.warning("the node did not answer", network=self._network.name, fault=str(fault), again_in=self._pause)
        if abs(self._house.clock.now() - self._heard_at) > UNREACHABLE_AFTER and self._position.state != "halted":
            await self._put_state(None, "unreachable", str(fault))

    async def _refuse(self, fault: ChainInvalid) -> None:
        self._checked = False
        self._pause = _MAX_PAUSE_SECONDS
        log.error("this node is refused", network=self._network.name, fault=str(fault))
        await self._put_state(None, "unreachable", f"the node is refused: {fault}", refused=True)

    async def _halt(self, reason: str) -> None:
        log.error("halted", network=self._network.name, reason=reason)
        async with self._house.database.transaction() as tx:
            await flow.halt_network(tx, self._position, reason, self._house.clock.now())
        self._position = replace(self._position, state="halted")
