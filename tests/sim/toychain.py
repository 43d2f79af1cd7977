"""A chain in memory, with forks and a mempool, and a node that shows it: the truth that Kassa is measured against."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import count

import numpy as np

from kassa.chains.base import Watched
from kassa.chains.bitcoin.transactions import script_key
from kassa.core.errors import ChainMoved
from kassa.core.facts import (
    Ability,
    Ancestor,
    Block,
    BlockRef,
    Contract,
    Input,
    Pending,
    Tip,
    Transaction,
    Transfer,
    TransferKey,
)
from tests.house import BITCOIN, SetClock

ASSET = f"BTC@{BITCOIN}"
MATURITY = 101
Fault = Exception | Callable[[], None] | None
"""What happens at a call: an error, something done to the chain just before the answer, or nothing."""


@dataclass(frozen=True, slots=True)
class ToyTx:
    """A transaction; one without inputs is a coinbase. `signals`: it says of itself that it may be replaced."""

    txid: str
    inputs: tuple[str, ...]
    outputs: tuple[tuple[bytes, int], ...]
    signals: bool = False


@dataclass(frozen=True, slots=True)
class ToyBlock:
    """A block of the tree; `time` is its miner's claim."""

    height: int
    hash: str
    parent: str
    time: datetime
    transactions: tuple[ToyTx, ...]


