"""What a look at the chain says about our payments. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kassa.core.facts import BY_BALANCE, Block, BlockRef, Pending, Transaction, Transfer, TransferKey, Unseen
from kassa.core.ids import PaymentId


@dataclass(frozen=True, slots=True)
class Found:
    """A transfer to a watched key, and what was seen of it: in `block`, or in the mempool (None)."""

    transfer: Transfer
    transaction: Transaction
    block: BlockRef | None
    first_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Conflict:
    """`txid` cannot confirm while `by` stands (at `height`, or unconfirmed): both, or an ancestor, spend the same."""

    txid: str
    by: str
    height: int | None


@dataclass(frozen=True, slots=True)
class Victim:
    """`txid`, one of ours, can confirm only while nothing but `by` spends an outpoint: itself, or an ancestor of it."""

    txid: str
    by: str


@dataclass(frozen=True, slots=True)
class Void:
    """A block at a height shows that the payment at a position (None: each) of a transaction is nothing.

    Without `calls` it says nothing of what contracts moved inside the transaction.
    """

    txid: str
    position: str | None
    height: int
    calls: bool = True


@dataclass(frozen=True, slots=True)
class Internal:
    """A payment inside a transaction, without a block: named by its call, or after the block whose balances showed it.

    The latter's `txid` is the hash of a block that was undone.
    """

    id: PaymentId
    txid: str
    position: str
    to: bytes
    units: int


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A payment's transaction without a block, as last noted; `conflict_height`: where what overtook it has one."""

    txid: str
    replaceable: bool
    missing_since: datetime | None
    conflict_txid: str | None
    conflict_height: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What a look into the mempool changes: which transactions were seen (again or otherwise), which are missing."""

    seen: frozenset[str]
    missing: frozenset[str]


def first_seen(claim: datetime | None, observed_at: datetime | None, now: datetime) -> datetime:
    """Return when a transaction was first seen, on our clock.

    The node's or the miner's `claim` fills the time in which we did not look, and never more: not before the last
    moment at which we had seen everything, not after now.
    """
    if claim is None:
        return now
    moment = min(claim, now)
    return moment if observed_at is None else min(now, max(moment, observed_at))


def found_in_blocks(blocks: Sequence[Block], observed_at: datetime | None, now: datetime) -> list[Found]:
    """List every candidate transfer of some blocks, in the order of the chain."""
    return [
        Found(transfer, transaction, block.ref, first_seen(block.time, observed_at, now))
        for block in blocks
        for transaction in block.transactions
        for transfer in transaction.transfers
    ]


def found_in_mempool(pending: Pending, observed_at: datetime | None, now: datetime) -> list[Found]:
    """List every candidate transfer of a look into the mempool."""
    return [
        Found(transfer, transaction, None, first_seen(transaction.first_seen_at, observed_at, now))
        for transaction in pending.transactions
        for transfer in transaction.transfers
    ]


def named(found: Sequence[Found], nameless: Sequence[Internal]) -> tuple[dict[PaymentId, TransferKey], list[Void]]:
    """Find again in new blocks what only balances showed in those that were undone.

    A balance bears its block's name, so the same money has another in another block: the same amount to the same
    address, shown by a balance or by the call itself, is the same payment. Names go before amounts, and both through
    all blocks before anything is concluded: where an address got what then is none of its old payments, those that are
    left are part of it, or are no more: they are void.
    """
    waiting = {(note.txid, note.position): note for note in nameless}
    others = [
        f
        for f in found
        if f.transfer.key.position.startswith((BY_BALANCE, "call:"))
        and waiting.pop((f.transfer.key.txid, f.transfer.key.position), None) is None
    ]
    names: dict[PaymentId, TransferKey] = {}
    heights: dict[bytes, int] = {}
    for f in others:
        alike = (at for at, note in waiting.items() if (note.to, note.units) == (f.transfer.to, f.transfer.units))
        if (again := next(alike, None)) is not None:
            names[waiting.pop(again).id] = f.transfer.key
        else:
            heights.setdefault(f.transfer.to, 0 if f.block is None else f.block.height)
    voids = [Void(note.txid, note.position, heights[note.to]) for note in waiting.values() if note.to in heights]
    return names, voids


def attributed(found: Sequence[Found], called: Sequence[Internal], blocks: Sequence[Block]) -> list[Found]:
    """Find again, in what balances grew by, payments known by their calls inside transactions that are in that block.

    A node may have lost the traces that it had of the same transaction in another block. What is more than those
    payments remains the balance's; where it is less, the transaction paid otherwise there, and nobody can say what.
    """
    held = {block.ref: {said.txid: said for said in block.transactions} for block in blocks}
    kept: list[Found] = []
    for f in found:
        transfer, beside = f.transfer, {} if f.block is None else held[f.block]
        known = [each for each in called if each.to == transfer.to and each.txid in beside]
        rest = transfer.units - sum(each.units for each in known)
        if not transfer.key.position.startswith(BY_BALANCE) or rest < 0:
            kept.append(f)
            continue
        for each in known:
            key = TransferKey(transfer.key.network, each.txid, each.position)
            part = replace(transfer, key=key, units=each.units)
            kept.append(replace(f, transfer=part, transaction=beside[each.txid]))
        if rest:
            kept.append(replace(f, transfer=replace(transfer, units=rest)))
    return kept


def voided(blocks: Sequence[Block]) -> list[Void]:
    """Return what blocks show to be nothing: what transactions in them had paid in other blocks, and do not here.

    Where what contracts moved could not be seen whole, only what they would have paid themselves.
    """
    return [
        Void(said.txid, None, block.ref.height, calls=block.unseen in (None, Unseen.UNTRACED))
        for block in blocks
        for said in block.transactions
    ]


def conflicts(
    spenders: Sequence[tuple[Transaction, int | None]], victims: Mapping[str, Collection[Victim]]
) -> list[Conflict]:
    """List which of our transactions were overtaken. `victims`: ours by an outpoint that each of them needs."""
    return [
        Conflict(victim.txid, transaction.txid, height)
        for transaction, height in spenders
        for spent in transaction.inputs
        for victim in victims.get(spent.outpoint, ())
        if transaction.txid not in (victim.txid, victim.by)
    ]


def look(known: Sequence[Unconfirmed], pending: Pending) -> Look:
    """Compare our unconfirmed payments with the mempool. Absence says something only when the look was complete.

    A transaction that is there again is no longer missing and no longer replaced, but by a block: it was there before
    that block came, which the look may be older than. One that a conflicting transaction has overtaken is not also
    missing.
    """
    present = {transaction.txid: transaction for transaction in pending.transactions}
    seen = frozenset(
        note.txid
        for note in known
        if note.txid in present
        and note.conflict_height is None
        and (
            note.missing_since is not None
            or note.conflict_txid is not None
            or note.replaceable is not present[note.txid].replaceable
        )
    )
    gone = (note for note in known if note.txid not in present and note.missing_since is None)
    missing = frozenset(note.txid for note in gone if note.conflict_txid is None) if pending.complete else frozenset()
    return Look(seen, missing)
