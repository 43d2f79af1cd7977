"""The guard over addresses: those of open invoices are derived again, and one that is not its wallet's is reported.

Reading only refuses to show such an address (see `picture.withheld`); what is said about it is written here.
"""

from datetime import datetime

import structlog

import kassa.alerts.store as alerts
import kassa.invoices.store as invoices
from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.db.pool import Tx
from kassa.flow import picture as pictures
from kassa.house import House
from kassa.invoices.model import Terms, Withheld
from kassa.invoices.store import Turn

log = structlog.get_logger()


async def check_addresses(tx: Tx, house: House, after: Turn, limit: int, now: datetime) -> Turn | None:
    """Check the addresses of some open invoices, those after a turn; return where to go on, or None at the end.

    Opens one alert for each invoice that has a wrong one, whoever else checks at the same time.
    """
    page = await invoices.open_page(tx, after, limit)
    for terms, _ in await invoices.load(tx, sorted(turn.invoice for turn in page), pictures.assets(house)):
        hidden = pictures.withheld(house, terms)
        wrong = [asset for asset, why in hidden.items() if why is Withheld.ADDRESS_MISMATCH]
        if wrong and await invoices.put_fault(tx, terms.id, wrong, now):
            log.error("a stored address is not its wallet's: it is not shown", invoice=terms.id, assets=wrong)
            await alerts.open_alert(tx, _finding(terms, wrong), now)
    return page[-1] if len(page) == limit else None


def _finding(terms: Terms, wrong: list[str]) -> Finding:
    reason = (
        f"the stored address of {terms.id} for {', '.join(wrong)} is not what its wallet derives: it is not shown, and "
        "nobody should pay it; somebody may have changed the database"
    )
    return Finding(
        Kind.ADDRESS_MISMATCH,
        terms.id,
        Severity.CRITICAL,
        reason,
        store_id=terms.store_id,
        about={"invoice_id": terms.id, "assets": wrong},
        actions=tuple(Action(Deed.WITHHELD, asset) for asset in wrong),
    )
