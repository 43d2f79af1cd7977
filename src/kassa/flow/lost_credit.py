"""The alert about credit that a customer spent and lost: it says what is to be had of them now."""

from dataclasses import replace
from datetime import datetime

import kassa.alerts.store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.core.ids import InvoiceId, StoreId
from kassa.customers.store import Purse
from kassa.db.pool import Tx


async def tell(
    tx: Tx, purse: Purse, amount: str, store_id: StoreId, invoice_id: InvoiceId | None, now: datetime
) -> None:
    """Open the alert about a purse of which so much is owed, and not written off; one that is open is brought up to it.

    The caller holds the purse. `invoice_id` is an invoice whose payment was lost, if there is one.
    """
    customer_id, asset = purse
    about = {"customer_id": customer_id, "asset": asset, "amount": amount, "invoice_id": invoice_id}
    said = _reason(purse, amount)
    found = Finding(Kind.CREDIT_LOST, _subject(purse), Severity.WARNING, said, store_id=store_id, about=about)
    if await alerts.open_alert(tx, found, now) is None:
        await tell_change(tx, purse, amount)


async def tell_change(tx: Tx, purse: Purse, amount: str) -> None:
    """Let the open alert about a purse say how much is owed now; one that a person has closed stays as it was."""
    open_, _ = await alerts.standing(tx, [Kind.CREDIT_LOST], _subject(purse))
    for alert in open_:
        about = {**alert.finding.about, "amount": amount}
        await alerts.note_found(tx, alert, replace(alert.finding, reason=_reason(purse, amount), about=about))


async def tell_end(tx: Tx, purse: Purse, ended: str, now: datetime) -> None:
    """Close the alert about a purse of which nothing is to be had any more."""
    await alerts.close_alert(tx, Kind.CREDIT_LOST, _subject(purse), ended, now)


def _subject(purse: Purse) -> str:
    return "/".join(purse)


def _reason(purse: Purse, amount: str) -> str:
    customer_id, asset = purse
    return f"{amount} {asset} of {customer_id} was spent, then taken back by the chain or by a person's decision: owed"
