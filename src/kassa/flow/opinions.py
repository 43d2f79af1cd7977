"""What follows from what a second node says of a network."""

from datetime import datetime

import kassa.alerts.detector_store as detectors
import kassa.watch.opinion_store as opinions
from kassa.alerts.chain_rules import on_opinion
from kassa.db.pool import Tx
from kassa.flow.alerting import on_findings
from kassa.house import House
from kassa.watch.model import Opinion


async def on_second_opinion(tx: Tx, house: House, opinion: Opinion, now: datetime) -> None:
    """Keep what a second node said and open, or end, the alerts that follow; doing it again changes nothing."""
    network = opinion.network
    poll = house.settings.networks[network].poll_seconds
    kept = await opinions.put(tx, opinion)
    kinds, findings = on_opinion(kept, poll, house.chains[network].block_seconds, now)
    await on_findings(tx, house, kinds, findings, now, subject=network)
    await detectors.end(tx, opinion_detector(network), poll, len(findings), now)


def opinion_detector(network: str) -> str:
    """Return the name under which it is noted that a network's second node was asked."""
    return f"second_opinion {network}"