@dataclass
class ToyChain:
    """Every block ever mined, the tip of the best chain, the mempool; it keeps the rules about spending twice."""

    clock: SetClock
    blocks: dict[str, ToyBlock] = field(default_factory=dict)
    tip: str = ""
    mempool: dict[str, ToyTx] = field(default_factory=dict)
    entered: dict[str, datetime] = field(default_factory=dict)
    known: dict[str, ToyTx] = field(default_factory=dict)
    # Every moment that somebody could take for a transaction's time: of a mempool entry, or a miner's claim.
    claims: dict[str, list[datetime]] = field(default_factory=dict)
    # When a transaction could first be seen anywhere.
    arrived: dict[str, datetime] = field(default_factory=dict)
    # What a node had before its block came; and what was, at some moment, in no block and in no mempool.
    public: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    numbers: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        self._extend("genesis", 100, (), 0)

    def name(self, prefix: str) -> str:
        return f"{prefix}{next(self.numbers)}"

    def coin(self) -> str:
        """Name an output that somebody owns, to be spent."""
        return f"{self.name('coin')}:0"

    def path(self, tip: str | None = None) -> list[ToyBlock]:
        """Return the blocks from the first to a tip (of the best chain, unless one is named)."""
        at, found = self.blocks.get(self.tip if tip is None else tip), []
        while at is not None:
            found.append(at)
            at = self.blocks.get(at.parent)
        return found[::-1]

    @property
    def height(self) -> int:
        return self.blocks[self.tip].height

    def confirmed(self) -> dict[str, ToyBlock]:
        """Return the blocks of the best chain by the ids of the transactions that they hold."""
        return {tx.txid: block for block in self.path() for tx in block.transactions}

    def spenders(self) -> dict[str, str]:
        """Return which transaction of the best chain spends an outpoint."""
        return {spent: tx.txid for block in self.path() for tx in block.transactions for spent in tx.inputs}

    def submit(self, tx: ToyTx) -> bool:
        """Offer a transaction to the mempool, where it replaces what it conflicts with; tell whether it was taken."""
        if tx.txid in self.mempool or not self._possible([tx]):
            return False
        for rival in [other.txid for other in self.mempool.values() if set(other.inputs) & set(tx.inputs)]:
            self.evict(rival)
        if not self._possible([tx], self.mempool.values()):
            return False
        self._take([tx])
        return True

    def evict(self, txid: str) -> None:
        """Take a transaction and all that spends from it out of the mempool."""
        tx = self.mempool.pop(txid, None)
        if tx is not None:
            self.lost.add(txid)
            for child in [c.txid for c in self.mempool.values() if any(i.startswith(f"{txid}:") for i in c.inputs)]:
                self.evict(child)

    def mine(
        self, transactions: Iterable[ToyTx] | None = None, *, to: Sequence[tuple[bytes, int]] = (), skew: float = 0
    ) -> ToyBlock:
        """Add a block with the mempool, or with those of `transactions` that are possible; its coinbase pays `to`."""
        held = self._possible(list(self.mempool.values()) if transactions is None else list(transactions))
        if to:
            held = [ToyTx(self.name("coinbase"), (), tuple(to)), *held]
        block = self._extend(self.tip, self.height + 1, held, skew)
        self._sweep(self.mempool.values())
        return block

    def fork(
        self, depth: int, length: int, first: Iterable[ToyTx] = (), *, lose: Collection[str] = (), skew: float = 0
    ) -> None:
        """Undo `depth` blocks and mine `length`, the lowest with `first`; what was undone is in the mempool again.

        Not there: coinbases, what the new blocks make impossible, and those named in `lose`.
        """
        path = self.path()
        below = path[-1 - depth]
        undone = [tx for block in path[-depth:] for tx in block.transactions if tx.inputs] if depth else []
        waiting = [tx for tx in [*undone, *self.mempool.values()] if tx.txid not in lose]
        self.lost |= set(lose)
        self.tip = below.hash
        for number in range(length):
            held = self._possible(list(first)) if number == 0 else []
            self._extend(self.tip, self.height + 1, held, skew)
        self._sweep(waiting)

    def switch(self, tip: str) -> None:
        """Follow another branch, as it stands."""
        old, new = self.path(), {block.hash for block in self.path(tip)}
        undone = [tx for block in old if block.hash not in new for tx in block.transactions if tx.inputs]
        self.tip = tip
        for block in self.path():
            for tx in block.transactions if block not in old else ():
                self.claims[tx.txid].append(self.clock.now())  # who missed it the first time may see it now
        self._sweep([*undone, *self.mempool.values()])

    def _extend(self, parent: str, height: int, held: Sequence[ToyTx], skew: float) -> ToyBlock:
        time = self.clock.now().replace(microsecond=0) + timedelta(seconds=skew)
        block = ToyBlock(height, self.name("block"), parent, time, tuple(held))
        self.blocks[block.hash], self.tip = block, block.hash
        for tx in held:
            self.known[tx.txid] = tx
            self.arrived.setdefault(tx.txid, self.clock.now())
            self.claims.setdefault(tx.txid, []).append(time)
        return block

    def _possible(self, offered: list[ToyTx], besides: Iterable[ToyTx] = ()) -> list[ToyTx]:
        """Return those that could follow the best chain (and `besides`) in this order."""
        spent, there = set(self.spenders()), set(self.confirmed())
        for tx in besides:
            spent |= set(tx.inputs)
            there.add(tx.txid)
        found = []
        for tx in offered:
            parents = {name for name in (spends.partition(":")[0] for spends in tx.inputs) if name in self.known}
            if tx.txid in there or spent & set(tx.inputs) or not parents <= there:
                continue
            spent |= set(tx.inputs)
            there.add(tx.txid)
            found.append(tx)
        return found

    def _sweep(self, waiting: Iterable[ToyTx]) -> None:
        unique = {tx.txid: tx for tx in waiting}
        before, self.mempool = self.mempool, {}
        self.public |= unique.keys()
        self._take(self._possible(list(unique.values())), before)
        self.lost |= unique.keys() - self.mempool.keys() - self.confirmed().keys()

    def _take(self, transactions: Iterable[ToyTx], before: Collection[str] = ()) -> None:
        for tx in transactions:
            self.mempool[tx.txid] = self.known[tx.txid] = tx
            self.public.add(tx.txid)
            self.arrived.setdefault(tx.txid, self.clock.now())
            if tx.txid not in before:
                # A node dates its mempool in whole seconds.
                self.entered[tx.txid] = self.clock.now().replace(microsecond=0)
                self.claims.setdefault(tx.txid, []).append(self.entered[tx.txid])


