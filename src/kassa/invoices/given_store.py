"""What was given back to customers of invoices that stayed short: facts, only ever added."""

from collections.abc import Sequence
from datetime import datetime

from kassa.core.ids import InvoiceId, PaymentId, SpendId
from kassa.db.pool import Tx
from kassa.invoices.model import Cause


async def of_invoices(tx: Tx, invoices: Sequence[InvoiceId]) -> dict[InvoiceId, list[Cause]]:
    """Return the payments and spends of invoices whose money was given back to the customer, in that order."""
    found: dict[InvoiceId, list[Cause]] = {}
    for row in await tx.fetch("select * from given_back where invoice_id = any($1) order by id", invoices):
        paid = row["payment_id"]
        cause = SpendId(row["spend_id"]) if paid is None else PaymentId(paid)
        found.setdefault(InvoiceId(row["invoice_id"]), []).append(cause)
    return found


async def put(tx: Tx, given: Sequence[tuple[InvoiceId, Cause]], now: datetime) -> None:
    """Write down whose money was given back to the customer."""
    if given:
        await tx.execute(
            """insert into given_back (invoice_id, payment_id, spend_id, given_at)
               select invoice, case when is_payment then cause end, case when not is_payment then cause end, $4
               from unnest($1::text[], $2::text[], $3::bool[]) with ordinality as g (invoice, cause, is_payment, place)
               order by place""",
            [invoice for invoice, _ in given],
            [cause for _, cause in given],
            [cause.startswith("pay_") for _, cause in given],
            now,
        )
