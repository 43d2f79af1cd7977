"""The routes of the checkout. Public: who knows an invoice's id (96 random bits) may look at it and pay it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from litestar import Request, Response
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from kassa import flow
from kassa.checkout import assets
from kassa.checkout.answers import asset_answer, html, refused
from kassa.checkout.answers import image as image_answer
from kassa.checkout.answers import script as script_answer
from kassa.checkout.languages import choose, later
from kassa.checkout.link_pages import TROUBLE, failed, link_handlers
from kassa.checkout.page import Wish, invoice_page, notice_page
from kassa.checkout.stream import Streams, encoded
from kassa.checkout.views import Views
from kassa.core.correlation import current
from kassa.core.errors import NotFound, Rejected, Unavailable
from kassa.core.ids import InvoiceId, is_id
from kassa.db.faults import DATABASE_AWAY
from kassa.files.shelf import Shelf
from kassa.house import House
from kassa.limits.rules import bucket
from kassa.stores.store import get_logo

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]

_MOST_FRAMING = 1_000  # sites that are remembered

_NO_PAGE = (later("There is no such page"), later("Please check the link, or ask the shop."))
_GONE = (later("There is no such invoice"), later("Please check the link, or ask the shop."))


def handlers(house: House) -> list[HTTPRouteHandler]:
    """Make the routes, to be handed to `create_app`."""
    views = Views(house)
    streams = Streams(house, views)
    shelf = Shelf(house.database, house.seal)
    framing: set[str] = set()

    async def page(request: AnyRequest) -> Response[bytes]:
        return await _page(house, views, framing, request)

    async def stream(request: AnyRequest) -> Response[Any]:
        return await _stream(views, streams, request)

    async def asset(request: AnyRequest) -> Response[bytes]:
        return await _asset(shelf, request)

    async def logo(request: AnyRequest) -> Response[bytes]:
        return await _logo(house, request.path_params["name"])

    async def shortened(request: AnyRequest) -> Response[bytes]:
        said = choose(None, request.headers.get("accept-language"))
        return html(404, notice_page(*_GONE, said), request.headers)

    async def embedding() -> Response[bytes]:
        return script_answer(assets.embedding())

    # Those who only ask whether a page is there send HEAD; the server leaves the body out.
    looked_at = (HttpMethod.GET, HttpMethod.HEAD)
    route = partial(HTTPRouteHandler, http_method=looked_at, opt={"access": "public"}, status_code=200)
    return [
        route("/embed.js")(embedding),
        route("/i")(shortened),
        route("/i/assets/{name:str}")(asset),
        route("/i/logo/{name:str}")(logo),
        route("/i/{invoice_id:str}", opt={"access": "public", "failed": failed})(page),
        route("/i/{invoice_id:str}/stream", http_method=HttpMethod.GET)(stream),
        *link_handlers(house, views),
    ]


def no_page(request: AnyRequest, status: int) -> Response[bytes]:
    """Answer a browser where nothing is served."""
    said = choose(request.query_params.get("lang"), request.headers.get("accept-language"))
    return html(status, notice_page(*_NO_PAGE, said), request.headers)


async def _page(house: House, views: Views, framing: set[str], request: AnyRequest) -> Response[bytes]:
    """Answer with the page. `framing`: sites that showed one in a frame, which may also show that there is none now."""
    query, headers = request.query_params, request.headers
    lang = query.get("lang")
    said = choose(lang, headers.get("accept-language"))
    wish = Wish(said, query.get("asset"), lang if lang == said.code else None, query.get("embed"))
    # Without the database nobody can say whose site it is; a notice has no address, and nothing to click but to load it
    # again.
    ancestors: Sequence[str] = (wish.embed,) if wish.embed in framing else ()
    try:
        view = await _view(views, request.path_params["invoice_id"])
        ancestors = view.store.branding.frame_ancestors
        if wish.embed in ancestors and len(framing) < _MOST_FRAMING:
            framing.add(wish.embed)
        body, status = invoice_page(view, house.chains, wish, encoded(view.public)[1]), 200
    except NotFound:
        body, status = notice_page(*_GONE, said), 404
    except Unavailable as error:
        log.warning("an invoice cannot be shown", reason=str(error))
        body, status = notice_page(*TROUBLE, said, current()), 503
    return html(status, body, headers, ancestors)


async def _stream(views: Views, streams: Streams, request: AnyRequest) -> Response[Any]:
    invoice_id, seen = request.path_params["invoice_id"], request.headers.get("last-event-id")
    address = None if request.client is None else bucket(request.client.host)
    try:
        public = (await _view(views, invoice_id)).public
        streams.check_room(address, final=public["is_final"])
    except Rejected as error:
        return refused(error.status)
    if public["is_final"] and seen == encoded(public)[1]:
        return refused(204)  # it was told for long enough: by this a browser knows not to ask again by itself
    return Stream(streams.follow(invoice_id, seen, address), media_type="text/event-stream", headers=_stream_headers())


def _stream_headers() -> Mapping[str, str]:
    # Some proxies gather an answer before they pass it on, unless they are told.
    return {**refused(200).headers, "x-accel-buffering": "no"}


async def _asset(shelf: Shelf, request: AnyRequest) -> Response[bytes]:
    name = request.path_params["name"]
    try:
        found = assets.find(name) or await shelf.find(name)
    except DATABASE_AWAY:
        return refused(503)
    return refused(404) if found is None else asset_answer(found, request.headers)


async def _logo(house: House, name: str) -> Response[bytes]:
    try:
        return image_answer(await get_logo(house.database.pool, name))
    except NotFound:
        return refused(404)
    except DATABASE_AWAY:
        return refused(503)


async def _view(views: Views, invoice_id: str) -> flow.PayerView:
    if not is_id("inv", invoice_id):
        raise NotFound("there is no such invoice")
    try:
        view = await views.get(InvoiceId(invoice_id))
    except DATABASE_AWAY as error:
        raise Unavailable("the database cannot be used") from error
    if view is None:
        raise NotFound("there is no such invoice")
    return view
