"""Reports: sales, what is outstanding, what is owed to customers, what it cost, and what rates were worth."""

from collections.abc import Awaitable, Callable
from typing import Any

from kassa import flow
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.db.pool import Tx


def _of_days(name: str) -> Callable[[Tx, Call], Awaitable[dict[str, Any]]]:  # JSON
    async def work(tx: Tx, call: Call) -> dict[str, Any]:
        query: shapes.ReportQuery = call.query
        found = await flow.report(tx, call.house, call.store, name, (query.first, query.last), call.now)
        return {"data": found, "next_cursor": None}

    return work


def _of_now(name: str) -> Callable[[Tx, Call], Awaitable[dict[str, Any]]]:  # JSON
    async def work(tx: Tx, call: Call) -> dict[str, Any]:
        found = await flow.report(tx, call.house, call.store, name, (None, None), call.now)
        return {"data": found, "next_cursor": None}

    return work


async def _spread(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.SpreadQuery = call.query
    days = query.first, query.last
    found = await flow.report(tx, call.house, call.store, "spread", days, call.now, invoice=query.invoice_id)
    return {"data": found, "next_cursor": None}


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/reports/sales", name="report_sales", summary="Sum up sales by day, asset and status",
        access="ledger:read", query=shapes.ReportQuery, work=_of_days("sales"),
        result=shapes.Page[shapes.SalesLine],
    ),
    Endpoint(
        method="GET", path="/v1/reports/outstanding", name="report_outstanding",
        summary="Sum up the invoices that are not settled", access="ledger:read", query=shapes.NowQuery,
        work=_of_now("outstanding"), result=shapes.Page[shapes.OutstandingLine],
    ),
    Endpoint(
        method="GET", path="/v1/reports/liabilities", name="report_liabilities",
        summary="Sum up what is owed to customers", access="ledger:read", query=shapes.NowQuery,
        work=_of_now("liabilities"), result=shapes.Page[shapes.LiabilityLine],
    ),
    Endpoint(
        method="GET", path="/v1/reports/receivables", name="report_receivables",
        summary="Sum up what customers owe", access="ledger:read", query=shapes.NowQuery,
        work=_of_now("receivables"), result=shapes.Page[shapes.ReceivableLine],
    ),
    Endpoint(
        method="GET", path="/v1/reports/costs", name="report_costs",
        summary="Sum up fees, accepted shortages and losses", access="ledger:read", query=shapes.ReportQuery,
        work=_of_days("costs"), result=shapes.Page[shapes.CostLine],
    ),
    Endpoint(
        method="GET", path="/v1/reports/spread", name="report_spread",
        summary="Compare the rates that payments were valued by with the market when they were seen and settled",
        access="ledger:read", query=shapes.SpreadQuery, work=_spread, result=shapes.Page[shapes.SpreadLine],
    ),
)  # fmt: skip
