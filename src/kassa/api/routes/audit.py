"""The audit log of a store: who did what that matters to its safety."""

from typing import Any

from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import page, read_cursor
from kassa.api.texts import line
from kassa.audit import store as audit
from kassa.audit.resource import act_resource
from kassa.db.pool import Tx


async def _list(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.ActQuery = call.query
    before, kind = read_cursor("act", query.cursor), line("kind", query.kind)
    found = await audit.page(tx, call.store.id, kind, before, query.limit + 1)
    return page([act_resource(act) for act in found], query.limit)


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/audit", name="list_acts", summary="List what was done to the store, newest first",
        access="audit:read", query=shapes.ActQuery, work=_list, result=shapes.Page[shapes.Act],
    ),
)  # fmt: skip
