"""What an operator decides about a halted network and a frozen asset."""

from datetime import datetime

from kassa import flow
from kassa.db.pool import Tx
from kassa.main import open_house
from kassa.operations.acting import Told, in_transaction, operator
from kassa.settings import Settings


async def resume_network(settings: Settings, network: str, depth: int) -> Told:
    """Let a halted network be followed again."""

    async def work(tx: Tx, now: datetime) -> Told:
        await flow.resume_network(tx, network, depth, operator(), now)
        return {"network": network, "allowed_reorg": depth}

    return await in_transaction(settings, work)


async def give_up_network(settings: Settings, network: str) -> Told:
    """Wait no more, after a restore, for a network that will not be followed any more."""

    async def work(tx: Tx, now: datetime) -> Told:
        await flow.give_up_network(tx, network, operator(), now)
        return {"network": network, "given_up": True}

    return await in_transaction(settings, work)


async def thaw_asset(settings: Settings, asset: str) -> Told:
    """Offer and settle a frozen asset again, with its contract as it is now."""
    async with open_house(settings) as house:
        await house.database.run(lambda tx: flow.thaw_asset(tx, house, asset, operator(), house.clock.now()))
    return {"asset": asset, "frozen": False}
