"""Tokens are contracts, and contracts change: an asset in doubt is frozen until a person has looked."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog

import kassa.alerts.store as alerts
import kassa.audit.store as audit
import kassa.payments.store as payments
import kassa.watch.contract_store as contracts
import kassa.watch.store as watch
from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.audit.model import KASSA, Actor
from kassa.core.errors import NotFound
from kassa.core.facts import Contract
from kassa.db.pool import Tx
from kassa.flow.standing import reassess
from kassa.house import House
from kassa.watch.rules import contract_doubt

log = structlog.get_logger()


async def on_contracts(
    tx: Tx, network: str, seen: Sequence[Contract], decimals: Mapping[str, int], now: datetime
) -> None:
    """Note how the contracts of a network's tokens look; freeze an asset about which there is a doubt."""
    known = await contracts.known(tx, network)
    await contracts.put(tx, network, seen)
    for contract in seen:
        reason = contract_doubt(known.get(contract.asset), contract, decimals[contract.asset])
        if reason is not None:
            await freeze_asset(tx, network, contract.asset, reason, now)


async def freeze_asset(tx: Tx, network: str, asset: str, reason: str, now: datetime) -> None:
    """Stop offering and settling an asset until an operator decides; say so to every store that uses the network."""
    if not await contracts.freeze(tx, network, asset, reason):
        return
    log.error("asset frozen", asset=asset, reason=reason)
    await watch.decide(tx, network, f"froze {asset}", reason, now)
    frozen = Finding(
        Kind.ASSET_FROZEN,
        asset,
        Severity.CRITICAL,
        f"{asset} is frozen: {reason}",
        network=network,
        about={"asset": asset},
        actions=(Action(Deed.FROZEN, asset),),
    )
    await alerts.open_alert(tx, frozen, now)
    await audit.record(tx, KASSA, "asset.frozen", asset, now, after={"reason": reason})


async def thaw(tx: Tx, house: House, asset: str, by: Actor, now: datetime) -> None:
    """Offer and settle an asset again, with its contract as it is now; raises `NotFound` when it is not frozen."""
    network = await contracts.thaw(tx, asset)
    if network is None:
        raise NotFound(f"{asset!r} is not frozen; see `kassa doctor`")
    await watch.decide(tx, network, f"thawed {asset}", "an operator accepts its contract as it is now", now)
    # Not only what lies deep enough: small amounts may settle without a block.
    await reassess(tx, house, await payments.unsettled(tx, network), now)
    await audit.record(tx, by, "asset.thawed", asset, now)


async def thaw_asset(tx: Tx, house: House, asset: str, by: Actor, now: datetime) -> None:
    """Thaw an asset as an operator's decision, which closes the alert about it; raises `NotFound`."""
    await thaw(tx, house, asset, by, now)
    await alerts.undo_by_operator(tx, Kind.ASSET_FROZEN, asset, f"an operator thawed {asset}", now)
