"""Money without an owner in the database: who may be meant, and whose it was decided to be."""

from dataclasses import dataclass
from datetime import datetime

from kassa.core.ids import CustomerId, StoreId
from kassa.db.pool import Tx
from kassa.payments.model import INCOME, Payment, Tier
from kassa.payments.store import COLUMNS, read, write_tiers
from kassa.rates.model import Rate
from kassa.rates.resource import method_text

# Whose wallets an address that was never issued is derived from.
_STORES = """array(select distinct w.store_id from wallets w
    where w.keychain_id = a.keychain_id and w.network = p.network order by 1)"""
# Each by an index of its own: what is owned is never read.
_UNOWNED = """
    select id from payments where store_id is null and assigned_to is null and block_height is not null
    union all
    select id from payments p where value_units = 0 and invoice_id is not null and assigned_to is null
        and block_height is not null and not exists (
            select from payment_options o where o.invoice_id = p.invoice_id and o.asset = p.asset)"""


@dataclass(frozen=True, slots=True)
class Unassigned:
    """A payment without an owner, the stores that it may belong to, and the customer of its invoice."""

    payment: Payment
    stores: tuple[StoreId, ...]
    customer_id: CustomerId | None


async def hold(tx: Tx, store_id: StoreId, payment_id: str) -> Payment | None:
    """Lock and return a payment of a store, or one without an owner to a wallet of it; None if it is neither.

    Its network's row is locked first: whoever follows it books money without an owner too.
    """
    await tx.execute(
        "select from networks where id = (select network from payments where id = $1) for no key update", payment_id
    )
    row = await tx.fetchrow(
        f"""select {COLUMNS} from payments p join addresses a on a.id = p.address_id
            where p.id = $1 and (p.store_id = $2 or (p.store_id is null and $2 = any({_STORES})))
            for no key update of p""",
        payment_id,
        store_id,
    )
    return None if row is None else read(row)


async def fix(tx: Tx, payment_id: str, tier: Tier, rate: Rate | None) -> None:
    """Fix what a payment without an owner needs to be settled, and what it was worth when it was first seen."""
    await tx.execute(
        """update payments set confirmations = $2::text::jsonb, book_rate = $3, book_rate_source = $4,
               book_rate_at = $5, book_rate_method = $6 where id = $1""",
        payment_id,
        write_tiers([tier]),
        None if rate is None else str(rate.value),
        None if rate is None else rate.source,
        None if rate is None else rate.at,
        None if rate is None else method_text(rate),
    )


async def assign(
    tx: Tx, store_id: StoreId, payment: Payment, customer_id: CustomerId | None, by: str, now: datetime
) -> None:
    """Write down whose a payment is; an invoice's payment stays listed with its invoice."""
    await tx.execute(
        "insert into assignments (payment_id, store_id, customer_id, decided_at, decided_by)"
        " values ($1, $2, $3, $4, $5)",
        payment.id,
        store_id,
        customer_id,
        now,
        by,
    )
    await tx.execute(
        """update payments set assigned_to = $2, store_id = $3,
               customer_id = case when invoice_id is null then $4 else customer_id end where id = $1""",
        payment.id,
        customer_id or INCOME,
        store_id,
        customer_id,
    )


async def unassigned(tx: Tx, store_id: StoreId | None, first: str | None, limit: int) -> list[Unassigned]:
    """Return living money without an owner of which nobody decided whose it is, oldest first; of one store or all.

    `first` is the id from which on it is listed.
    """
    rows = await tx.fetch(
        f"""select {COLUMNS}, i.customer_id as buyer,
                case when p.store_id is null then {_STORES} else array[p.store_id] end as stores
            from ({_UNOWNED}) unowned join payments p on p.id = unowned.id
            join addresses a on a.id = p.address_id left join invoices i on i.id = p.invoice_id
            where ($1::text is null or $1 = p.store_id or (p.store_id is null and $1 = any({_STORES})))
                and ($2::text is null or p.id >= $2)
            order by p.id limit $3""",
        store_id,
        first,
        limit,
    )
    return [Unassigned(read(row), tuple(map(StoreId, row["stores"])), row["buyer"]) for row in rows]
