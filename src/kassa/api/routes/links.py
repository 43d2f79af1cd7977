"""Payment links: make, read, list, change."""

from typing import Any

import msgspec

from kassa import flow
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import page, read_cursor
from kassa.api.texts import line, line_faults, moment, read_metadata, way_back_faults
from kassa.core.errors import Invalid
from kassa.db.pool import Tx
from kassa.stores.model import Store


async def _make(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return await flow.make_link(tx, call.house, call.store, _read_order(call.body, call.store), call.now)


async def _list(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.LinkQuery = call.query
    before, reference = read_cursor("lnk", query.cursor), line("reference", query.reference)
    found = None if query.search is None else await flow.find_links(tx, call.house, call.store, query.search)
    listed = await flow.link_list(
        tx, call.house, call.store, query.status, reference, found, before, query.limit + 1, call.now
    )
    return page(listed, query.limit)


async def _read(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return await flow.link_resource_of(tx, call.house, call.store, call.id, call.now)


async def _change(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return await flow.change_link(tx, call.house, call.store, call.id, _read_change(call.body, call.store), call.now)


def _read_order(body: shapes.LinkOrder, store: Store) -> flow.LinkOrder:
    _check_words(body, store)
    metadata, fault = read_metadata(body.metadata)
    if fault:
        raise Invalid(fault)
    return flow.LinkOrder(
        title=body.title,
        amount=body.amount,
        min_amount=body.min_amount,
        max_amount=body.max_amount,
        currency=body.currency,
        asset=body.asset,
        payment_options=None if body.payment_options is None else tuple(body.payment_options),
        reusable=body.reusable,
        show_received=body.show_received,
        invoice_seconds=body.invoice_expires_in,
        description=body.description,
        reference=body.reference,
        metadata_json=metadata,
        redirect_url=body.redirect_url,
        expires_at=moment("expires_at", body.expires_at),
    )


def _read_change(body: shapes.LinkChange, store: Store) -> dict[str, Any]:
    given = {
        name: value
        for name in body.__struct_fields__
        if name != "metadata" and (value := getattr(body, name)) is not msgspec.UNSET
    }
    _check_words(body, store)
    if "expires_at" in given:
        given["expires_at"] = moment("expires_at", given["expires_at"])
    if bytes(body.metadata):
        given["metadata"], fault = read_metadata(body.metadata)
        if fault:
            raise Invalid(fault)
    return given


def _check_words(body: shapes.LinkOrder | shapes.LinkChange, store: Store) -> None:
    words = {name: getattr(body, name) for name in ("title", "description", "reference")}
    faults = [fault for name, text in words.items() if isinstance(text, str) for fault in line_faults(name, text)]
    if isinstance(body.redirect_url, str):
        faults += way_back_faults(store, body.redirect_url)
    if faults:
        raise Invalid(*faults)


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/payment-links", name="create_payment_link",
        summary="Create a payment link: a page that makes an invoice for each attempt to pay it",
        access="invoices:write", body=shapes.LinkOrder, work=_make, result=shapes.Link, status=201, repeatable=True,
        example={"title": "Two coffees", "amount": "9.90", "currency": "EUR"},
    ),
    Endpoint(
        method="GET", path="/v1/payment-links", name="list_payment_links", summary="List payment links, newest first",
        access="invoices:read", query=shapes.LinkQuery, work=_list, result=shapes.Page[shapes.Link],
    ),
    Endpoint(
        method="GET", path="/v1/payment-links/{id}", name="get_payment_link",
        summary="Read a payment link as it stands now", access="invoices:read", id_of="lnk", work=_read,
        result=shapes.Link,
    ),
    Endpoint(
        method="PATCH", path="/v1/payment-links/{id}", name="change_payment_link",
        summary="Change a payment link's words or end, or close it; what it asks for stays",
        access="invoices:write", id_of="lnk", body=shapes.LinkChange, work=_change, result=shapes.Link,
        example={"closed": True},
    ),
)  # fmt: skip
