"""The books: what stands on each account, now or then, and the entries that led there."""

from typing import Any

from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import page
from kassa.api.routes.customers import read_entry
from kassa.api.texts import line, moment
from kassa.core.money import currency
from kassa.db.pool import Tx
from kassa.ledger import store as ledger
from kassa.ledger import sums_store as sums
from kassa.ledger.resource import balance_resource, entry_resource
from kassa.ledger.view import Filters
from kassa.payments.asset_store import decimals


async def _balances(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.LedgerQuery = call.query
    together = query.customers == "together"
    if together and query.at is None:
        found = await sums.stands(tx, call.store.id)
    else:
        found = await ledger.balances(tx, call.store.id, moment("at", query.at) or call.now, together=together)
    known, kept = await decimals(tx), currency(call.store.currency)
    data = [balance_resource(stand, known, kept) for stand in found]
    return {"data": data, "next_cursor": None}


async def _entries(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.EntryQuery = call.query
    filters = Filters(
        line("account", query.account), line("payment_id", query.payment_id), line("invoice_id", query.invoice_id)
    )
    found = await ledger.page(tx, call.store.id, filters, read_entry(query.cursor), query.limit + 1)
    known, kept = await decimals(tx), currency(call.store.currency)
    return page([entry_resource(entry, known, kept) for entry in found], query.limit)


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/ledger/balances", name="list_ledger_balances",
        summary="Show what stands on each account, now or at a moment", access="ledger:read", query=shapes.LedgerQuery,
        work=_balances, result=shapes.Page[shapes.AccountBalance],
    ),
    Endpoint(
        method="GET", path="/v1/ledger/entries", name="list_ledger_entries", summary="List book entries, newest first",
        access="ledger:read", query=shapes.EntryQuery, work=_entries, result=shapes.Page[shapes.Entry],
    ),
)  # fmt: skip
