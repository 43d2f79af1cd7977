"""Where we stand on a network, and how that changes."""

from dataclasses import dataclass
from datetime import datetime

from kassa.core.facts import Block, BlockRef


@dataclass(frozen=True, slots=True)
class Restraint:
    """Something that is held back on a network since a moment, for one asset or store (None: for all).

    `kind`: "held" (nothing settles, nobody is asked to pay, nothing expires), "unoffered" (nobody is asked to pay), or
    "raised" (what is not settled yet needs `blocks` confirmations at least).
    """

    kind: str
    made_at: datetime
    asset: str | None = None
    store_id: str | None = None
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """A network as we last left it. `tip` is the end of our best chain (None before the first block).

    `observed_at` is the moment up to which we have seen everything that the node had. `allowed_reorg` is an operator's
    word, given after a halt, on how deep the next reorganisation may be. `final` is the height up to which the network
    called its blocks final, `frozen` the assets in which nothing settles until an operator has looked. `followed`:
    someone held the lease within the last minute. `restraints` are those in force. `left_until` is when invoices were
    last judged without waiting for it, because nobody followed it any more. `node_behind`: the node lags behind its
    network, or behind us. `forsaken`: somebody followed it, and nobody has for a minute.
    """

    network: str
    fence: int
    tip: BlockRef | None
    state: str
    observed_at: datetime | None
    allowed_reorg: int | None
    final: int | None = None
    frozen: frozenset[str] = frozenset()
    followed: bool = True
    restraints: tuple[Restraint, ...] = ()
    left_until: datetime | None = None
    node_behind: bool = False
    forsaken: bool = False


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a second node said of a network when it was asked.

    With a `fault` it said nothing of use, and is `refused` if it cannot be a node of this network. `height` is where
    the chains were compared (None: nowhere), `ours` and `theirs` the hashes there, `parted_at` the lowest height at
    which they differ. `our_height` is None while we catch up ourselves. `parted_since` is when they were first
    found to differ, without an answer in between in which they did not.
    """

    network: str
    asked_at: datetime
    fault: str = ""
    refused: bool = False
    our_height: int | None = None
    their_height: int | None = None
    height: int | None = None
    ours: str | None = None
    theirs: str | None = None
    parted_at: int | None = None
    silent_since: datetime | None = None
    parted_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class KnownContract:
    """What a token's contract looked like when an operator last had no doubt (None: never seen), and whether one has.

    `frozen_for` is the doubt: while there is one, the asset is not offered and nothing in it settles.
    """

    asset: str
    code: str | None
    frozen_for: str | None


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
    """Our chain and the node's part more than the allowed number of blocks below our tip, or below a final block."""

    depth: int
    below_final: bool = False


Extension = ChainUpdate | Older | TooDeep | None
"""What to do with offered blocks; None: nothing (they are ours already, or the node lags)."""
