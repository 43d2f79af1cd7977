"""Tell of blocks in which money that contracts moved may not have been seen."""

from collections.abc import Sequence
from datetime import datetime

import kassa.alerts.store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.core.facts import Block, Unseen
from kassa.db.pool import Tx
from kassa.watch.rules import spans

_WHY = {
    Unseen.UNTRACED: "their internal calls could not be had, so coins that contracts forwarded were read from the "
    "balances of the addresses with open business, which name no transaction",
    Unseen.STATE_GONE: "their state was gone when they were read, so coins that contracts forwarded were not seen",
    Unseen.CROWDED: "more addresses have business that is open, or was within seven days, than can be asked about at "
    "each block, so coins that contracts forwarded to the oldest of them were not seen",
    Unseen.SPENT: "more left an address of ours than its own transactions sent, so coins that contracts forwarded to "
    "it in the same block may not have been seen",
}


async def on_unseen(tx: Tx, network: str, blocks: Sequence[Block], now: datetime) -> None:
    """Open one alert for each way of not seeing, or name more blocks in the one that is open."""
    for way, why in _WHY.items():
        heights = [block.ref.height for block in blocks if block.unseen is way]
        if not heights:
            continue
        subject = f"{network}:{way}"
        open_, _ = await alerts.standing(tx, [Kind.INTERNAL_UNSEEN], subject)
        before = open_[0].finding.about["heights"] if open_ else []
        named = spans(before, heights)
        text = ", ".join([f"{first}-{last}" if first < last else str(first) for first, last in named])
        finding = Finding(
            Kind.INTERNAL_UNSEEN,
            subject,
            Severity.WARNING,
            f"{network}, blocks {text}: {why}; `kassa reconcile --network {network}` finds what is missing",
            network=network,
            about={"network": network, "heights": named, "why": way.value},
            lasting=True,
        )
        if open_:
            await alerts.note_found(tx, open_[0], finding)
        else:
            await alerts.open_alert(tx, finding, now)