class ToySource:
    """A node that shows a `ToyChain`: it may lag by `behind` blocks, and each call may be disturbed by `faults`."""

    def __init__(self, chain: ToyChain, network: str = BITCOIN) -> None:
        self.chain = chain
        self.network = network
        self.behind = 0
        self.whole = True
        self.faults: deque[Fault] = deque()

    async def check(self) -> Ability:
        return Ability()

    async def delegates(self, addresses: Sequence[bytes]) -> Mapping[bytes, str]:
        return {}

    async def tip(self) -> Tip:
        self._reach()
        block = self.view()[-1]
        return Tip(BlockRef(block.height, block.hash), block.time, self.chain.height, False)

    async def blocks(self, first: int, last: int, watched: Watched) -> Sequence[Block]:
        self._reach()
        before = self.view()
        self._reach()
        await watched.refresh()
        view = self.view()
        if view[: len(before)] != before:
            raise ChainMoved("the toy chain moved while it was read")
        chosen = [block for block in before if first <= block.height <= last]
        if not chosen or chosen[-1].height < last:
            raise ChainMoved(f"the toy chain has no block {last}")
        return [
            Block(
                BlockRef(block.height, block.hash),
                block.parent,
                block.time,
                tuple(self._reduced(block.transactions, watched)),
            )
            for block in chosen
        ]

    async def pending(self, watched: Watched, waiting: Sequence[str]) -> Pending:
        self._reach()
        held = [*self._not_yet_shown(), *self.chain.mempool.values()]
        # A node that knows itself to be far behind has seen little of what was sent.
        far_behind = self.chain.height - self.view()[-1].height > 1
        held = held[1::2] if far_behind or not self.whole else held
        entered = dict(self.chain.entered)
        await watched.refresh()
        self._reach()
        tip = self.view()[-1]
        found = self._reduced(held, watched, entered)
        return Pending(BlockRef(tip.height, tip.hash), self.whole, tuple(found))

    async def ancestors(
        self, undone: Sequence[BlockRef], needed: Mapping[str, Sequence[Input]]
    ) -> Mapping[str, Sequence[Ancestor]]:
        held = {tx.txid: tx for ref in undone for tx in self.chain.blocks[ref.hash].transactions}
        return {txid: _ancestors([spent.outpoint for spent in inputs], held) for txid, inputs in needed.items()}

    async def contracts(self) -> Sequence[Contract]:
        return ()

    async def wake(self, watched: Watched) -> AsyncIterator[None]:
        for _ in ():
            yield

    async def close(self) -> None:
        return None

    def _reach(self) -> None:
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        if fault is not None:
            fault()

    def view(self) -> list[ToyBlock]:
        path = self.chain.path()
        return path[: max(1, len(path) - self.behind)]

    def _not_yet_shown(self) -> list[ToyTx]:
        """Return what a lagging node still has in its mempool of what the blocks hold that it lacks."""
        path = self.chain.path()
        hidden = [tx for block in path[len(self.view()) :] for tx in block.transactions]
        for tx in hidden:
            # What was never in a mempool cannot be seen before the node shows its block.
            self.chain.claims[tx.txid].append(self.chain.clock.now())
        return [tx for tx in hidden if tx.txid in self.chain.public and tx.inputs]

    def _reduced(
        self, held: Sequence[ToyTx], watched: Watched, entered: dict[str, datetime] | None = None
    ) -> list[Transaction]:
        pays, spends = set(watched.destinations.tolist()), set(watched.outpoints.tolist())
        signalling: set[str] = set()
        by_id = {tx.txid: tx for tx in held}
        found = []
        for tx in held:
            parents = {spent.partition(":")[0] for spent in tx.inputs}
            if tx.signals or (entered is not None and parents & signalling):
                signalling.add(tx.txid)
            transfers = tuple(
                Transfer(
                    TransferKey(self.network, tx.txid, f"out:{place}"),
                    script,
                    f"BTC@{self.network}",
                    units,
                    0 if tx.inputs else MATURITY,
                )
                for place, (script, units) in enumerate(tx.outputs)
                if script_key(script) in pays
            )
            inputs = tuple(Input(spent, outpoint_key(spent)) for spent in tx.inputs)
            if transfers or any(spent.key in spends for spent in inputs):
                first_seen = None if entered is None else entered.get(tx.txid)
                behind = () if entered is None or not transfers else _ancestors(tx.inputs, by_id)
                found.append(
                    Transaction(tx.txid, transfers, inputs, tx.txid in signalling, first_seen, ancestors=behind)
                )
        return found


def _ancestors(inputs: Sequence[str], held: Mapping[str, ToyTx]) -> tuple[Ancestor, ...]:
    """Return which of these transactions one hangs on that spends these outpoints, itself or through others."""
    found: dict[str, ToyTx] = {}
    while inputs:
        names = [spent.partition(":")[0] for spent in inputs]
        nearest = [held[name] for name in dict.fromkeys(names) if name in held and name not in found]
        found |= {each.txid: each for each in nearest}
        inputs = [spent for each in nearest for spent in each.inputs]
    return tuple(
        Ancestor(each.txid, tuple(Input(spent, outpoint_key(spent)) for spent in each.inputs))
        for each in found.values()
    )


def outpoint_key(outpoint: str) -> int:
    """Return a search key for an outpoint's text."""
    return int(np.frombuffer(sha256(outpoint.encode()).digest()[:8], np.int64)[0])
