"""The alert about credit that a customer spent and lost: it says what is to be had of them now."""

from datetime import datetime

import kassa.alerts.store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.alerts.rules import steps
from kassa.core.ids import InvoiceId, StoreId
from kassa.core.money import format_units
from kassa.customers.store import Purse
from kassa.db.pool import Tx


async def tell(
    tx: Tx,
    purse: Purse,
    owed: tuple[int, int],
    store_id: StoreId,
    now: datetime,
    *,
    ended: str = "",
    invoice_id: InvoiceId | None = None,
) -> None:
    """Bring the alert about a purse in line with what is owed of it and not written off: units, and their decimals.

    The caller holds the purse. One that a person closed is opened again when more is lost, and when some is lost after
    nothing was owed. `ended` says why nothing is owed, `invoice_id` is an invoice whose payment was lost.
    """
    open_, muted = await alerts.standing(tx, [Kind.CREDIT_LOST], _subject(purse))
    before = next((each.finding.about.get("invoice_id") for each in open_), None)
    wanted = steps(open_, muted, [_finding(purse, owed, store_id, before or invoice_id)] if owed[0] else [])
    for alert in wanted.closed:
        await alerts.close_alert(tx, alert.finding.kind, alert.finding.subject, ended, now)
    await alerts.note_over(tx, wanted.over, now)
    for alert, finding in wanted.found:
        await alerts.note_found(tx, alert, finding)
    for finding in wanted.opened:
        await alerts.open_alert(tx, finding, now)


def _finding(purse: Purse, owed: tuple[int, int], store_id: StoreId, invoice_id: str | None) -> Finding:
    customer_id, asset = purse
    amount = format_units(*owed)
    return Finding(
        Kind.CREDIT_LOST,
        _subject(purse),
        Severity.WARNING,
        f"{amount} {asset} of {customer_id} was spent, then taken back by the chain or by a person's decision: owed",
        store_id=store_id,
        about={"customer_id": customer_id, "asset": asset, "amount": amount, "invoice_id": invoice_id},
        measure=owed[0],
    )


def _subject(purse: Purse) -> str:
    return "/".join(purse)
