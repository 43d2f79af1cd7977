"""What people decided on invoices: facts, only ever added."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from kassa.core.ids import InvoiceId
from kassa.db.pool import Tx
from kassa.invoices.model import Decided, Decision


async def of_invoices(tx: Tx, invoices: Sequence[InvoiceId]) -> dict[InvoiceId, list[Decided]]:
    """Return what people decided on invoices, in the order of deciding."""
    made: dict[InvoiceId, list[Decided]] = {}
    for row in await tx.fetch("select * from invoice_decisions where invoice_id = any($1) order by id", invoices):
        made.setdefault(InvoiceId(row["invoice_id"]), []).append(_decided(row))
    return made


async def of_invoice_after(tx: Tx, invoice: str, after: tuple[datetime, int], limit: int) -> list[Decided]:
    """Return what people decided on an invoice, oldest first, after a moment and number."""
    rows = await tx.fetch(
        "select * from invoice_decisions where invoice_id = $1 and (decided_at, id) > ($2, $3)"
        " order by decided_at, id limit $4",
        invoice,
        *after,
        limit,
    )
    return [_decided(row) for row in rows]


async def put(tx: Tx, invoice: InvoiceId, decision: Decision, by: str, now: datetime) -> None:
    """Add a person's word on an invoice."""
    await tx.execute(
        "insert into invoice_decisions (invoice_id, decision, decided_at, decided_by) values ($1, $2, $3, $4)",
        invoice,
        decision.value,
        now,
        by,
    )


def _decided(row: Mapping[str, Any]) -> Decided:
    return Decided(row["id"], Decision(row["decision"]), row["decided_at"], row["decided_by"])
