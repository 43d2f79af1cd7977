"""Replace a wallet: asked for, confirmed elsewhere, applied after a delay. All of it is told to the store's owners.

Whoever steals one key, or one session, cannot divert money at once and unseen: the confirmation must come from another,
and until the delay is over everybody who listens can cancel.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

import kassa.alerts.store as alerts
import kassa.audit.store as audit
import kassa.events.store as events
import kassa.stores.store as stores
import kassa.wallets.replacement_store as changes
import kassa.wallets.store as wallets
from kassa.alerts.model import Finding, Kind, Severity
from kassa.audit.anchor import read_anchor, read_start
from kassa.audit.model import KASSA, Actor, Break
from kassa.chains.base import Account
from kassa.core.clock import rfc3339
from kassa.core.errors import Conflict, FieldFault, Invalid
from kassa.core.ids import new_id
from kassa.db.pool import Tx
from kassa.events.model import NewEvent
from kassa.flow.makers import refuse_same_person
from kassa.flow.sharing import share_addresses, tell_sharers
from kassa.house import House
from kassa.wallets.change import Change, asked_seal, change_resource, confirmed_seal, is_sound, told_change

LEAST_DELAY = timedelta(hours=1)
"""Of a live store, whatever the settings say: whoever can change them must not make a change hold at once."""
LONGEST_OVERDUE = timedelta(days=1)
"""A change that comes later is given up: it stems from a restored backup, or was revived in the database."""


async def ask_wallet_change(
    tx: Tx, house: House, by: Actor, store_id: str, wallet_id: str, account: Account, now: datetime
) -> dict[str, Any]:  # JSON
    """Ask that a wallet be replaced; nothing changes yet. Raises `NotFound`, `Invalid`, `Conflict`."""
    wallet = await wallets.get_wallet(tx, store_id, wallet_id)
    chain = house.chains.get(wallet.network)
    if wallet.retired_at is not None or chain is None:
        raise Conflict("this wallet issues no addresses any more", code="wallet_retired")
    if account.descriptor == wallet.descriptor:
        raise Invalid(FieldFault("descriptor", "is the one that the wallet has"))
    asked = Change(
        id=new_id("wch", now),
        store_id=wallet.store_id,
        wallet_id=wallet.id,
        network=wallet.network,
        space=chain.space,
        descriptor=account.descriptor,
        fingerprint=account.fingerprint,
        asked_at=now,
        asked_by=by.name,
        asked_seal=b"",
    )
    asked = replace(asked, asked_seal=asked_seal(house.seal, asked))
    await changes.put(tx, asked)
    reason = (
        f"{by.name} asks that the wallet on {asked.network} be replaced by another key ({asked.fingerprint}): if nobody"
        " of yours wants that, cancel it, and revoke what it was asked with"
    )
    told = {"wallet_change_id": asked.id, "wallet_id": wallet.id, "fingerprint": asked.fingerprint}
    warning = Finding(Kind.WALLET_CHANGE, asked.id, Severity.WARNING, reason, store_id=asked.store_id, about=told)
    await alerts.open_alert(tx, warning, now)
    return await _tell(tx, by, "wallet.change_asked", asked, now)


async def confirm_wallet_change(
    tx: Tx, house: House, by: Actor, store_id: str | None, change_id: str, fingerprint: str, now: datetime
) -> dict[str, Any]:  # JSON
    """Confirm a change by repeating the new key's fingerprint, as another than who asked; it holds after the delay.

    Without a `store_id` it is the operator who confirms, who may have asked too. Raises `NotFound`, `Invalid`, or
    `Conflict` (`same_person`, `unrecorded`, `change_ended`, `change_confirmed`, `change_mismatch`).
    """
    held = await _open(tx, house, store_id, change_id)
    if held.confirmed_at is not None:
        raise Conflict("the change is confirmed already", code="change_confirmed")
    if store_id is not None:
        await refuse_same_person(tx, house, held, by.name)
    if fingerprint.strip().lower() != held.fingerprint.lower():
        raise Invalid(FieldFault("fingerprint", "is not that of the new key: read it from your signing device"))
    delay = timedelta(seconds=house.settings.wallets.change_delay_seconds)
    if (await stores.get_store(tx, held.store_id)).livemode:
        delay = max(delay, LEAST_DELAY)
    due_at = now + delay
    made = confirmed_seal(house.seal, held, by.name, due_at)
    confirmed = await changes.confirm(tx, held, by.name, now, due_at, made)
    return await _tell(tx, by, "wallet.change_confirmed", confirmed, now)


async def cancel_wallet_change(
    tx: Tx, by: Actor, store_id: str | None, change_id: str, now: datetime
) -> dict[str, Any]:  # JSON
    """Give a change up, at any time before it is applied; raises `NotFound`, or `Conflict` (`change_ended`)."""
    held = await changes.hold(tx, store_id, change_id)
    if held.ended_at is not None:
        raise Conflict(f"the change is {held.status} already", code="change_ended")
    return await _end(tx, by, held, "cancelled", "wallet.change_cancelled", now)


async def on_wallet_changes(tx: Tx, house: House, now: datetime) -> bool:
    """Apply or end one change whose delay is over; return whether there was one. What was not made through Kassa, has
    ended before, or is overdue by more than `LONGEST_OVERDUE`, is ended; what the audit log cannot vouch for, waits.
    """
    for change in await changes.due(tx, now):
        match await _stand(tx, house, change, now):
            case _Stand.WAITING:
                continue
            case _Stand.GOING:
                await _apply(tx, house, change, now)
            case _Stand.OVERDUE:
                await _end(tx, KASSA, change, "cancelled", "wallet.change_cancelled", now)
            case _Stand.FORGED:
                reason = f"the change {change.id} of a wallet was written by nobody who may: it was not carried out"
                await _give_up(tx, change, Kind.ADDRESS_MISMATCH, Severity.CRITICAL, reason, now)
            case _Stand.UNPROVEN:
                reason = (
                    f"the change {change.id} of a wallet was given up: it was asked for before the audit log was"
                    " accepted as it is, so nothing proves it; ask for it again"
                )
                await _give_up(tx, change, Kind.WALLET_CHANGE_UNPROVEN, Severity.WARNING, reason, now)
        return True
    return False


class _Stand(Enum):
    """Where a change stands whose delay is over."""

    GOING = auto()
    WAITING = auto()
    OVERDUE = auto()
    FORGED = auto()
    UNPROVEN = auto()


async def _stand(tx: Tx, house: House, change: Change, now: datetime) -> _Stand:
    """Tell where a change stands by its seal, and by the audit log: asked for and not ended.

    Seals that were copied before it ended fit for ever, and rows can be deleted; but an act that was cut out of the log
    since the change was asked for is missed by the anchor, which is not in the database. A log that is known to be
    broken is not read again: nobody could cancel the change meanwhile.
    """
    sound = is_sound(house.seal, change) and change.network in house.chains
    course = await audit.course(tx, change.id) if sound else None
    if course is None or course.ended:
        return _Stand.FORGED
    if change.due_at is not None and now - change.due_at > LONGEST_OVERDUE:
        return _Stand.OVERDUE
    anchor, start = read_anchor(house.settings.data_dir), read_start(house.settings.data_dir)
    if course.asked.number < start.number:
        return _Stand.UNPROVEN
    if anchor.number < course.asked.number or await alerts.is_open(tx, Kind.AUDIT_LOG_BROKEN):
        return _Stand.WAITING
    return _Stand.WAITING if isinstance(await audit.verify(tx, anchor, course.asked), Break) else _Stand.GOING


async def _apply(tx: Tx, house: House, change: Change, now: datetime) -> None:
    await changes.retire(tx, change.wallet_id, now)
    account = Account(change.descriptor, change.fingerprint)
    made = await wallets.add_wallet(tx, change.store_id, change.network, change.space, account, house.seal, now)
    await share_addresses(tx, house, made.keychain_id, made.descriptor, made.network)
    await _end(tx, KASSA, change, "applied", "wallet.changed", now)
    await tell_sharers(tx, made, KASSA, now)


async def _give_up(tx: Tx, change: Change, kind: Kind, severity: Severity, reason: str, now: datetime) -> None:
    await alerts.open_alert(tx, Finding(kind, change.id, severity, reason, store_id=change.store_id), now)
    await _end(tx, KASSA, change, "cancelled", "wallet.change_cancelled", now)


async def _open(tx: Tx, house: House, store_id: str | None, change_id: str) -> Change:
    held = await changes.hold(tx, store_id, change_id)
    if held.ended_at is not None:
        raise Conflict(f"the change is {held.status} already", code="change_ended")
    if not is_sound(house.seal, held):
        raise Conflict("this change was not asked for through Kassa; cancel it", code="change_mismatch")
    return held


async def _end(tx: Tx, by: Actor, held: Change, ended_as: str, deed: str, now: datetime) -> dict[str, Any]:  # JSON
    ended = await changes.end(tx, held, ended_as, now)
    await alerts.close_alert(tx, Kind.WALLET_CHANGE, held.id, f"the change was {ended_as} at {rfc3339(now)}", now)
    return await _tell(tx, by, deed, ended, now)


async def _tell(tx: Tx, by: Actor, deed: str, change: Change, now: datetime) -> dict[str, Any]:  # JSON
    resource = change_resource(change)
    await events.write(tx, [NewEvent(change.store_id, deed, told_change(change))], now)
    await audit.record(tx, by, deed, change.id, now, store_id=change.store_id, after=resource)
    return resource
