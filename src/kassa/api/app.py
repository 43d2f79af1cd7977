"""The HTTP application: the endpoints, health, the document of itself, and pages that are handed in."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Any

import structlog
from litestar import Litestar, Request, Response
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPScope, Message, Receive, Scope, Send

from kassa import measures, tracing
from kassa.api.auth import ACCESSES, ANY_KEY, PUBLIC
from kassa.api.document import document
from kassa.api.endpoint import Endpoint
from kassa.api.errors import from_framework, from_rejection
from kassa.api.health import Health
from kassa.api.incoming import prefers_html
from kassa.api.reply import GUARDS, Reply
from kassa.api.routes import ENDPOINTS
from kassa.api.serving import Desk, Serve
from kassa.core.correlation import correlated, current
from kassa.core.errors import Throttled
from kassa.house import House
from kassa.limits.model import Kind
from kassa.limits.rules import Network, bucket, caller

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]
Unknown = Callable[[AnyRequest, int], Response[bytes]]
"""Draws what a browser is shown where nothing is served (status 404), or not by this method (405)."""

UNKNOWN = "unknown"
"""The route of requests for paths that are not served."""
REQUEST_ID = b"x-request-id"
"""Of every answer: what the log calls `correlation`, and what stands with the events that the request wrote."""
FAILED = "failed"
"""Of a page's options: draws, from the request and its id, what is shown where nobody foresaw the fault."""
_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"})
_DOCUMENT = "/v1/openapi.json"
_HEALTH = ("/health/live", "/health/ready", "/health/networks", "/health/monitor")
_FORWARDED = b"x-forwarded-for"
_PLAIN_HOST = re.compile(rb"[0-9A-Za-z.:\[\]-]*\Z")


class Front:
    """The application: endpoints whose path holds no id are served at once, anything else goes by the framework.

    The framework's routing, its request object and its argument parsing took an eighth of the making of an invoice, and
    where method and path are exactly those of an endpoint they have nothing to add.
    """

    def __init__(self, house: House, framework: Litestar, served: Mapping[tuple[str, str], Serve]) -> None:
        self._house = house
        self.framework = framework
        self._verbose = (
            house.settings.log.level == "debug"
        )  # asked here, since even a line that is not written costs microseconds
        self._served = served
        # By key, or not at all: whoever asks how we are must hear it.
        paths = (*{endpoint.path for endpoint in ENDPOINTS}, _DOCUMENT, *_HEALTH)
        self._counted_elsewhere = re.compile("|".join(re.escape(path).replace(r"\{id\}", "[^/]+") for path in paths))
        self._has_told_of_proxy = False
        strict = house.settings.http.public_url.startswith("https://")
        self._always = ((b"strict-transport-security", b"max-age=31536000"),) if strict else ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.framework(scope, receive, send)
            return
        with correlated() as request_id, tracing.span("request", method=scope["method"]):
            await self._answer(scope, receive, send, request_id)

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send, request_id: str) -> None:
        began = perf_counter()
        refusal = self._gate(scope)
        if refusal is not None:
            await refusal(scope, receive, self._noting(scope, send, began, request_id))
            return
        serve = None
        if _has_plain_host(scope["headers"]):
            serve = self._served.get((scope["method"], scope["path"]))
        if serve is None:
            await self.framework(scope, receive, self._noting(scope, send, began, request_id))
            return
        try:
            reply = await serve(scope, receive)
        except Exception as error:  # noqa: BLE001 as the framework does: what nobody expected is answered, and logged
            reply = from_framework(error)
        self._note(scope["method"], scope["path"], reply.status, perf_counter() - began)
        reply.headers = (*reply.headers, *self._always, (REQUEST_ID, request_id.encode()))
        await reply(scope, receive, send)

    def _gate(self, scope: HTTPScope) -> Reply | None:
        """Find out who calls, and refuse whoever asks for pages too often; endpoints ask by key."""
        house = self._house
        if house.settings.http.trusted_proxies:
            _name_caller(scope, house.settings.http.trusted_proxies)
        elif not self._has_told_of_proxy:
            self._tell_of_proxy(scope)
        if self._counted_elsewhere.fullmatch(scope["path"]):
            return None
        client = scope["client"]
        try:
            house.limits.check(Kind.ADDRESS, bucket(client[0] if client else None), house.clock.now())
        except Throttled as error:
            return from_rejection(error)
        return None

    def _tell_of_proxy(self, scope: HTTPScope) -> None:
        # Once, since anybody can send such a header.
        if any(name == _FORWARDED for name, _ in scope["headers"]):
            self._has_told_of_proxy = True
            client = scope["client"]
            log.warning(
                "a request came through a proxy that http.trusted_proxies does not name; name it if it is yours, for"
                " until then all its callers share one limit, and bound API keys see its address in place of theirs",
                peer=client[0] if client else None,
            )

    def _noting(self, scope: HTTPScope, send: Send, began: float, request_id: str) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Only a route that exists has a template; paths that nobody serves are one.
                route = scope.get("path_template") or UNKNOWN
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._note(method, route, message["status"], perf_counter() - began)
                message["headers"] = [*message["headers"], *self._always, (REQUEST_ID, request_id.encode())]
            await send(message)

        return sending

    def _note(self, method: str, route: str, status: int, seconds: float) -> None:
        measures.answered(method, route, status, seconds)
        if self._verbose:
            log.debug("answered", method=method, route=route, status=status, ms=round(seconds * 1000))


