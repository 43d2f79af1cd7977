"""What a chain family offers. An optional part is absent (`None`), never a method that refuses."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kassa.core.audits import Claim, Received, Tell
from kassa.core.facts import BY_BALANCE, Ability, Ancestor, Block, BlockRef, Contract, Input, Opened, Pending, Tip
from kassa.core.money import Asset, Token

Keys = NDArray[np.int64]


class Watched(Protocol):
    """What to look for: sorted 64-bit keys of destinations and of spent outpoints.

    A key that matches makes a candidate; the database decides by the whole script. An address that was committed before
    a payer could see it must be found in the block that pays it, therefore: fetch first, then `refresh`, then look.
    """

    async def refresh(self) -> None: ...
    @property
    def destinations(self) -> Keys: ...
    @property
    def outpoints(self) -> Keys: ...
    async def open(self) -> Opened:
        """Return the addresses that somebody may be paying now: where each must be asked about by itself."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """The public half of a wallet on one network: a canonical descriptor and the fingerprint a person compares."""

    descriptor: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Derived:
    """One address of an account: its text, the bytes that a transfer names, and their 64-bit key."""

    text: str
    script: bytes
    key: int


class Addresses(Protocol):
    """Addresses of one network. Pure."""

    def account(self, text: str) -> Account:
        """Read a descriptor or extended public key; raise `Invalid` (field `descriptor`) saying what is wrong."""
        ...

    def derive(self, descriptor: str, index: int) -> Derived:
        """Derive the receiving address at `index` (0 ≤ index < 2**31) of a canonical descriptor."""
        ...

    def parse(self, text: str) -> bytes:
        """Return the bytes that an address of THIS network stands for; raise `Invalid` (field `address`)."""
        ...

    def payment_uri(self, address: str, asset: Asset, units: int, label: str | None) -> str:
        """Write a link that asks a payer's wallet for so many smallest units of an asset of this network."""
        ...


class ChainSource(Protocol):
    """Reads one network from one node. Raises only `ChainError`; concludes nothing from silence."""

    async def check(self) -> Ability:
        """Verify that this node is on this network and fit to be followed; return what it can show.

        Raises `ChainInvalid` if it never can be followed.
        """
        ...

    async def tip(self) -> Tip: ...

    async def blocks(self, first: int, last: int, watched: Watched) -> Sequence[Block]:
        """Return the best chain's blocks first..last, ascending and linked; raise `ChainMoved` if they changed."""
        ...

    async def pending(self, watched: Watched, waiting: Sequence[str]) -> Pending:
        """Look at what waits for a block. `waiting`: our transactions that do, for networks that must be asked."""
        ...

    async def block_hash(self, height: int) -> str:
        """Return the hash of the best chain's block at a height; raise `ChainMoved` where there is none."""
        ...

    async def ancestors(
        self, undone: Sequence[BlockRef], needed: Mapping[str, Sequence[Input]]
    ) -> Mapping[str, Sequence[Ancestor]]:
        """Return what of the transactions in undone blocks ours hang on; `needed`: what ours spend, by their ids.

        Nothing of blocks that the node has no more, and nothing where no transaction spends what another made.
        """
        ...

    async def contracts(self) -> Sequence[Contract]:
        """Return how the contracts of this network's tokens look now; nothing where no asset is a contract."""
        ...

    async def delegates(self, addresses: Sequence[bytes]) -> Mapping[bytes, str]:
        """Return which of these addresses somebody else's code now acts for, and whose (as text)."""
        ...

    def wake(self, watched: Watched) -> AsyncIterator[None]:
        """Yield whenever a look is worthwhile. A hint, never a fact: it may be lost, repeated or forged."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a node: what a network's settings say about it.

    `finality` is what `Tip.final` is read from ("blocks": nothing); `internal` how money that contracts move is seen.
    """

    rpc_url: str = field(repr=False)
    zmq: tuple[str, ...] = ()
    finality: str = "blocks"  # "safe", "finalized"
    internal: str = "auto"  # "trace", "debug", "balances", "off"


