"""The figures of a store's last days."""

from typing import Any

from kassa import flow
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.db.pool import Tx


async def _read(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.OverviewQuery = call.query
    return await flow.overview(tx, call.store, int(query.days), call.now)


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/overview", name="get_overview", access="invoices:read",
        summary="Read how business went: what settled by day, where invoices stand, what needs a look",
        query=shapes.OverviewQuery, work=_read, result=shapes.Overview,
    ),
)  # fmt: skip
