"""Which transactions of a block concern us, and what they pay. Pure: everything was fetched before.

A receipt is the truth about a transaction's end and its logs. Of logs only Transfers of the configured contracts count,
in exactly the form that ERC-20 gives them; what another contract logs is nothing to us.
"""

from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from kassa.chains.base import Keys
from kassa.chains.evm.addresses import address_key
from kassa.chains.evm.bloom import logged
from kassa.chains.evm.hexadecimal import data, keys, number, numbers
from kassa.chains.evm.keccak import keccak
from kassa.chains.evm.messages import Body, Log, Names, Receipt, Tx
from kassa.chains.matching import NO_KEYS, members
from kassa.core.errors import ChainUnavailable
from kassa.core.facts import BlockRef, Input, Transaction, Transfer, TransferKey, Unseen

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
"""keccak("Transfer(address,address,uint256)"), the first topic of every transfer of a token."""
UPGRADES = tuple([f"0x{keccak(event).hex()}" for event in (b"Upgraded(address)", b"BeaconUpgraded(address)")])
"""What a proxy logs when the code behind it changes (EIP-1967)."""
_PADDING = "0x" + 24 * "0"
_SIGNED = (None, "0x0", "0x1", "0x2", "0x3", "0x4")
"""Types of transactions that somebody signed (EIP-2718). Rollups add others, which the chain makes by itself."""
_NOBODY = "0x" + 40 * "0"
FAILED, SUCCEEDED = "0x0", "0x1"


@dataclass(frozen=True, slots=True)
class Frame:
    """Ether that a contract moved inside a transaction to another account, in wei."""

    to: str
    units: int


@dataclass(slots=True)
class Fetched:
    """A block and all that was fetched with it.

    `receipts` (by transaction id) is None while none are needed. `frames`: by transaction id, where the network's
    internal transfers are traced; `untraced` says that they could not be had, and balances must tell;
    `unseen` what that leaves open.
    """

    body: Body
    receipts: dict[str, Receipt] | None = None
    frames: dict[str, list[Frame]] = field(default_factory=dict)
    untraced: bool = False
    unseen: Unseen | None = None
    _logged: Collection[str] | None = None

    @property
    def ref(self) -> BlockRef:
        return BlockRef(number(self.body.number), self.body.hash)

    @property
    def time(self) -> datetime:
        return block_time(self.body.timestamp)

    @property
    def logged(self) -> Collection[str]:
        """Every address and topic in the logs of its receipts."""
        if self._logged is None:
            self._logged = logged((self.receipts or {}).values())
        return self._logged


def block_time(text: str) -> datetime:
    """Read a block's time."""
    seconds = number(text)
    if seconds >= 2**36:
        raise ChainUnavailable(f"the node gave a block the time {text[:80]!r}")
    return datetime.fromtimestamp(seconds, UTC)


def touched(group: Sequence[Fetched], destinations: Keys, outpoints: Keys, names: Names) -> list[list[int]]:
    """Return for each block which transactions may pay a watched address or spend a watched outpoint, ascending.

    The keys of all blocks are compared at once: that costs little more than comparing those of one.
    """
    hits: set[tuple[int, int]] = set()
    for block in _named(group, destinations):
        credited = list(_credited(group[block], names))
        paying = members(keys([digits for _, digits in credited]), destinations)
        hits |= {(block, credited[hit][0]) for hit in np.flatnonzero(paying).tolist()}
    if outpoints.size:
        owners = [(block, place) for block, one in enumerate(group) for place in range(len(one.body.transactions))]
        spending = outpoint_keys([tx for fetched in group for tx in fetched.body.transactions])
        hits |= {owners[hit] for hit in np.flatnonzero(members(spending, outpoints)).tolist()}
    found: list[list[int]] = [[] for _ in group]
    for block, place in sorted(hits):
        found[block].append(place)
    return found


def _named(group: Sequence[Fetched], destinations: Keys) -> list[int]:
    """Return which blocks name a watched address at all, where money may go: most name none, and are done with.

    Of logs their distinct topics are compared, whoever wrote them, so that nobody looks at each log.
    """
    digits: list[str] = []
    ends: list[int] = []
    for fetched in group:
        digits += [address_digits(tx.to) for tx in fetched.body.transactions if tx.to is not None and tx.value != "0x0"]
        digits += [address_digits(frame.to) for frames in fetched.frames.values() for frame in frames]
        if fetched.receipts is not None:
            digits += [text[26:42] for text in fetched.logged if text.startswith(_PADDING) and len(text) == 66]
        ends.append(len(digits))
    found = np.flatnonzero(members(keys(digits), destinations))
    return sorted(set(np.searchsorted(ends, found, side="right").tolist()))


def _credited(fetched: Fetched, names: Names) -> Iterator[tuple[int, str]]:
    """Yield whom transactions pay, by value, log or inner call: their numbers, and the digits of receivers' keys."""
    receipts, frames, contracts = fetched.receipts, fetched.frames, names.tokens
    for place, tx in enumerate(fetched.body.transactions):
        if tx.to is not None and tx.value != "0x0":
            yield place, address_digits(tx.to)
        if receipts is not None:
            for log in receipts[tx.hash].logs:
                if is_transfer(log, contracts):
                    yield place, log.topics[2][26:42]
        for frame in frames.get(tx.hash, ()):
            yield place, address_digits(frame.to)