class DevNode(Protocol):
    """A private node under command: what the sandbox and the tests of every family ask of it.

    Amounts are smallest units. `push` is what `Connection.zmq` takes. Every verb raises `SandboxError`.
    """

    rpc_url: str
    push: tuple[str, ...]

    async def address(self) -> str:
        """Return a fresh address that is not ours."""
        ...

    async def fund(self, to: str, units: int, asset: str | None = None) -> str:
        """Pay an address, in the coin unless another asset's symbol is given; return the transaction's id."""
        ...

    async def mine(self, count: int = 1) -> tuple[str, ...]:
        """Mine blocks and return their hashes; the first holds what waits."""
        ...

    async def fork(self, depth: int, drop: Collection[str] = frozenset()) -> tuple[str, ...]:
        """Undo blocks and mine a branch that is one block longer, which does not hold `drop`; return its hashes."""
        ...

    async def conflict(self, txid: str) -> str:
        """Return a signed transaction, not broadcast, that spends what another does and pays nobody but its sender."""
        ...

    async def replace(self, txid: str) -> str:
        """Replace a waiting transaction by such a one; return its id."""
        ...

    async def broadcast(self, raw: str) -> str:
        """Hand a signed transaction to the node; return its id."""
        ...

    async def tip(self) -> BlockRef: ...
    async def block_hash(self, height: int) -> str: ...
    async def restart(self) -> None: ...
    async def stop(self) -> None: ...
    async def kill(self) -> None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class About:
    """What a node says of itself: its name and version, whether that is too old for its chain, what it warns of.

    And of its network: how many peers it has, and what a fee is now, for people to read ("1.5 sat/vB"); None where it
    does not tell.
    """

    name: str
    outdated: bool
    warnings: tuple[str, ...]
    peers: int | None = None
    fee: str | None = None


class Probe(Protocol):
    """A closer look at a node than following it needs. Raises only `ChainError`."""

    async def clock(self) -> datetime | None:
        """Return the time of day on the node's machine; None where the connection does not tell it."""
        ...

    async def about(self) -> About:
        """Return what the node says of itself."""
        ...

    async def pushed(self, endpoint: str, seconds: float) -> str | None:
        """Return what the first hint from an endpoint of `Connection.zmq` was, or None if none came in time."""
        ...

    async def close(self) -> None: ...


class Auditor(Protocol):
    """Recomputes what reached addresses, by ways that the source does not go. Raises only `ChainError`."""

    async def received(self, tip: BlockRef, first: int, claims: Sequence[Claim], tell: Tell) -> Sequence[Received]:
        """Return what reached each claim's address in the blocks first..tip, in the order of the claims.

        Whatever happened since `tip` plays no part. Raises `ChainMoved` if it is not in the node's best chain.
        """
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Program:
    """A node program on this machine: how to start it (`argv`, before its own options) and what it calls itself."""

    name: str
    argv: tuple[str, ...]
    version: str


class WalletRequest(Protocol):
    """Says what to ask of a wallet in the payer's browser (EIP-1193), as JSON-ready values."""

    def __call__(self, address: str, asset: Asset, units: int) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Chain:
    """What a family tells the rest of the house about one chain.

    `assets` begins with the chain's own coin; `caip19` is keyed by asset id. Networks of one `space` have the same
    addresses: there a wallet is one keychain with one counter, and an address belongs to one invoice on all of them.
    `title` is what people call it. `explorer` is a public site that shows its transactions, under `/tx/`, and its
    blocks by their hashes, under `/block/`. `contracts` are those of its tokens, by asset id, as people write them.
    """

    name: str
    livemode: bool
    assets: tuple[Asset, ...]
    caip19: Mapping[str, str]
    addresses: Addresses
    space: str
    node_needs: str  # how its node must be started, for a person who looks for what is wrong
    block_seconds: int
    connect: Callable[[Connection], ChainSource]
    title: str = ""
    contracts: Mapping[str, str] = field(default_factory=dict)
    explorer: str | None = None
    wallet_request: WalletRequest | None = None
    probe: Callable[[Connection], Probe] | None = None
    auditor: Callable[[Connection], Auditor] | None = None

    def explorer_url(self, txid: str, position: str) -> str | None:
        """Return where a payment can be looked at: its transaction, or the block where only that is known."""
        if self.explorer is None:
            return None
        return f"{self.explorer}/{'block' if position.startswith(BY_BALANCE) else 'tx'}/{txid}"

    def contract_url(self, asset_id: str) -> str | None:
        """Return where a token's contract can be looked at; None for what is no token, or without an explorer."""
        contract = self.contracts.get(asset_id)
        return None if self.explorer is None or contract is None else f"{self.explorer}/token/{contract}"


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of chain: one folder, one entry in `registry.FAMILIES`.

    `chain` makes the description of one chain, with its tokens, under the name that the settings give its network.
    """

    name: str
    chains: Sequence[str]
    chain: Callable[[str, str, Sequence[Token]], Chain]  # (chain name, network name, tokens)


Families = Mapping[str, Family]