def create_app(house: House, pages: Sequence[HTTPRouteHandler] = (), unknown: Unknown | None = None) -> Front:
    """Build the application. `pages` are public routes from elsewhere (the checkout), declared with `opt["access"]`.

    `opt["failed"]` draws what they answer to a fault that nobody foresaw; without it that is a problem as JSON. So is
    what is answered where nothing is served, but to browsers, outside `/v1`: those are shown what `unknown` draws.
    """
    desk, health = Desk(house), Health(house)
    served = [(endpoint, desk.server(endpoint)) for endpoint in ENDPOINTS]
    routes = [
        *(_route(endpoint, serve) for endpoint, serve in served),
        _document_route(desk, document(ENDPOINTS, house.settings.http.public_url)),
        *map(_public_route, _HEALTH, (health.live, health.ready, health.networks, health.monitor)),
        *pages,
    ]
    for route in routes:
        if route.opt.get("access") not in ACCESSES:
            raise AssertionError(f"{sorted(route.paths)} declares no known access")

    @asynccontextmanager
    async def noting(_app: Litestar) -> AsyncIterator[None]:
        async with desk.uses.writing(), house.limits.keeping(house.database, house.clock):
            yield

    framework = Litestar(
        routes,
        openapi_config=None,
        logging_config=None,
        debug=False,  # else a variable of the environment says whether callers see where we failed,
        pdb_on_exception=False,  # and whether a debugger stops everything then
        exception_handlers={Exception: partial(_on_error, unknown)},
        request_max_body_size=None,  # read_body counts what it reads
        lifespan=[noting],
    )
    plain: dict[tuple[str, str], Serve] = {(one.method, one.path): serve for one, serve in served if one.id_of is None}
    return Front(house, framework, plain)


def _name_caller(scope: HTTPScope, trusted: Sequence[Network]) -> None:
    client = scope["client"]
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == _FORWARDED]
    entries = [entry for line in lines for entry in line.split(",")]
    found = caller(client[0] if client else None, entries, trusted)
    scope["client"] = None if found is None else (found, 0)


def _has_plain_host(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    # What else a host may look like, the framework decides.
    return all(_PLAIN_HOST.match(value) for name, value in headers if name == b"host")


def _route(endpoint: Endpoint, serve: Serve) -> HTTPRouteHandler:
    async def handle(request: AnyRequest) -> Reply:
        return await serve(request.scope, request.receive)

    path = endpoint.path.replace("{id}", "{id:str}")
    return HTTPRouteHandler(
        path, http_method=endpoint.method, name=endpoint.name, opt={"access": endpoint.access}, status_code=200
    )(handle)


def _document_route(desk: Desk, body: bytes) -> HTTPRouteHandler:
    async def handle(request: AnyRequest) -> Reply:
        return await desk.show(request.scope, Reply(200, body))

    return HTTPRouteHandler(_DOCUMENT, http_method="GET", opt={"access": ANY_KEY}, status_code=200)(handle)


def _public_route(path: str, answer: Any) -> HTTPRouteHandler:  # an async function without arguments
    async def handle() -> Reply:
        reply: Reply = await answer()
        return reply

    return HTTPRouteHandler(path, http_method="GET", opt={"access": PUBLIC}, status_code=200)(handle)


def _on_error(unknown: Unknown | None, request: AnyRequest, error: Exception) -> Response[bytes]:
    reply = from_framework(error)
    handler = request.scope.get("route_handler")
    draw = None if handler is None else handler.opt.get(FAILED)
    if reply.status >= 500 and draw is not None:
        page: Response[bytes] = draw(request, current())
        return page
    told = {name.decode(): value.decode() for name, value in reply.headers}
    headers = {name.decode(): value.decode() for name, value in GUARDS} | told
    if unknown is not None and reply.status in (404, 405) and _is_look(request):
        if prefers_html(request.headers.get("accept", "")):
            shown = unknown(request, reply.status)
            shown.headers.update(told)
            shown.headers["vary"] = f"accept, {shown.headers['vary']}"
            return shown
        headers["vary"] = "accept"
    return Response(reply.body, status_code=reply.status, media_type=reply.type.decode(), headers=headers)


def _is_look(request: AnyRequest) -> bool:
    path = request.scope["path"]
    return request.method in ("GET", "HEAD") and path != "/v1" and not path.startswith("/v1/")
