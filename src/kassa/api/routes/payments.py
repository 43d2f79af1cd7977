"""Payments: read, list, and say whose money without an owner is."""

from typing import Any

from kassa import flow
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import page, read_cursor
from kassa.api.texts import line, moment
from kassa.db.pool import Tx
from kassa.payments.list_store import Filters


async def _read(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return await flow.payment_resource(tx, call.house, call.store, call.id, call.now)


async def _rate(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return await flow.payment_rate(tx, call.house, call.store, call.id, call.now)


async def _list(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.PaymentQuery = call.query
    filters = Filters(
        status=query.status,
        asset=line("asset", query.asset),
        invoice_id=line("invoice_id", query.invoice_id),
        seen_after=moment("first_seen_after", query.first_seen_after),
        seen_before=moment("first_seen_before", query.first_seen_before),
        found=None if query.search is None else await flow.find_payments(tx, call.house, call.store, query.search),
    )
    before = read_cursor("pay", query.cursor)
    listed = await flow.payment_list(tx, call.house, call.store, filters, before, query.limit + 1, call.now)
    return page(listed, query.limit)


async def _assign(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    asked: shapes.PaymentOwner = call.body
    return await flow.assign_payment(tx, call.house, call.store, call.id, asked.customer_id, call.actor, call.now)


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/payments", name="list_payments", summary="List payments, newest first",
        access="payments:read", query=shapes.PaymentQuery, work=_list, result=shapes.Page[shapes.Payment],
    ),
    Endpoint(
        method="GET", path="/v1/payments/{id}", name="get_payment", summary="Read a payment as it stands now",
        access="payments:read", id_of="pay", work=_read, result=shapes.Payment,
    ),
    Endpoint(
        method="GET", path="/v1/payments/{id}/rate", name="get_payment_rate",
        summary="Read how the rate of a payment came about", access="payments:read", id_of="pay", work=_rate,
        result=shapes.PaymentRate,
    ),
    Endpoint(
        method="POST", path="/v1/payments/{id}/assign", name="assign_payment",
        summary="Give money that has no owner to a customer, or to the store's income", access="payments:write",
        id_of="pay", body=shapes.PaymentOwner, work=_assign, result=shapes.Payment, repeatable=True, conflicts=True,
        example={"customer_id": None},
    ),
)  # fmt: skip
