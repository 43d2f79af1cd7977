"""O13, asked of the API: a store that was opened a moment ago sees nothing of anybody's, whichever endpoint it asks.

The requests go to the endpoints as a server hands them over, with a key and all that is checked of it; no socket is
opened for them, of which hundreds of judgements would leave some to the garbage collector.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from kassa import flow
from kassa.api.endpoint import Endpoint
from kassa.api.reply import Reply
from kassa.api.routes import ENDPOINTS
from kassa.api.serving import Desk
from kassa.audit.model import Actor
from kassa.house import House
from kassa.stores.model import SCOPES

BY = Actor("operator test")
READING = [endpoint for endpoint in ENDPOINTS if endpoint.method == "GET"]
_TABLES = (
    "invoices", "payments", "customers", "wallets", "wallet_changes", "webhooks", "deliveries", "payment_links",
    "alerts", "events", "addresses",
)  # fmt: skip
# The newest of each kind that is some store's.
_OWNED = " union all ".join(
    f"(select id from {table} where store_id is not null order by id desc limit 1)" for table in _TABLES
)


async def check_strangers(house: House) -> None:
    """Open a store and read with it all that can be read: what is somebody's is as absent as what never was."""
    owned = [str(row["id"]) for row in await house.database.pool.fetch(_OWNED)]
    async with house.database.transaction() as tx:
        now = house.clock.now()
        stranger = await flow.create_store(tx, BY, "Stranger", "EUR", False, now)
        _, key = await flow.create_key(tx, house, BY, stranger, now, scopes=SCOPES)
    desk = Desk(house)
    asked = [
        _check(desk, endpoint, key, id_, owned)
        for endpoint in READING
        for id_ in ([""] if endpoint.id_of is None else owned)
        if not id_ or id_.startswith(f"{endpoint.id_of}_")
    ]
    await asyncio.gather(*asked)


async def _check(desk: Desk, endpoint: Endpoint, key: str, id_: str, owned: Sequence[str]) -> None:
    reply = await _ask(desk, endpoint, key, id_)
    seen = [each for each in owned if each.encode() in reply.body]
    assert not seen, f"{endpoint.name} shows another store {seen}"
    # Without its query a list may be refused, and without rates there is none.
    wanted = (404,) if id_ else (200, 422, 503)
    assert reply.status in wanted, f"{endpoint.name} {id_}: {reply.status} {reply.body!r}"


async def _ask(desk: Desk, endpoint: Endpoint, key: str, id_: str) -> Reply:
    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": endpoint.path.replace("{id}", id_),
        "path_params": {"id": id_} if id_ else {},
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {key}".encode())],
        "client": ("127.0.0.1", 1),
    }
    return await desk.server(endpoint)(scope, _nothing)


async def _nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}
