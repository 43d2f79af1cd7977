"""The HTTP application: the endpoints, health, the document of itself, and pages that are handed in."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler

from kassa.api.auth import ACCESSES, ANY_KEY, PUBLIC
from kassa.api.document import document
from kassa.api.endpoint import Endpoint
from kassa.api.errors import from_framework
from kassa.api.health import Health
from kassa.api.reply import GUARDS, Reply
from kassa.api.routes import ENDPOINTS
from kassa.api.serving import AnyRequest, Desk
from kassa.house import House


def create_app(house: House, pages: Sequence[HTTPRouteHandler] = ()) -> Litestar:
    """Build the application. `pages` are public routes from elsewhere (the checkout), declared with `opt["access"]`."""
    desk, health = Desk(house), Health(house)
    routes = [
        *(_route(desk, endpoint) for endpoint in ENDPOINTS),
        _document_route(desk, document(ENDPOINTS, house.settings.http.public_url)),
        _public_route("/health/live", health.live),
        _public_route("/health/ready", health.ready),
        *pages,
    ]
    for route in routes:
        if route.opt.get("access") not in ACCESSES:
            raise AssertionError(f"{sorted(route.paths)} declares no known access")

    @asynccontextmanager
    async def noting(_app: Litestar) -> AsyncIterator[None]:
        async with desk.uses.writing():
            yield

    return Litestar(
        routes,
        openapi_config=None,
        logging_config=None,
        exception_handlers={Exception: _on_error},
        request_max_body_size=None,  # read_body counts what it reads
        lifespan=[noting],
    )


def _route(desk: Desk, endpoint: Endpoint) -> HTTPRouteHandler:
    path = endpoint.path.replace("{id}", "{id:str}")
    return HTTPRouteHandler(
        path, http_method=endpoint.method, name=endpoint.name, opt={"access": endpoint.access}, status_code=200
    )(desk.handler(endpoint))


def _document_route(desk: Desk, body: bytes) -> HTTPRouteHandler:
    async def handle(request: AnyRequest) -> Reply:
        return await desk.show(request, Reply(200, body))

    return HTTPRouteHandler("/v1/openapi.json", http_method="GET", opt={"access": ANY_KEY}, status_code=200)(handle)


def _public_route(path: str, answer: Any) -> HTTPRouteHandler:  # an async function without arguments
    async def handle() -> Reply:
        reply: Reply = await answer()
        return reply

    return HTTPRouteHandler(path, http_method="GET", opt={"access": PUBLIC}, status_code=200)(handle)


def _on_error(request: AnyRequest, error: Exception) -> Response[bytes]:
    reply = from_framework(request, error)
    headers = {name.decode(): value.decode() for name, value in (*GUARDS, *reply.headers)}
    return Response(reply.body, status_code=reply.status, media_type=reply.type.decode(), headers=headers)
