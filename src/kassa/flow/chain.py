"""Two gates: our best chain changed, or we looked into the mempool."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

import kassa.alerts.store as alerts
import kassa.audit.store as audit
import kassa.payments.rival_store as rivals
import kassa.payments.store as payments
import kassa.payments.void_store as voids
import kassa.wallets.owner_store as owning
import kassa.wallets.store as wallets
import kassa.watch.store as watch
from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.audit.model import KASSA, Actor
from kassa.core.crashpoint import crashpoint
from kassa.core.errors import NotFound
from kassa.core.facts import BY_BALANCE, Ancestor, BlockRef, Pending, Tip
from kassa.db.pool import Tx
from kassa.flow.booking import post_unowned
from kassa.flow.contracts import freeze_asset
from kassa.flow.guarding import on_false_addresses
from kassa.flow.sighting import bases
from kassa.flow.standing import reassess
from kassa.flow.unseen import on_unseen
from kassa.house import House
from kassa.payments.model import Touched
from kassa.payments.rules import (
    Found,
    Void,
    attributed,
    conflicts,
    found_in_blocks,
    found_in_mempool,
    look,
    named,
    voided,
)
from kassa.wallets.ahead import MARGIN, Ahead
from kassa.wallets.model import Owner
from kassa.watch.model import ChainUpdate, Position

log = structlog.get_logger()


async def on_chain_update(
    tx: Tx,
    house: House,
    position: Position,
    update: ChainUpdate,
    lease_seconds: int,
    now: datetime,
    ahead: Ahead | None = None,
) -> Position:
    """Move a network to new blocks, with all that follows from them, and return where we stand then.

    An update that does not start where we stand (it was applied already) changes nothing. Raises `LeaseLost` when
    another process follows the network.
    """
    network = position.network
    held = await _hold(tx, position, lease_seconds)
    if held.tip != position.tip:
        return held
    crashpoint("chain.held")
    touched = Touched()
    if update.undo:
        touched |= await payments.undo(tx, network, update.undo[-1].height - 1)
        crashpoint("chain.undone")
        await watch.note_reorganisation(tx, network, update.undo, now)
    tip = await watch.put_update(tx, network, update)
    crashpoint("chain.blocks")
    found = await _attribute(tx, network, update, found_in_blocks(update.apply, held.observed_at, now))
    touched |= await _name(tx, house, network, found, held.observed_at)
    touched |= await _put_found(tx, house, network, found, now, ahead)
    crashpoint("chain.payments")
    spenders = [(transaction, block.ref.height) for block in update.apply for transaction in block.transactions]
    victims = await rivals.victims(tx, network, [transaction for transaction, _ in spenders])
    touched |= await payments.put_conflicts(tx, network, conflicts(spenders, victims))
    crashpoint("chain.conflicts")
    # What another block's execution of the same transaction had paid, and this one's does not, or what failed.
    touched |= await voids.put_void(tx, network, voided(update.apply))
    crashpoint("chain.voids")
    if empty := sum(transaction.empty for block in update.apply for transaction in block.transactions):
        await watch.note_empty(tx, network, empty, now)
    await post_unowned(tx, network, update.apply[0].ref.height - 1, now)
    crashpoint("chain.unowned")
    final = held.final if held.final is None or not update.undo else min(held.final, update.undo[-1].height - 1)
    touched |= await payments.ripe(tx, network, tip.height, final)
    # Before anything settles by these blocks: they are what raised the doubt.
    for doubt in (doubt for block in update.apply for doubt in block.doubts):
        await freeze_asset(tx, network, doubt.asset, f"{doubt.reason} (transaction {doubt.txid})", now)
    await on_unseen(tx, network, update.apply, now)
    await reassess(tx, house, touched, now)
    crashpoint("chain.commit")
    return replace(held, tip=tip, allowed_reorg=None, final=final)


async def on_undoing(
    tx: Tx, position: Position, ancestors: Mapping[str, Sequence[Ancestor]], lease_seconds: int
) -> bool:
    """Note what of blocks that are about to be undone our payments hang on; return whether any of it is new.

    Before they are undone, and not with it: what takes an ancestor's place in the new blocks is only seen by who was
    told to look for it. Raises `LeaseLost`.
    """
    await watch.hold(tx, position.network, position.fence, lease_seconds)
    return await rivals.put_ancestors(tx, position.network, ancestors)


async def on_pending(
    tx: Tx,
    house: House,
    position: Position,
    pending: Pending,
    read_at: datetime,
    lease_seconds: int,
    now: datetime,
    ahead: Ahead | None = None,
) -> bool:
    """Note a look into the mempool, begun at `read_at`, with all that follows; return whether it counted.

    It counts only when the node's tip, read after it, is the block that we stand on.
    """
    network = position.network
    held = await _hold(tx, position, lease_seconds)
    if held.tip != pending.tip:
        return False
    known = await payments.unconfirmed(tx, network, [transaction.txid for transaction in pending.transactions])
    said = look(known, pending)
    noted = {note.txid for note in known}
    fresh = [
        found
        for found in found_in_mempool(pending, held.observed_at, now)
        if found.transaction.txid not in noted or found.transaction.txid in said.seen
    ]
    touched = await _put_found(tx, house, network, fresh, now, ahead)
    crashpoint("mempool.payments")
    ancestors = {said.txid: said.ancestors for said in pending.transactions if said.transfers}
    await rivals.put_ancestors(tx, network, ancestors)
    crashpoint("mempool.ancestors")
    spenders = [(transaction, None) for transaction in pending.transactions]
    victims = await rivals.victims(tx, network, pending.transactions)
    touched |= await payments.put_conflicts(tx, network, conflicts(spenders, victims))
    touched |= await payments.put_missing(tx, network, sorted(said.missing), read_at)
    if pending.complete:
        await watch.note_observed(tx, network, read_at)
        # Not left to the clock's gate, which waits for every network of an invoice: this one alone can tell.
        drop_after = timedelta(seconds=house.settings.networks[network].drop_after_seconds)
        touched |= await payments.lost(tx, network, read_at - drop_after)
    await reassess(tx, house, touched, now)
    crashpoint("mempool.commit")
    return True


async def on_final(
    tx: Tx, house: House, position: Position, said: BlockRef, lease_seconds: int, now: datetime
) -> Position:
    """Note the newest block that the network calls final, with all that follows; return where we stand then.

    The caller has seen that the node's tip is the block we stand on. Of several nodes behind one address another may
    have named the final block: one that is not of our chain says nothing about it.
    """
    network = position.network
    held = await _hold(tx, position, lease_seconds, said.height)
    if held.tip is None or held.tip != position.tip or (held.final is not None and said.height <= held.final):
        return held
    final = said.height
    ours = await watch.block_hash(tx, network, final)
    if final > held.tip.height or ours not in (said.hash, None):
        log.warning("a final block is not of our chain", network=network, height=final, hash=said.hash)
        return held
    await watch.note_final(tx, network, final, now)
    await reassess(tx, house, await payments.ripe(tx, network, held.tip.height, final), now)
    crashpoint("final.commit")
    return replace(held, final=final)


async def note_node(
    tx: Tx,
    position: Position,
    tip: Tip | None,
    state: str,
    detail: str,
    now: datetime,
    *,
    behind: bool = False,
    refused: bool = False,
) -> bool:
    """Note what a network's node says of itself; return whether the network's state changed by it."""
    network, fence = position.network, position.fence
    return await watch.note_node(tx, network, fence, tip, state, detail, now, behind=behind, refused=refused)


async def halt_network(tx: Tx, position: Position, reason: str, now: datetime) -> None:
    """Stop following a network until an operator decides; say so to every store that uses it."""
    if await watch.note_node(tx, position.network, position.fence, None, "halted", reason, now):
        await watch.decide(tx, position.network, "halted", reason, now)
        # The reason may name our node: that is the operator's business, not every tenant's.
        halted = Finding(
            Kind.NETWORK_HALTED,
            position.network,
            Severity.CRITICAL,
            f"payments on {position.network} are not followed until the operator has decided about its chain",
            network=position.network,
            detail=reason,
            actions=(Action(Deed.HALTED, position.network),),
        )
        await alerts.open_alert(tx, halted, now)
        await audit.record(tx, KASSA, "network.halted", position.network, now, after={"reason": reason})


async def resume_network(tx: Tx, network: str, depth: int, by: Actor, now: datetime) -> None:
    """Follow a halted network again, allowing one reorganisation of up to `depth` blocks; raises `NotFound`."""
    if not await watch.resume(tx, network, depth):
        raise NotFound(f"{network!r} is not halted; see `kassa doctor`")
    await watch.decide(tx, network, "resumed", f"reorganisations of up to {depth} blocks allowed once", now)
    await alerts.undo_by_operator(tx, Kind.NETWORK_HALTED, network, f"an operator resumed {network}", now)
    await audit.record(tx, by, "network.resumed", network, now, after={"allowed_reorg": depth})


async def give_up_network(tx: Tx, network: str, by: Actor, now: datetime) -> None:
    """Wait no more for a network that is followed no more; raises `NotFound`."""
    if not await watch.give_up(tx, network, now):
        raise NotFound(f"{network!r} is followed, or no network that was ever used: take it out of the settings first")
    await audit.record(tx, by, "network.given_up", network, now)


async def _hold(tx: Tx, position: Position, lease_seconds: int, said: int | None = None) -> Position:
    """Hold a network for its follower, who alone moves it: what somebody else wrote there is taken back.

    `said` is the final height that the follower learned now.
    """
    network = position.network
    held = await watch.hold(tx, network, position.fence, lease_seconds)
    # Who is halted follows nothing, and the state is written at each look: what says so now is a stranger's word.
    right = replace(held, state=position.state) if held.state == "halted" else held
    if held.tip != position.tip:  # or another try of this commit has moved it
        right = replace(right, tip=await watch.put_right(tx, network))
    if held.final is not None and held.final > max(position.final or 0, said or 0):
        await watch.lower_final(tx, network, position.final)
        right = replace(right, final=position.final)
    if (right.tip, right.final) != (held.tip, held.final):
        log.error("a network's height was written by something else", network=network, tip=held.tip, final=held.final)
    return right


async def _attribute(tx: Tx, network: str, update: ChainUpdate, found: list[Found]) -> list[Found]:
    if not any(f.transfer.key.position.startswith(BY_BALANCE) for f in found):
        return found
    txids = [said.txid for block in update.apply for said in block.transactions]
    return attributed(found, await voids.called(tx, network, txids), update.apply)


async def _name(tx: Tx, house: House, network: str, found: Sequence[Found], observed_at: datetime | None) -> Touched:
    if not any(f.transfer.key.position.startswith((BY_BALANCE, "call:")) for f in found):
        return Touched()
    drop_after = timedelta(seconds=house.settings.networks[network].drop_after_seconds)
    nameless = await voids.nameless(tx, network, None if observed_at is None else observed_at - drop_after)
    if not nameless:
        return Touched()
    names, void = named(found, nameless)
    renamed = await voids.rename(tx, names)
    height = found[0].block.height if found[0].block else 0
    # What was shown under its own name before is that payment, and no other.
    void += [Void(note.txid, note.position, height) for note in nameless if note.id in names.keys() - renamed]
    return await voids.put_void(tx, network, void)


async def _put_found(
    tx: Tx, house: House, network: str, found: Sequence[Found], now: datetime, ahead: Ahead | None
) -> Touched:
    if not found:
        return Touched()
    scripts = list({f.transfer.to for f in found})
    owners = {owner.script: owner for owner in await owning.owners(tx, network, scripts)}
    known = set(owners)
    if false := [owner for owner in owners.values() if not house.is_issued(owner)]:
        await on_false_addresses(tx, house, false, now)
        for owner in false:
            del owners[owner.script]
            if house.is_derived(owner):  # the money is our wallet's all the same
                owners[owner.script] = replace(owner, store_id=None, invoice_id=None, customer_id=None)
    if ahead is not None:
        owners |= await _adopted(tx, network, [script for script in scripts if script not in known], ahead, now)
    ours = [(f, owners[f.transfer.to]) for f in found if f.transfer.to in owners and f.transfer.units > 0]
    return await payments.put(tx, ours, await bases(tx, house, ours), now)


async def _adopted(tx: Tx, network: str, scripts: Sequence[bytes], ahead: Ahead, now: datetime) -> dict[bytes, Owner]:
    """Keep addresses that were paid before we issued them: the database does not remember having done so."""
    adopted = {}
    for unissued in filter(None, map(ahead.find, scripts)):
        adopted[unissued.script] = await wallets.adopt(tx, network, unissued, MARGIN, now)
        reason = (
            f"address {unissued.text} (index {unissued.index}) was paid, but this database never issued it: "
            "it was restored from an old backup, or the wallet is used elsewhere; its counter has jumped past it"
        )
        log.error("an address above our counter was paid", network=network, index=unissued.index)
        await watch.decide(tx, network, "counter jumped", reason, now)
        about = {"address": unissued.text, "index": unissued.index}
        # The address is one of its wallet's: other stores on the network learn nothing of it.
        for store in await wallets.stores_of(tx, unissued.keychain_id):
            subject = f"{network}/{unissued.keychain_id}/{store}"
            jumped = Finding(Kind.COUNTER_JUMPED, subject, Severity.WARNING, reason, store, network, about=about)
            await alerts.open_alert(tx, jumped, now)
        passed = {"paid_index": unissued.index, "reason": reason}
        await audit.record(tx, KASSA, "wallet.counter_jumped", f"keychain {unissued.keychain_id}", now, after=passed)
    return adopted
