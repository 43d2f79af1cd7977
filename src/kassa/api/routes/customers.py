"""Customers: make, list, read; their deposit addresses, credit and statement."""

from datetime import datetime
from typing import Any

from kassa import flow
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import page, read_cursor
from kassa.api.texts import line, line_faults, read_metadata
from kassa.core.errors import FieldFault, Invalid
from kassa.core.ids import CustomerId, new_id
from kassa.core.money import currency
from kassa.customers import store as customers
from kassa.customers.model import Customer
from kassa.customers.resource import balance_resource, customer_resource
from kassa.db.pool import Tx
from kassa.ledger import store as ledger
from kassa.ledger.model import customer as account_of
from kassa.ledger.resource import entry_number, statement_resource
from kassa.payments.asset_store import decimals


async def _create(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    made = _read_order(call.body, call, call.now)
    await customers.put(tx, made)
    return customer_resource(made)


async def _list(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.CustomerQuery = call.query
    before, reference = read_cursor("cus", query.cursor), line("reference", query.reference)
    sought = None if query.search is None else await flow.find_customers(tx, call.house, call.store, query.search)
    found = await customers.page(tx, call.store.id, reference, sought, before, query.limit + 1)
    listed = page([customer_resource(customer) for customer in found], query.limit)
    if query.expand == "balances":
        known = await decimals(tx)
        held = await customers.balances(tx, [customer.id for customer in found])
        for one in listed["data"]:
            one["balances"] = [balance_resource(balance, known) for balance in held[one["id"]]]
    return listed


async def _read(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return customer_resource(await customers.get(tx, call.store.id, call.id))


async def _prepare_address(call: Call) -> flow.Issuing:
    order: shapes.AddressOrder = call.body
    return await flow.prepare_address(call.house, call.store, call.id, order.asset, call.key_id)


async def _issue_address(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return await flow.issue_address(tx, call.house, call.store, call.id, call.prepared, call.now)


async def _balances(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    customer = await customers.get(tx, call.store.id, call.id)
    known = await decimals(tx)
    data = [balance_resource(balance, known) for balance in (await customers.balances(tx, [customer.id]))[customer.id]]
    return {"data": data, "next_cursor": None}


async def _write_off(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    asked: shapes.WriteOff = call.body
    if faults := line_faults("note", asked.note):
        raise Invalid(*faults)
    return await flow.write_off(tx, call.store, call.id, asked.asset, asked.amount, asked.note, call.actor, call.now)


async def _statement(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.PageQuery = call.query
    customer = await customers.get(tx, call.store.id, call.id)
    known, kept = await decimals(tx), currency(call.store.currency)
    before = read_entry(query.cursor)
    moved = await ledger.statement(tx, account_of(customer.id), before, query.limit + 1)
    return page([statement_resource(*each, known, kept) for each in moved], query.limit)


def read_entry(cursor: str | None) -> int | None:
    """Return the number of the entry that a cursor names; raise `Invalid` for one that we never gave out."""
    number = None if cursor is None else entry_number(cursor)
    if cursor is not None and (number is None or number >= 2**63):
        raise Invalid(FieldFault("cursor", "is not a cursor of this list; use next_cursor as it was given"))
    return number


def _read_order(order: shapes.CustomerOrder, call: Call, now: datetime) -> Customer:
    metadata, fault = read_metadata(order.metadata)
    faults = [*line_faults("reference", order.reference), *line_faults("name", order.name), *([fault] if fault else [])]
    if faults:
        raise Invalid(*faults)
    id_ = CustomerId(new_id("cus", now))
    return Customer(id_, call.store.id, order.reference, order.name, metadata, now)


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/customers", name="create_customer", summary="Create a customer",
        access="customers:write", body=shapes.CustomerOrder, work=_create, result=shapes.Customer, status=201,
        repeatable=True, conflicts=True, example={"reference": "user-17", "name": "Ada"},
    ),
    Endpoint(
        method="GET", path="/v1/customers", name="list_customers", summary="List customers, newest first",
        access="customers:read", query=shapes.CustomerQuery, work=_list, result=shapes.Page[shapes.ListedCustomer],
    ),
    Endpoint(
        method="GET", path="/v1/customers/{id}", name="get_customer", summary="Read a customer",
        access="customers:read", id_of="cus", work=_read, result=shapes.Customer,
    ),
    Endpoint(
        method="POST", path="/v1/customers/{id}/addresses", name="issue_deposit_address",
        summary="Give a customer a permanent deposit address; the same again for the same asset",
        access="customers:write", id_of="cus", body=shapes.AddressOrder, prepare=_prepare_address, work=_issue_address,
        result=shapes.DepositAddress, status=201, repeatable=True, conflicts=True,
        example={"asset": "BTC@bitcoin-regtest"},
    ),
    Endpoint(
        method="GET", path="/v1/customers/{id}/balances", name="list_customer_balances",
        summary="Show what a customer can spend, and what is on its way", access="customers:read", id_of="cus",
        work=_balances, result=shapes.Page[shapes.Balance],
    ),
    Endpoint(
        method="POST", path="/v1/customers/{id}/write-off", name="write_off_customer",
        summary="Write off what a customer owes: it is a loss from then on", access="payments:write", id_of="cus",
        body=shapes.WriteOff, work=_write_off, result=shapes.Balance, repeatable=True, conflicts=True,
        example={"asset": "BTC@bitcoin-regtest", "note": "left without paying"},
    ),
    Endpoint(
        method="GET", path="/v1/customers/{id}/statement", name="get_customer_statement",
        summary="List what moved a customer's credit, newest first, with the balance after each",
        access="customers:read", id_of="cus", query=shapes.PageQuery, work=_statement,
        result=shapes.Page[shapes.StatementLine],
    ),
)  # fmt: skip
