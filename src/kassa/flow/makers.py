"""Which keys and members are one person: who made the one has the other in hand."""

from datetime import datetime

import kassa.audit.store as audit
import kassa.people.store as people
import kassa.stores.store as stores
from kassa.core.errors import Conflict
from kassa.core.ids import StoreId
from kassa.db.pool import Tx


async def refuse_same_person(tx: Tx, store: StoreId, asked_by: str, asked_at: datetime, confirmer: str) -> None:
    """Raise `Conflict` (`same_person`) unless a confirmer is surely another than who asked.

    Neither may stem from the other, nor both from a third, and the confirmer must be older than the question: else one
    stolen session makes itself its second person. Whom the operator made stems from nobody.
    """
    if await audit.makers(tx, store, asked_by) & await audit.makers(tx, store, confirmer):
        raise Conflict(
            "another key or person than who asked must confirm, and neither may have made or invited the other; or the"
            " operator confirms it at the command line",
            code="same_person",
        )
    since = await stores.key_since(tx, store, confirmer) or await people.member_since(tx, store, confirmer)
    if since is None or since > asked_at:
        raise Conflict(
            "another key or person who was here before the change was asked for must confirm; or the operator confirms"
            " it at the command line",
            code="same_person",
        )
