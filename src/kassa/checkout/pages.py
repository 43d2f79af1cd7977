"""The routes of the checkout. Public: who knows an invoice's id (96 random bits) may look at it and pay it."""

from functools import partial
from typing import Any

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from kassa import flow
from kassa.checkout.answers import HEADERS, answer, html
from kassa.checkout.link_pages import link_handlers
from kassa.checkout.page import STYLE, invoice_page, notice_page
from kassa.checkout.stream import Streams
from kassa.checkout.words import state, ways
from kassa.core.errors import NotFound, Rejected, Unavailable
from kassa.core.ids import is_id
from kassa.db.faults import DATABASE_AWAY
from kassa.house import House

AnyRequest = Request[Any, Any, Any]

_TROUBLE = "This page cannot be shown now. Please load it again in a moment, and pay nothing meanwhile."


def handlers(house: House) -> list[HTTPRouteHandler]:
    """Make the routes, to be handed to `create_app`."""
    streams = Streams(house)

    async def page(request: AnyRequest) -> Response[bytes]:
        return await _page(house, request.path_params["invoice_id"], request.query_params.get("asset"))

    async def stream(request: AnyRequest) -> Response[Any]:
        return await _stream(house, streams, request.path_params["invoice_id"])

    async def style() -> Response[bytes]:
        return answer(200, STYLE, "text/css", {"cache-control": "public, max-age=300"})

    route = partial(HTTPRouteHandler, http_method="GET", opt={"access": "public"}, status_code=200)
    return [
        route("/i/checkout.css")(style),
        route("/i/{invoice_id:str}")(page),
        route("/i/{invoice_id:str}/stream")(stream),
        *link_handlers(house),
    ]


async def _page(house: House, invoice_id: str, asset: str | None) -> Response[bytes]:
    try:
        invoice = await _public(house, invoice_id)
        if state(invoice).payable and not ways(invoice):
            raise Unavailable("no address of this invoice can be shown")
        return html(200, invoice_page(invoice, asset))
    except NotFound:
        return html(404, notice_page("There is no such invoice", "Please check the link, or ask the shop."))
    except Unavailable:
        return html(503, notice_page("Please do not pay now", _TROUBLE))


async def _stream(house: House, streams: Streams, invoice_id: str) -> Response[Any]:
    try:
        streams.check_room()
        await _public(house, invoice_id)
    except Rejected as error:
        return answer(error.status, b"", "text/event-stream", {})
    return Stream(streams.follow(invoice_id), media_type="text/event-stream", headers=HEADERS)


async def _public(house: House, invoice_id: str) -> dict[str, Any]:  # JSON
    if not is_id("inv", invoice_id):
        raise NotFound("there is no such invoice")
    try:
        async with house.database.pool.acquire(timeout=5) as connection:
            return await flow.public_invoice(connection, house, invoice_id, house.clock.now())
    except DATABASE_AWAY as error:
        raise Unavailable("the database cannot be used") from error
