"""Seals over what payers are asked for, made anew with another key."""

from typing import Any

from asyncpg.pool import Pool

from kassa.core.ids import InvoiceId
from kassa.db.pool import Tx
from kassa.invoices.rules import sealed_text
from kassa.invoices.store import load
from kassa.wallets.seal import Seal, fits

PAGE = 1_000


async def seal_all_anew(tx: Tx, former: Seal | None, seal: Seal) -> None:
    """Seal with a new key what the former one sealed; where that is lost, every invoice."""
    after = ""
    while rows := await tx.fetch("select id from invoices where id > $1 order by id limit $2", after, PAGE):
        after, ids, seals = rows[-1]["id"], [], []
        for terms, _ in await load(tx, [InvoiceId(row["id"]) for row in rows]):
            text = sealed_text(terms)
            if former is None or fits(terms.seal, former.of_terms(text)):
                ids.append(terms.id)
                seals.append(seal.of_terms(text))
        await tx.execute(
            "update invoices i set seal = s.seal from unnest($1::text[], $2::bytea[]) as s (id, seal)"
            " where i.id = s.id",
            ids,
            seals,
        )


async def is_unsealed_here(tx: "Tx | Pool[Any]") -> bool:
    """Tell whether there is an invoice without a seal, as an earlier version made them."""
    return bool(await tx.fetchval("select exists (select from invoices where seal is null)"))
