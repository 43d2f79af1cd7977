"""What customers owe, and the operator's decision that it will not be had."""

from datetime import datetime
from typing import Any

import kassa.stores.store as stores
from kassa import flow
from kassa.api.texts import line_faults
from kassa.core.errors import FieldFault, Invalid
from kassa.customers.model import NOTE_LENGTH
from kassa.db.pool import Tx
from kassa.operations.acting import in_transaction, operator
from kassa.settings import Settings


async def owing(settings: Settings, store_id: str) -> dict[str, Any]:  # JSON
    """Tell which customers of a store owe what; raises `NotFound`."""

    async def work(tx: Tx, _now: datetime) -> dict[str, Any]:  # JSON
        return {"data": await flow.owing(tx, await stores.get_store(tx, store_id))}

    return await in_transaction(settings, work)


async def preview(
    settings: Settings, store_id: str, customer_id: str, asset: str, amount: str | None
) -> dict[str, Any]:  # JSON
    """Tell what `write_off` would make a loss; raises what it raises."""

    async def work(tx: Tx, _now: datetime) -> dict[str, Any]:  # JSON
        return await flow.preview_write_off(tx, await stores.get_store(tx, store_id), customer_id, asset, amount)

    return await in_transaction(settings, work)


async def write_off(
    settings: Settings, store_id: str, customer_id: str, asset: str, amount: str | None, note: str
) -> dict[str, Any]:  # JSON
    """Write off what a customer owes, as the operator, and tell their balance; raises what `flow.write_off` does."""
    check_note(note)

    async def work(tx: Tx, now: datetime) -> dict[str, Any]:  # JSON
        store = await stores.get_store(tx, store_id)
        return await flow.write_off(tx, store, customer_id, asset, amount, note, operator(), now)

    return await in_transaction(settings, work)


def check_note(note: str) -> None:
    """Raise `Invalid` where a reason cannot be kept."""
    faults = line_faults("note", note)
    if not 0 < len(note) <= NOTE_LENGTH:
        faults = [*faults, FieldFault("note", f"must be 1 to {NOTE_LENGTH} characters")]
    if faults:
        raise Invalid(*faults)
