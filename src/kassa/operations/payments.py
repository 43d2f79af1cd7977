"""What an operator does about money that has no owner."""

from datetime import datetime

import kassa.stores.store as stores
from kassa import flow
from kassa.db.pool import Tx
from kassa.house import House
from kassa.main import open_house
from kassa.operations.acting import Told, in_house, operator
from kassa.settings import Settings


async def unassigned_payments(settings: Settings) -> Told:
    """Tell of the money that has no owner, and whose it may be."""
    async with open_house(settings) as house, house.database.transaction() as tx:
        return {"data": await flow.unassigned(tx, house)}


async def assign_payment(settings: Settings, store_id: str, payment_id: str, customer_id: str | None) -> Told:
    """Give money without an owner to a customer, or to the store's income."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        return await flow.assign_payment(tx, house, store, payment_id, customer_id, operator(), now, as_operator=True)

    return await in_house(settings, work)
