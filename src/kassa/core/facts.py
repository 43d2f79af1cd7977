"""Facts about chains, in the words of no family: what a node told us, before anyone decides what it means."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class TransferKey:
    """Names one movement of money for ever: `position` ("out:0", "log:2") stays the same through a reorganisation."""

    network: str
    txid: str
    position: str


BY_BALANCE = "balance:"
"""How a position begins of what a balance grew by: no transaction is known for it, and `txid` is the block's hash."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money moved to a destination (`to`: the output script, or the address bytes).

    `maturity` is the number of confirmations below which the chain itself forbids spending it (101 for a coinbase
    output, otherwise 0).
    """

    key: TransferKey
    to: bytes
    asset: str
    units: int
    maturity: int = 0


@dataclass(frozen=True, slots=True)
class Input:
    """What a transaction spends, as text ("txid:0") and as the 64-bit key by which blocks are searched for it."""

    outpoint: str
    key: int


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An unconfirmed transaction that another hangs on, and what it spends."""

    txid: str
    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction that may concern us: it pays a watched key or spends a watched one.

    `replaceable` is true when another may take its place: it, or an unconfirmed ancestor, signals so, the node lets any
    be replaced, or it pays too little or hangs on too many others to stay in mempools. `first_seen_at` is the time at
    which the node says it took the transaction into its mempool, if it says so. `empty` counts its transfers of nothing
    to watched addresses: they are none, but somebody sends them. `ancestors` are the unconfirmed transactions that
    it hangs on, as far as they were followed.
    """

    txid: str
    transfers: tuple[Transfer, ...]
    inputs: tuple[Input, ...]
    replaceable: bool = False
    first_seen_at: datetime | None = None
    empty: int = 0
    ancestors: tuple[Ancestor, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block by height and hash (hexadecimal, in the order in which explorers show it)."""

    height: int
    hash: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why an asset must not be trusted before a person has looked at it, and the transaction that showed it."""

    asset: str
    txid: str
    reason: str


class Unseen(StrEnum):
    """Why money that contracts moved in a block may not have been seen, or not whose transaction it was."""

    UNTRACED = "untraced"  # no trace could be had: read by balances of the addresses with open business
    STATE_GONE = "state_gone"  # the node has dropped the block's state: not read at all
    CROWDED = "crowded"  # more addresses have open or late business than are asked about at each block
    SPENT = "spent"  # more left an address of ours than its own transactions sent: what came in is hidden by it


@dataclass(frozen=True, slots=True)
class Block:
    """A block, reduced to the transactions that may concern us. `time` is the miner's claim.

    `upgrades`: the contract of one of our tokens says in it that its code is another now.
    """

    ref: BlockRef
    parent: str
    time: datetime
    transactions: tuple[Transaction, ...]
    doubts: tuple[Doubt, ...] = ()
    unseen: Unseen | None = None
    upgrades: bool = False


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of the node's best chain.

    `best_header` is the highest header that the node knows (above `ref.height` while it catches up); `syncing` is its
    own word for being behind. `final` is the newest block that the network calls final, where it does.
    """

    ref: BlockRef
    time: datetime
    best_header: int
    syncing: bool
    final: BlockRef | None = None

    @property
    def behind(self) -> bool:
        """Whether the node itself does not stand at the end of its network's chain (one block may be on its way)."""
        return self.syncing or self.best_header > self.ref.height + 1


@dataclass(frozen=True, slots=True)
class Ability:
    """What a node was found to be able to show.

    `internal` is how it shows what contracts move inside transactions: "trace", "debug", "balances", "off", or "" where
    contracts move nothing. `first_height` is the lowest block that it still has.
    """

    internal: str = ""
    first_height: int = 0


@dataclass(frozen=True, slots=True)
class Contract:
    """How the contract behind a token looks now: what it says its decimals are, and a text that names its code.

    The text covers the code that a proxy forwards to. It changes whenever the code may have.
    """

    asset: str
    decimals: int | None
    code: str


@dataclass(frozen=True, slots=True)
class Opened:
    """Addresses that somebody may be paying now; `left_out`: there are more than can be asked about one by one."""

    addresses: tuple[bytes, ...] = ()
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """A look into the mempool.

    `tip` is the node's tip, read AFTER the mempool: the look counts only for who stands on that block. `complete`
    says that the whole mempool was read; only then may the absence of a transaction be concluded.
    """

    tip: BlockRef
    complete: bool
    transactions: tuple[Transaction, ...]
