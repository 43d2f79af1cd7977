"""The auditor's round: each network's books are compared with its node, again and again."""

import asyncio
from datetime import timedelta
from typing import Any

import structlog

import kassa.ledger.audit_store as audits
import kassa.wallets.owner_store as owning
from kassa import flow
from kassa.chains.base import Auditor
from kassa.core.audits import Tell
from kassa.core.errors import ChainError, ChainMoved, ChainUnavailable
from kassa.core.facts import BlockRef
from kassa.core.money import format_units
from kassa.house import House, connection_of
from kassa.ledger.audit import asked_by, complete, differences
from kassa.payments.asset_store import decimals

log = structlog.get_logger()

LOOK_SECONDS = 5
ATTEMPTS = 5
"""Of a run whose block is no longer, or not yet, in the node's best chain."""
PAUSE_SECONDS = 2


async def reconcile(house: House) -> None:
    """Reconcile every network once per interval until cancelled; of several processes one does it."""
    every = timedelta(seconds=house.settings.books.reconcile_seconds)
    while True:
        for network, chain in house.chains.items():
            now = house.clock.now()
            if chain.auditor is None or not await house.database.run(
                lambda tx, network=network, now=now: audits.begin(tx, network, now, every)  # type: ignore[misc]
            ):
                continue
            try:
                await reconcile_network(house, network, _silent)
            except ChainError as fault:
                log.warning("the books could not be compared with the node", network=network, reason=str(fault))
        await asyncio.sleep(LOOK_SECONDS)


async def reconcile_network(house: House, network: str, tell: Tell) -> dict[str, Any]:  # JSON
    """Compare the books of one network with its node at our own tip, and keep and announce what differs.

    Raises `ChainError`. No transaction is open while the node is asked.
    """
    chain = house.chains[network]
    if chain.auditor is None:
        raise ChainUnavailable(f"networks of the kind of {network} cannot be reconciled")
    auditor = chain.auditor(connection_of(house.settings.networks[network]))
    try:
        for _ in range(ATTEMPTS - 1):
            try:
                return await _run(house, network, auditor, tell)
            except ChainMoved:
                await asyncio.sleep(PAUSE_SECONDS)
        return await _run(house, network, auditor, tell)
    finally:
        await auditor.close()


async def _run(house: House, network: str, auditor: Auditor, tell: Tell) -> dict[str, Any]:
    async with house.database.transaction() as tx:
        booked = await audits.booked(tx, network)
        if booked is None:
            raise ChainUnavailable(f"no block of {network} has been seen yet")
        owners = await owning.owners(tx, network, [owner.script for owner in booked.owners.values()])
    scripts = await asyncio.to_thread(lambda: {str(owner.address_id): house.true_script(owner) for owner in owners})
    booked = asked_by(booked, scripts)
    claims = complete(booked, [asset.id for asset in house.chains[network].assets])
    received = await auditor.received(booked.tip, booked.first, list(claims.values()), tell)
    found = differences(booked, claims, received)
    now = house.clock.now()
    shown = await house.database.run(lambda tx: flow.on_reconciled(tx, network, booked.tip, found, now))
    for each in shown:
        log.error("the books are not what the chain holds", network=network, **each)
    known = await decimals(house.database.pool)
    return {
        "network": network,
        **_tip(booked.tip),
        "addresses": len(booked.owners),
        "compared": len(claims),
        "bounded": sum(not each.exact for each in received),
        "without_block": {asset: format_units(units, known[asset]) for asset, units in sorted(booked.accepted.items())},
        "differences": shown,
    }


def _tip(tip: BlockRef) -> dict[str, Any]:
    return {"height": tip.height, "hash": tip.hash}


def _silent(_done: int, _of: int) -> None:
    pass
