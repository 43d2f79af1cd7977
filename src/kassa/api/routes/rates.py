"""Rates: of a pair now, with everything that went into it, and what the sources said before."""

from typing import Any

import kassa.rates.store as rates
from kassa import flow
from kassa.api import shapes
from kassa.api.auth import ANY_KEY
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import page
from kassa.core.errors import FieldFault, Invalid, Unavailable
from kassa.db.pool import Tx
from kassa.rates.markets import market
from kassa.rates.model import NoRate, Pair
from kassa.rates.resource import quote_resource, rate_resource


async def _rate(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.RateQuery = call.query
    asked = query.base, query.quote
    rate = (await flow.rates_at(tx, call.house.settings, [asked], call.now))[asked]
    if not isinstance(rate, NoRate):
        return rate_resource(Pair(*asked), rate)
    if not call.house.settings.rates.sources:
        raise Invalid(FieldFault("base", f"there is no rate for {rate.pair}; see [rates] in the settings"))
    raise Unavailable(f"there is no rate for {rate.pair} now ({rate.lack})", code="rate_unavailable")


async def _history(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.RateHistoryQuery = call.query
    if query.cursor is not None and not (query.cursor.isascii() and query.cursor.isdigit() and len(query.cursor) < 19):
        raise Invalid(FieldFault("cursor", "is not a cursor of this list; use next_cursor as it was given"))
    before = None if query.cursor is None else int(query.cursor)
    pair = market(query.base, query.quote)
    found = await rates.history(tx, pair, query.from_, query.to, before, query.limit + 1)
    return page([quote_resource(kept) for kept in found], query.limit)


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/rates", name="get_rate", summary="Read the rate of a pair",
        access=ANY_KEY, query=shapes.RateQuery, work=_rate, result=shapes.Rate,
    ),
    Endpoint(
        method="GET", path="/v1/rates/history", name="list_quotes",
        summary="List what the sources said of a pair, newest first",
        access=ANY_KEY, query=shapes.RateHistoryQuery, work=_history, result=shapes.Page[shapes.Quote],
    ),
)  # fmt: skip
