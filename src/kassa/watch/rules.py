"""Which blocks are the best chain. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from kassa.core.facts import Block, BlockRef, Contract, Tip
from kassa.watch.model import ChainUpdate, Extension, KnownContract, Older, Position, TooDeep

MOST_SPANS = 20
_DEEP_BLOCKS, _DEEP_SECONDS = 2, 24
_LAG_BLOCKS, _LAG_SECONDS = 1, 24
_BLIND = ("halted", "stalled", "unreachable")

INTERNAL = {
    "trace": "shows each coin that contracts move (trace_block)",
    "debug": "shows each coin that contracts move (debug_traceBlockByHash)",
    "balances": "coins that contracts move are read from balances, which name no transaction",
    "off": "coins that contracts move are not seen",
}
"""What follows from how a node shows internal transfers, the best ways first; the first two are alike."""
_WORTH = {"trace": 2, "debug": 2, "balances": 1, "off": 0}

Closed = frozenset[tuple[str | None, str | None]]
"""Assets (None: all of a network) in which nobody is asked to pay, and the store for which that is so (None: all)."""


def extend(held: Sequence[BlockRef], offered: Sequence[Block], max_reorg: int, final: int | None = None) -> Extension:
    """Decide what the node's blocks mean for our chain.

    `held` is the upper end of our chain, ascending and without holes, down to where we began or at least to the parent
    of the first offered block. `offered` is a linked piece of the node's best chain, ascending. No block up to the
    height `final` may be undone: the network had called it final.

    Only a different hash at a height that we hold undoes anything, and only together with blocks up to at least our old
    height: a shorter answer is a lagging node, or a branch that has not overtaken ours.
    """
    if not offered:
        return None
    if not held:
        return ChainUpdate((), tuple(offered))
    ours = {ref.height: ref.hash for ref in held}
    tip, bottom = held[-1].height, held[0].height
    # Up to the last block that both hold there is nothing to do, not even where the offer reaches below our first.
    common = max((block.ref.height for block in offered if ours.get(block.ref.height) == block.ref.hash), default=-1)
    fresh = [block for block in offered if block.ref.height > common]
    if not fresh or offered[-1].ref.height < tip:
        return None
    first = fresh[0]
    below = first.ref.height - 1
    if below > tip:
        return Older(tip + 1)
    depth = tip - below
    linked = ours.get(below) == first.parent or first.ref.height <= bottom
    if depth > max_reorg or (not linked and depth >= max_reorg):
        return TooDeep(depth if linked else depth + 1)
    if final is not None and below < final:
        return TooDeep(depth, below_final=True)
    if not linked:
        # Twice as far back each time: the parting is found in a few questions, however deep it lies.
        return Older(max(tip - max_reorg + 1, below - depth, 0))
    undo = tuple(ref for ref in reversed(held) if ref.height > below)
    return ChainUpdate(undo, tuple(fresh))


def better(one: str, other: str) -> str:
    """Return the better of two ways to see what contracts move; of two alike the second."""
    return one if _WORTH.get(one, 0) > _WORTH.get(other, 0) else other


def is_worse(now: str, before: str) -> bool:
    """Tell whether a way to see what contracts move shows less than another."""
    return _WORTH.get(now, 0) < _WORTH.get(before, 0)


def spans(held: Sequence[Sequence[int]], heights: Sequence[int]) -> list[list[int]]:
    """Add heights to spans of heights (first and last of each, ascending); join the lowest where they are too many."""
    found: list[list[int]] = []
    for first, last in sorted([*((span[0], span[1]) for span in held), *((height, height) for height in heights)]):
        if found and first <= found[-1][1] + 1:
            found[-1][1] = max(found[-1][1], last)
        else:
            found.append([first, last])
    if len(found) > MOST_SPANS:
        found[: 1 - MOST_SPANS] = [[found[0][0], found[-MOST_SPANS][1]]]
    return found


def contract_doubt(known: KnownContract | None, seen: Contract, decimals: int) -> str | None:
    """Return why a token must be frozen after a look at its contract; None while there is no doubt.

    `decimals` are those of the settings, in which every amount is reckoned. A doubt does not end by itself: a person
    decides that the contract is good as it is now.
    """
    if seen.decimals != decimals:
        said = "does not say its decimals" if seen.decimals is None else f"says it has {seen.decimals} decimals"
        return f"the contract {said}, and the settings say {decimals}"
    if known is not None and known.code is not None and known.code != seen.code:
        return "the contract's code has changed"
    return None if known is None else known.frozen_for


def deep(block_seconds: int) -> int:
    """Return how many confirmations honest nodes do not differ in for long: two, or half a minute of a fast chain."""
    return max(_DEEP_BLOCKS, _DEEP_SECONDS // max(1, block_seconds))


def lag(block_seconds: int) -> int:
    """Return by how many blocks the nodes behind one address ordinarily differ: one, or half a minute of a fast chain.

    A reorganisation needs no more: a node shows the longer branch at once, or the old one until then.
    """
    return max(_LAG_BLOCKS, _LAG_SECONDS // max(1, block_seconds))


def is_behind(tip: Tip, at: BlockRef | None, block_seconds: int) -> bool:
    """Tell whether a node sees nothing of what is paid now: by its own word, or as it stands far below us.

    Who stands below us without knowing of more is on another branch, has no peers or is an older copy: its mempool is
    not that of the chain on which we stand.
    """
    return tip.behind or (at is not None and at.height - tip.ref.height > lag(block_seconds))


def node_state(tip: Tip, at: BlockRef | None, stalled_after_seconds: int | None, now: datetime) -> tuple[str, str]:
    """Return a network's state by what its node says ("ok", "syncing", "stalled") and, for people, why.

    `stalled_after_seconds` is the age at which the node's newest block is too old to be believed the newest; None where
    blocks come only on demand.
    """
    if tip.behind:
        return "syncing", f"the node itself is catching up ({tip.ref.height} of {tip.best_header} blocks)"
    if at is not None and tip.ref.height < at.height:
        # It undoes nothing, but until it is back its mempool says nothing about the chain on which we stand.
        return "syncing", f"the node is {at.height - tip.ref.height} blocks behind what Kassa has seen"
    age = (now - tip.time).total_seconds()
    if stalled_after_seconds is not None and age > stalled_after_seconds:
        return "stalled", f"the node's newest block is {int(age // 60)} minutes old; does it have peers?"
    if at is None or at.height < tip.ref.height - 1:
        return "syncing", f"{tip.ref.height - at.height} blocks to go" if at is not None else "starting"
    return "ok", ""


def is_seen(state: str | None, observed_at: datetime | None, node_behind: bool | None, forsaken: bool | None) -> bool:
    """Tell whether what is paid on a network would be seen: else nobody may be asked to pay there. None: no row yet."""
    return state is not None and observed_at is not None and state not in _BLIND and not (node_behind or forsaken)


def closed(position: Position) -> Closed:
    """Return in what nobody may be asked to pay on a network now."""
    held = {(each.asset, each.store_id) for each in position.restraints if each.kind != "raised"}
    doubted = {(asset, None) for asset in position.frozen}
    seen = is_seen(position.state, position.observed_at, position.node_behind, position.forsaken)
    return frozenset(held | doubted | (set() if seen else {(None, None)}))


def renamed(configured: Mapping[str, str], used: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the new and the former name of a network whose section was given another name, or None.

    `configured` is the chain of each section by its name, `used` the names and chains under which there are wallets or
    addresses. A section that has some of its own goes on, whatever stands under another name: it is no new one.
    """
    stands = dict(used)
    former = {chain: name for name, chain in stands.items() if name not in configured}
    for name, chain in configured.items():
        if name not in stands and chain in former:
            return name, former[chain]
    return None
