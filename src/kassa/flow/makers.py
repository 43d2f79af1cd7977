"""Which keys and members are one person: who made the one has the other in hand."""

import kassa.audit.store as audit
import kassa.people.store as people
import kassa.stores.store as stores
from kassa.core.errors import Conflict
from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.house import House
from kassa.people.seal_store import Sealed, is_sealed
from kassa.wallets.change import Change

_SAME = "same_person"


async def refuse_same_person(tx: Tx, house: House, change: Change, confirmer: str) -> None:
    """Raise `Conflict` (`same_person`, `unrecorded`) unless a confirmer is surely another than who asked for a change.

    Neither may stem from the other, nor both from a third, and the confirmer must be older than the question: else one
    stolen session makes itself its second person. Whom the operator made stems from nobody; of whom it is not proven
    who made them, nothing is known.
    """
    store, asker = change.store_id, change.asked_by
    if await audit.makers(tx, store, asker) & await audit.makers(tx, store, confirmer):
        raise Conflict(
            "another key or person than who asked must confirm, and neither may have made or invited the other; or the"
            " operator confirms it at the command line",
            code=_SAME,
        )
    since = await stores.key_since(tx, store, confirmer) or await people.member_since(tx, store, confirmer)
    if since is None or since > change.asked_at:
        raise Conflict(
            "another key or person who was here before the change was asked for must confirm; or the operator confirms"
            " it at the command line",
            code=_SAME,
        )
    for name in (asker, confirmer):
        if not await _is_proven(tx, house, store, name, change.id):
            raise Conflict(
                f"nothing proves who made {name} before the change was asked for: the operator has to confirm it, at"
                " the command line",
                code="unrecorded",
            )


async def _is_proven(tx: Tx, house: House, store: StoreId, name: str, change_id: str) -> bool:
    """Tell whether Kassa made a key or member, and the audit log told who did before it told of a change.

    A row is sealed, so it cannot be typed into the database; who made it stands in an act, so it cannot be left out.
    The operator needs neither: that they asked is under the seal of the change.
    """
    if not name.startswith(("key_", "per_")):
        return True
    sealed = await is_sealed(tx, house.seal, Sealed.KEY, name) or await is_sealed(
        tx, house.seal, Sealed.MEMBER, store, name
    )
    return sealed and await audit.is_recorded(tx, store, name, change_id)
