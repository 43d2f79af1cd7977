"""What the conformance suite and the families' own tests look through: a real node, and our eyes on it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from kassa.chains.base import Chain, ChainSource, Connection, Derived, DevNode, Keys
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.registry import FAMILIES
from kassa.core.facts import Block, Opened, Transaction
from kassa.core.money import Token

Node = TypeVar("Node", bound=DevNode)


@dataclass(frozen=True)
class Subject:
    """One network of the suite: its chain, the fixture that is its node, a wallet, and what it cannot have.

    `dated`: the node says when it took a transaction in. `whole_pool`: it shows its whole mempool, so that what is not
    asked for is known to be absent too. `push`: it can tell of transactions and blocks without being asked.
    """

    family: str
    chain: str
    network: str
    fixture: str
    account: str
    scheme: str = "http"
    dated: bool = True
    whole_pool: bool = True
    push: bool = True


_BITCOIN_ACCOUNT = (  # BIP 84's test mnemonic, m/84h/1h/0h
    "wpkh(tpubDC8msFGeGuwnKG9Upg7DM2b4DaRqg3CUZa5g8v2SRQ6K4NSkxUgd7HsL2XVWbVm39yBA4LAxysQAm397zwQSQoQgewGiYZqrA9DsP4zbQ1M"
    "/0/*)"
)
EVM_ACCOUNT = (  # m/44h/60h/0h of the mnemonic "abandon abandon … about"; anvil pays from another
    "xpub6DCoCpSuQZB2jawqnGMEPS63ePKWkwWPH4TU45Q7LPXWuNd8TMtVxRrgjtEshuqpK3mdhaWHPFsBngh5GFZaM6si3yZdUsT8ddYM3PwnATt"
)
SUBJECTS = {
    "bitcoin-regtest": Subject("bitcoin", "bitcoin-regtest", "bitcoin-regtest", "bitcoind", _BITCOIN_ACCOUNT),
    "litecoin-regtest": Subject(
        "bitcoin", "litecoin-regtest", "litecoin-regtest", "litecoind", _BITCOIN_ACCOUNT, push=False
    ),
    "anvil": Subject("evm", "31337", "anvil", "anvil", EVM_ACCOUNT, dated=False, whole_pool=False, push=False),
    "anvil over WebSocket": Subject(
        "evm", "31337", "anvil", "anvil", EVM_ACCOUNT, scheme="ws", dated=False, whole_pool=False
    ),
}
BITCOIN = SUBJECTS["bitcoin-regtest"]
ANVIL = SUBJECTS["anvil"]


@dataclass
class Watched:
    """Keys that a test adds to; `committed` arrives at the next refresh, as if another process had committed it."""

    destinations: Keys = field(default_factory=lambda: np.empty(0, np.int64))
    outpoints: Keys = field(default_factory=lambda: np.empty(0, np.int64))
    opened: list[bytes] = field(default_factory=list)
    left_out: bool = False
    committed: list[int] = field(default_factory=list)
    refreshes: int = 0

    async def refresh(self) -> None:
        self.refreshes += 1
        if self.committed:
            self.destinations = np.unique(np.concatenate((self.destinations, np.array(self.committed, np.int64))))
            self.committed = []

    async def open(self) -> Opened:
        return Opened(tuple(self.opened), self.left_out)

    def pay(self, *addresses: Derived) -> None:
        self.destinations = np.unique(np.concatenate((self.destinations, [address.key for address in addresses])))

    def spend(self, *transactions: Transaction) -> None:
        keys = [item.key for transaction in transactions for item in transaction.inputs]
        self.outpoints = np.unique(np.concatenate((self.outpoints, np.array(keys, np.int64))))


@dataclass
class Bench(Generic[Node]):
    """One network's node, and our eyes on it."""

    subject: Subject
    node: Node
    chain: Chain
    source: ChainSource
    descriptor: str
    issued: int = 0

    def address(self) -> Derived:
        """An address of ours that was not used before."""
        self.issued += 1
        return self.chain.addresses.derive(self.descriptor, self.issued)

    async def last(self, count: int, watched: Watched) -> Sequence[Block]:
        """The last `count` blocks of the node's chain."""
        height = (await self.node.tip()).height
        return await self.source.blocks(height - count + 1, height, watched)


@asynccontextmanager
async def watching(
    subject: Subject, node: Node, connection: Connection | None = None, tokens: Sequence[Token] = ()
) -> AsyncIterator[Bench[Node]]:
    """Look at a node as its network's settings would have us do."""
    if isinstance(node, AnvilNode) and not tokens:
        tokens = [Token(symbol, contract, 6) for symbol, contract in node.tokens.items()]
    chain = FAMILIES[subject.family].chain(subject.chain, subject.network, tokens)
    source = chain.connect(connection or Connection(in_scheme(node.rpc_url, subject), node.push))
    descriptor = chain.addresses.account(subject.account).descriptor
    try:
        yield Bench(subject, node, chain, source, descriptor)
    finally:
        await source.close()


def in_scheme(url: str, subject: Subject) -> str:
    """The same address in the words of the subject's transport."""
    return subject.scheme + url[url.index("://") :]