def is_transfer(log: Log, contracts: Container[str]) -> bool:
    """Tell whether a log is a Transfer of one of these contracts, in the form of ERC-20."""
    topics = log.topics
    return (
        len(topics) == 3
        and topics[0] == TRANSFER
        and log.address.lower() in contracts
        and len(log.data) == 66
        and len(topics[2]) == 66
        and topics[2].startswith(_PADDING)
    )


def describe(fetched: Fetched, place: int, destinations: Keys, names: Names) -> Transaction:
    """Reduce a transaction of a block to what it pays to watched addresses and to the outpoint that it spends.

    Raises `ChainUnavailable` where its receipt is missing: without one nothing is known.
    """
    tx = fetched.body.transactions[place]
    receipt = (fetched.receipts or {}).get(tx.hash)
    if receipt is None:
        raise ChainUnavailable(f"the node gave no receipt for transaction {tx.hash[:80]}")
    data(tx.hash, 32)
    transfers: list[Transfer] = []
    empty = 0
    if receipt.status == SUCCEEDED:
        logged = _token_transfers(receipt, destinations, names)
        empty = sum(not transfer.units for transfer in logged)
        transfers += coin_transfers(tx, destinations, names)
        transfers += [transfer for transfer in logged if transfer.units]
        transfers += _inner_transfers(tx.hash, fetched.frames.get(tx.hash, ()), destinations, names)
    return Transaction(tx.hash, tuple(transfers), (spent(tx),), empty=empty)


def upgrades(fetched: Fetched, names: Names) -> bool:
    """Tell whether one of our tokens' contracts logged that its code is another now."""
    if fetched.receipts is None or not any(topic in fetched.logged for topic in UPGRADES):
        return False
    return any(
        log.topics[:1] and log.topics[0] in UPGRADES and log.address.lower() in names.tokens
        for receipt in fetched.receipts.values()
        for log in receipt.logs
    )


def coin_transfers(tx: Tx, destinations: Keys, names: Names) -> list[Transfer]:
    """Return the transaction's own ether to a watched address."""
    units = number(tx.value)
    if tx.to is None or not units or tx.to.lower() == tx.sender.lower():
        return []
    return _to_watched(tx.hash, "value", tx.to, units, names.coin, destinations, names)


def _token_transfers(receipt: Receipt, destinations: Keys, names: Names) -> list[Transfer]:
    _check_order(receipt)
    found: list[Transfer] = []
    for place, log in enumerate(receipt.logs):
        if is_transfer(log, names.tokens) and log.topics[1] != log.topics[2]:
            units = int.from_bytes(data(log.data, 32))
            to, asset = "0x" + log.topics[2][26:], names.tokens[log.address.lower()]
            found += _to_watched(receipt.txid, f"log:{place}", to, units, asset, destinations, names)
    return found


def _check_order(receipt: Receipt) -> None:
    """Refuse logs that are not all of a receipt's, in their order: a position counts them."""
    indexes = [number(log.index) for log in receipt.logs if log.index is not None]
    if indexes and indexes != list(range(indexes[0], indexes[0] + len(receipt.logs))):
        raise ChainUnavailable(f"the node left out or exchanged logs of transaction {receipt.txid}")


def _inner_transfers(txid: str, frames: Sequence[Frame], destinations: Keys, names: Names) -> list[Transfer]:
    return [
        transfer
        for place, frame in enumerate(frames)
        for transfer in _to_watched(txid, f"call:{place}", frame.to, frame.units, names.coin, destinations, names)
    ]


def _to_watched(
    txid: str, position: str, to: str, units: int, asset: str, destinations: Keys, names: Names
) -> list[Transfer]:
    address = data(to, 20)
    if not members(np.array([address_key(address)], np.int64), destinations)[0]:
        return []
    return [Transfer(TransferKey(names.network, txid, position), address, asset, units)]


def spent(tx: Tx) -> Input:
    """Return the one outpoint of a transaction: its sender's nonce, which no other transaction can use.

    What nobody signed cannot be replaced, and stands for itself.
    """
    sender, nonce = data(tx.sender, 20), number(tx.nonce)
    if tx.kind not in _SIGNED or tx.sender == _NOBODY:
        # What the chain itself does bears no nonce that means anything: several in a block share one.
        own = data(tx.hash, 32)
        return Input(f"0x{own.hex()}", address_key(own))
    return Input(f"0x{sender.hex()}:{nonce}", _outpoint_key(address_key(sender), nonce))


def outpoint_keys(transactions: Sequence[Tx]) -> Keys:
    """Return the search key of each transaction's outpoint: its sender's key XOR the nonce."""
    if not transactions:
        return NO_KEYS
    read = numbers([tx.nonce for tx in transactions])
    nonces = np.array([nonce & 0xFFFFFFFFFFFFFFFF for nonce in read], np.uint64).view(np.int64)
    found: Keys = keys([address_digits(tx.sender) for tx in transactions]) ^ nonces
    return found


def _outpoint_key(sender: int, nonce: int) -> int:
    return ((sender ^ nonce) + 2**63) % 2**64 - 2**63


def address_digits(address: str) -> str:
    """Return the digits of an address's search key; of what is no address, none that can be read."""
    return address[2:18] if len(address) == 42 and address.startswith("0x") else "?"
