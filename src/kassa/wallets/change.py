"""The change of a wallet: asked for, confirmed by somebody else, applied after a delay."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kassa.core.clock import rfc3339
from kassa.core.ids import StoreId, WalletId
from kassa.wallets.seal import Seal, fits


@dataclass(frozen=True, slots=True)
class Change:
    """What shall become of a wallet, who wants it, and how far it is."""

    id: str
    store_id: StoreId
    wallet_id: WalletId
    network: str
    space: str
    descriptor: str
    fingerprint: str
    asked_at: datetime
    asked_by: str
    asked_seal: bytes
    confirmed_at: datetime | None = None
    confirmed_by: str | None = None
    due_at: datetime | None = None
    ended_at: datetime | None = None
    ended_as: str | None = None
    confirmed_seal: bytes | None = None

    @property
    def status(self) -> str:
        """Say how far it is: asked, confirmed, applied or cancelled."""
        return self.ended_as or ("asked" if self.confirmed_at is None else "confirmed")


def asked_seal(seal: Seal, change: Change) -> bytes:
    """Seal what was asked, and by whom."""
    parts = (change.store_id, change.wallet_id, change.network, change.space, change.descriptor, change.fingerprint)
    return seal.of_change(change.id, "asked", *parts, change.asked_by)


def confirmed_seal(seal: Seal, change: Change, by: str, due_at: datetime) -> bytes:
    """Seal that it was confirmed, and from when it holds."""
    return seal.of_change(change.id, "confirmed", change.asked_seal.hex(), by, due_at.isoformat())


def is_sound(seal: Seal, change: Change) -> bool:
    """Tell whether a change was asked for and, if it says so, confirmed through Kassa."""
    if not fits(change.asked_seal, asked_seal(seal, change)):
        return False
    if change.due_at is None or change.confirmed_by is None:
        return change.due_at is None and change.confirmed_by is None
    return fits(change.confirmed_seal, confirmed_seal(seal, change, change.confirmed_by, change.due_at))


def change_resource(change: Change) -> dict[str, Any]:  # JSON
    """Return the public form of a change."""
    return {
        "object": "wallet_change",
        "id": change.id,
        "store_id": change.store_id,
        "wallet_id": change.wallet_id,
        "network": change.network,
        "status": change.status,
        "descriptor": change.descriptor,
        "fingerprint": change.fingerprint,
        "asked_at": rfc3339(change.asked_at),
        "asked_by": change.asked_by,
        "confirmed_at": _time(change.confirmed_at),
        "confirmed_by": change.confirmed_by,
        "due_at": _time(change.due_at),
        "ended_at": _time(change.ended_at),
    }


def told_change(change: Change) -> dict[str, Any]:  # JSON
    """Return what an event says of a change: all but the descriptor.

    That leads to every address of the wallet, and events are read by roles and receivers that may not read wallets.
    """
    return {name: value for name, value in change_resource(change).items() if name != "descriptor"}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
