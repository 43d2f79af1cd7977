"""What follows from what a node was found to show, beside its chain."""

from collections.abc import Mapping
from datetime import datetime

import structlog

import kassa.wallets.store as wallets
import kassa.watch.node_store as nodes
from kassa.alerts.model import Finding, Kind, Severity
from kassa.core.facts import Ability
from kassa.db.pool import Tx
from kassa.flow.alerting import on_findings
from kassa.house import House
from kassa.watch.rules import INTERNAL, is_worse

log = structlog.get_logger()
_MOST_NAMED = 20


async def on_ability(tx: Tx, house: House, network: str, ability: Ability) -> None:
    """Note what a node can show, and say so; a detector opens an alert where it is less than before."""
    if not ability.internal:
        return
    chosen = house.settings.networks[network].internal != "auto"
    before = await nodes.note_internal(tx, network, ability.internal, chosen=chosen)
    less = before is not None and not chosen and is_worse(ability.internal, before)
    (log.warning if less else log.info)(
        "how the node shows internal transfers",
        network=network,
        internal=ability.internal,
        means=INTERNAL[ability.internal],
        before=before,
    )


async def on_delegates(tx: Tx, house: House, network: str, delegates: Mapping[str, str], now: datetime) -> None:
    """Open an alert that names addresses of ours for which somebody else's code acts (EIP-7702)."""
    findings = []
    if delegates:
        named = dict(sorted(delegates.items())[:_MOST_NAMED])
        text = ", ".join([f"{address} to {to}" for address, to in named.items()])
        # Whose they are among several stores is the operator's to know, not each store's.
        alone = len(await wallets.stores_on(tx, network)) == 1
        finding = Finding(
            Kind.ADDRESS_DELEGATED,
            network,
            Severity.CRITICAL,
            f"{len(delegates)} of our addresses on {network} delegate to a contract, which can take all"
            + (f": {text}" if alone else "; the operator knows which"),
            network=network,
            detail="" if alone else text,
            about={"network": network} | ({"delegates": named} if alone else {}),
            measure=len(delegates),
            lasting=True,
        )
        findings.append(finding)
    await on_findings(tx, house, (Kind.ADDRESS_DELEGATED,), findings, now, subject=network)


async def note_clock(tx: Tx, network: str, skew_seconds: int | None, now: datetime) -> None:
    """Note by how much a node's clock is ahead of ours; a detector judges it."""
    await nodes.note_clock(tx, network, skew_seconds, now)


async def note_words(tx: Tx, network: str, node: nodes.Node) -> None:
    """Note what a node says of itself; a detector judges what it warns of, and whether it is too old."""
    await nodes.note_words(tx, network, node)
