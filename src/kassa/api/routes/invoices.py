"""Invoices: make, read, list, mark."""

from typing import Any

import msgspec

from kassa import flow
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import page, read_cursor
from kassa.api.texts import line, line_faults, moment, read_metadata, way_back_faults
from kassa.core.errors import FieldFault, Invalid
from kassa.core.ids import is_id
from kassa.db.pool import Tx
from kassa.invoices.model import Decision, Order
from kassa.invoices.store import Filters
from kassa.stores.model import Store
from kassa.wallets.model import Taker
from kassa.webhooks.rules import check_url


async def _quote(call: Call) -> flow.Opening:
    order: shapes.InvoiceOrder = call.body
    private = call.house.settings.webhooks.allow_private_addresses
    asked = read_order(order, call.store, private=private)
    return await flow.quote_invoice(
        call.house,
        call.store,
        asked,
        call.now,
        receiving=call.receiving,
        guess=call.alone,
        reading=call.reading,
        by=Taker(call.key_id),
        again=call.again,
    )


async def _open(tx: "Tx | None", call: Call) -> dict[str, Any]:  # JSON
    return await flow.open_invoice(tx, call.house, call.prepared, call.now, call.keep)


async def _read(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return await flow.invoice_resource(tx, call.house, call.store, call.id, call.now)


async def _list(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.InvoiceQuery = call.query
    filters = Filters(
        status=query.status,
        reference=line("reference", query.reference),
        customer_id=line("customer_id", query.customer_id),
        link_id=line("payment_link_id", query.payment_link_id),
        created_after=moment("created_after", query.created_after),
        created_before=moment("created_before", query.created_before),
        flag=query.flag,
        waiting=query.decision == "none",
        found=None if query.search is None else await flow.find_invoices(tx, call.house, call.store, query.search),
    )
    before = read_cursor("inv", query.cursor)
    return page(
        await flow.invoice_list(tx, call.house, call.store, filters, before, query.limit + 1, call.now), query.limit
    )


async def _pay_from_credit(tx: "Tx | None", call: Call) -> dict[str, Any]:  # JSON
    order: shapes.SpendOrder = call.body
    return await flow.pay_from_credit(
        tx, call.house, call.store, call.id, order.asset, order.amount, call.key_id, call.now, call.keep
    )


async def _timeline(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.PageQuery = call.query
    return await flow.timeline(tx, call.house, call.store, call.id, query.cursor, query.limit)


async def _mark(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    mark: shapes.Mark = call.body
    return await flow.mark_invoice(tx, call.house, call.store, call.id, Decision(mark.as_), call.actor, call.now)


def read_order(body: shapes.InvoiceOrder, store: Store, *, private: bool) -> Order:
    """Check what a schema cannot say and return the order; raise `Invalid` naming every field that is wrong.

    `private` allows webhook URLs that are not on the public internet.
    """
    faults = [
        *line_faults("reference", body.reference),
        *line_faults("description", body.description),
        *way_back_faults(store, body.redirect_url),
    ]
    if body.webhook_url is not None:
        try:
            check_url(body.webhook_url, private=private, field="webhook_url")
        except Invalid as invalid:
            faults += invalid.faults
    if body.customer_id is not None and not is_id("cus", body.customer_id):
        faults.append(FieldFault("customer_id", "is not a customer of this store"))
    metadata, fault = read_metadata(body.metadata)
    if faults or fault:
        raise Invalid(*faults, *([fault] if fault else []))
    return Order(
        amount=body.amount,
        currency=body.currency,
        payment_options=None if body.payment_options is None else tuple(body.payment_options),
        reference=body.reference,
        description=body.description,
        metadata_json=metadata,
        customer_id=body.customer_id,
        expires_in=body.expires_in,
        redirect_url=body.redirect_url,
        webhook_url=body.webhook_url,
        policy={} if body.policy is None else msgspec.to_builtins(body.policy),
    )


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/invoices", name="create_invoice", summary="Create an invoice",
        access="invoices:write", body=shapes.InvoiceOrder, prepare=_quote, work=_open, result=shapes.Invoice,
        status=201, repeatable=True, single=True, keeps=True, receiving=True,
        example={"amount": "49.90", "currency": "EUR", "reference": "order-1001", "expires_in": 900},
    ),
    Endpoint(
        method="GET", path="/v1/invoices", name="list_invoices", summary="List invoices, newest first",
        access="invoices:read", query=shapes.InvoiceQuery, work=_list, result=shapes.Page[shapes.Invoice],
    ),
    Endpoint(
        method="GET", path="/v1/invoices/{id}", name="get_invoice", summary="Read an invoice as it stands now",
        access="invoices:read", id_of="inv", work=_read, result=shapes.Invoice,
    ),
    Endpoint(
        method="POST", path="/v1/invoices/{id}/mark", name="mark_invoice", summary="Decide on an invoice by hand",
        access="invoices:write", id_of="inv", body=shapes.Mark, work=_mark, result=shapes.Invoice, repeatable=True,
    ),
    Endpoint(
        method="POST", path="/v1/invoices/{id}/pay_from_credit", name="pay_from_credit",
        summary="Pay an invoice from its customer's credit, at most what is due", access="customers:write", id_of="inv",
        body=shapes.SpendOrder, work=_pay_from_credit, result=shapes.Invoice, repeatable=True, single=True,
        keeps=True, conflicts=True,
        example={"asset": "BTC@bitcoin-regtest"},
    ),
    Endpoint(
        method="GET", path="/v1/invoices/{id}/timeline", name="get_invoice_timeline",
        summary="List everything that happened to an invoice, oldest first", access="invoices:read", id_of="inv",
        query=shapes.PageQuery, work=_timeline, result=shapes.Page[shapes.TimelineItem],
    ),
)  # fmt: skip
