"""Where we stand on a network, and how that changes."""

from dataclasses import dataclass
from datetime import datetime

from kassa.core.facts import Block, BlockRef


@dataclass(frozen=True, slots=True)
class Position:
    """A network as we last left it. `tip` is the end of our best chain (None before the first block).

    `observed_at` is the moment up to which we have seen everything that the node had. `allowed_reorg` is an operator's
    word, given after a halt, on how deep the next reorganisation may be.
    """

    network: str
    fence: int
    tip: BlockRef | None
    state: str
    observed_at: datetime | None
    allowed_reorg: int | None


@dataclass(frozen=True, slots=True)
class ChainUpdate:
    """Blocks of ours to undo (highest first), then blocks to apply (lowest first)."""

    undo: tuple[BlockRef, ...]
    apply: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Older:
    """The offered blocks do not reach back to our chain: offer them from this height on."""

    first: int


@dataclass(frozen=True, slots=True)
class TooDeep:
    """Our chain and the node's part more than the allowed number of blocks below our tip."""

    depth: int


Extension = ChainUpdate | Older | TooDeep | None
"""What to do with offered blocks; None: nothing (they are ours already, or the node lags)."""
