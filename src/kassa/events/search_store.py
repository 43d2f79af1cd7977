"""Which events a text is about: the SQL. Every branch goes by an index of what is sought."""

from collections.abc import Sequence

from kassa.core.ids import EventId, InvoiceId, PaymentId, StoreId
from kassa.core.sought import Sought
from kassa.db.pool import Tx

MOST = 100
# As in the index `events_about`, letter by letter. A credit has no id of its own: it is about its customer.
_ABOUT = r"""substring(object from '^\{"object":"[a-z_]+","(?:id|customer_id)":"([a-z]{3}_[0-9a-z]{29})"')"""
_APART = "(invoice_id is null or type not like 'invoice.%' and type not like 'payment.%')"
_SEARCH = """
select id from (
    select id, sequence from events where store_id = $1 and id = $2
    union select e.id, e.sequence from unnest($4::text[]) as i (id)
        cross join lateral (select id, sequence from events where store_id = $1 and invoice_id = i.id
            order by created_at desc, position desc limit $3) e
    union select id, sequence from events where store_id = $1
        and invoice_id = (select invoice_id from payments where store_id = $1 and id = $2) and ABOUT = $2
    union select e.id, e.sequence from unnest($5::text[]) as o (id)
        cross join lateral (select id, sequence from events where store_id = $1 and ABOUT = o.id and APART
            order by sequence desc nulls last limit $3) e
) found where sequence is not null order by sequence desc limit $3
""".replace("ABOUT", _ABOUT).replace("APART", _APART)


async def search(
    tx: Tx, store_id: StoreId, sought: Sought, invoices: Sequence[InvoiceId], payments: Sequence[PaymentId]
) -> list[EventId]:
    """Return numbered events of a store, newest first.

    By their own id, or that of what they are about; those about these invoices and deposits, too. An invoice's are
    those of its payments, too.
    """
    rows = await tx.fetch(_SEARCH, store_id, sought.name, MOST, [sought.name, *invoices], [sought.name, *payments])
    return [EventId(row["id"]) for row in rows]
