"""The routes of payment links. Public: who knows a link's id may look at it and begin to pay.

Beginning makes an invoice, which takes an address for ever. So the form answers only to a page that we sent to the same
browser: a cookie that other sites can neither read nor have sent with a form of theirs must agree with it. What is in
the cookie also says who pays, so that the same payer goes on with the same invoice.
"""

import asyncio
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import structlog
from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler

from kassa import flow
from kassa.checkout.answers import html
from kassa.checkout.languages import Language, choose, later
from kassa.checkout.link_page import Filled, link_page
from kassa.checkout.page import notice_page
from kassa.checkout.turns import Turns
from kassa.checkout.typed import read_amount
from kassa.checkout.views import Views
from kassa.core.correlation import current
from kassa.core.errors import Conflict, Forbidden, Invalid, NotFound, Throttled, Unavailable
from kassa.core.ids import InvoiceId, is_id
from kassa.db.faults import DATABASE_AWAY
from kassa.house import House
from kassa.invoices.quote import TOO_SMALL
from kassa.limits.rules import bucket
from kassa.links.proof import Challenge, Proof

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]

MAX_FORM = 4_096
KEPT_SECONDS = 30 * 86_400
TROUBLE = (
    later("Please do not pay now"),
    later("This page cannot be shown at the moment. Please load it again soon, and pay nothing meanwhile."),
)
_GONE = (later("There is no such payment link"), later("Please check the link, or ask the shop."))
_TOO_LITTLE = (
    later("This cannot be sent"),
    later("What is still missing is too small to be sent. Please ask the shop."),
)
_TOO_MANY = (
    later("Please try again later"),
    later("Too many payments of this link were begun and not made. Try again in an hour, or ask the shop."),
)
_NOT_OURS = (
    later("Please load the page again"),
    later("Your browser did not send this form from our page. Allow cookies, and load the link again."),
)
_NOT_NOW = (later("Please try again in a moment"), later("This payment cannot be begun now."))
_TOKEN = re.compile(r"[0-9A-Za-z_-]{32}\Z")
_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
"""Pauses while another request of the same payer makes the invoice."""


def link_handlers(house: House, views: Views) -> list[HTTPRouteHandler]:
    """Make the routes, to be handed to `create_app`."""
    looks, turns = Turns(), Turns()

    async def page(request: AnyRequest) -> Response[bytes]:
        return await _guarded(request, _page(house, views, looks, request))

    async def begin(request: AnyRequest) -> Response[bytes]:
        return await _guarded(request, _begin(house, views, looks, turns, request))

    opt = {"access": "public", "failed": failed}
    route = partial(HTTPRouteHandler, "/l/{link_id:str}", opt=opt, status_code=200)
    return [route(http_method=("GET", "HEAD"))(page), route(http_method="POST")(begin)]


def failed(request: AnyRequest, number: str) -> Response[bytes]:
    """Answer for a page where nobody foresaw the fault: the log has it under this number."""
    return html(500, notice_page(*TROUBLE, _spoken(request), number), request.headers)


async def _guarded(request: AnyRequest, serving: Any) -> Response[bytes]:  # a coroutine
    try:
        return await serving  # type: ignore[no-any-return]
    except NotFound:
        return _notice(request, 404, _GONE)
    except Throttled:
        return _notice(request, 429, _TOO_MANY, {"retry-after": "3600"})
    except Forbidden:
        return _notice(request, 403, _NOT_OURS)
    except (Unavailable, *DATABASE_AWAY) as error:
        log.warning("a payment link cannot be served", error=type(error).__name__)
        words = _NOT_NOW if request.method == "POST" else TROUBLE
        return _notice(request, 503, words, {"retry-after": "5"}, current())


def _notice(
    request: AnyRequest, status: int, words: tuple[str, str], more: Mapping[str, str] | None = None, number: str = ""
) -> Response[bytes]:
    return html(status, notice_page(*words, _spoken(request), number), request.headers, more=more)


def _spoken(request: AnyRequest) -> Language:
    return choose(request.query_params.get("lang"), request.headers.get("accept-language"))


def _lang(request: AnyRequest) -> str | None:
    asked = request.query_params.get("lang")
    return asked if asked == _spoken(request).code else None


async def _page(
    house: House,
    views: Views,
    looks: Turns,
    request: AnyRequest,
    given: str = "",
    *,
    wrong: str = "",
    challenge: Challenge | None = None,
) -> Response[bytes]:
    link_id, payer = _link_id(request), _payer(house, request)
    async with looks.turn():
        async with house.database.snapshot(5) as tx:
            view = await flow.link_view(tx, house, link_id, house.clock.now())
            last = None if payer is None else await flow.last_attempt(tx, house, link_id, payer)
        mine = None if last is None else await views.get(last)
    token = payer or secrets.token_urlsafe(24)
    body = link_page(view, Filled(_spoken(request), token, _lang(request), given, wrong, challenge), mine)
    answer = html(422 if wrong or challenge else 200, body, request.headers, form=True)
    secure = _is_secure(house)
    answer.set_cookie(
        Cookie(
            _cookie(house), value=token, path="/", max_age=KEPT_SECONDS, httponly=True, secure=secure, samesite="lax"
        )
    )
    return answer


async def _begin(house: House, views: Views, looks: Turns, turns: Turns, request: AnyRequest) -> Response[bytes]:
    link_id, form = _link_id(request), await _form(request)
    payer = _payer(house, request)
    _check_origin(request, payer, form.get("token", ""))
    assert payer is not None
    try:
        given, address = form.get("amount"), _address(request)
        typed = None if given is None else partial(read_amount, given, _spoken(request).locale)

        proof = Proof(form.get("challenge", ""), form.get("proof", ""))

        async def asked() -> InvoiceId | Challenge:
            now = house.clock.now()
            return await flow.attempt_link(house, link_id, payer, typed, now, address=address, proof=proof)

        begun = await _attempt(turns, link_id, asked)
    except Invalid as invalid:
        if "amount" not in form and invalid.code == TOO_SMALL:
            return _notice(request, 422, _TOO_LITTLE)
        if "amount" not in form or invalid.faults[0].field != "amount":
            raise Unavailable("this store cannot take the payment now") from invalid
        wrong = "small" if invalid.code == TOO_SMALL else "bounds"
        return await _page(house, views, looks, request, form.get("amount", "")[:60], wrong=wrong)
    except Conflict:
        return _see(f"/l/{link_id}", _lang(request))
    if isinstance(begun, Challenge):
        return await _page(house, views, looks, request, form.get("amount", "")[:60], challenge=begun)
    return _see(f"/i/{begun}", _lang(request))


async def _attempt(
    turns: Turns, link_id: str, asked: Callable[[], Awaitable[InvoiceId | Challenge]]
) -> InvoiceId | Challenge:
    for wait in _WAITS:
        try:
            async with turns.turn(link_id):
                return await asked()
        except Conflict as conflict:
            if conflict.code != "attempt_in_progress":
                raise
            await asyncio.sleep(wait)
    raise Unavailable("the invoice is still being made")


def _link_id(request: AnyRequest) -> str:
    found: str = request.path_params["link_id"]
    if not is_id("lnk", found):
        raise NotFound("there is no such payment link")
    return found


async def _form(request: AnyRequest) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Forbidden("not a form")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise Forbidden("not our form")
    try:
        found = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise Forbidden("not our form") from None
    return {name: values[-1] for name, values in found.items()}


def _check_origin(request: AnyRequest, payer: str | None, token: str) -> None:
    """Raise `Forbidden` unless the form comes from a page that we sent to this browser."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    agrees = payer is not None and hmac.compare_digest(payer.encode(), token.encode())
    if not agrees or site != "same-origin":
        raise Forbidden("this form was not sent from our page")


def _address(request: AnyRequest) -> str | None:
    # Coarser than requests are counted: many a subscriber has a /56, and each attempt takes an address for ever.
    return None if request.client is None else bucket(request.client.host, 56)


def _payer(house: House, request: AnyRequest) -> str | None:
    found = request.cookies.get(_cookie(house), "")
    return found if _TOKEN.match(found) else None


def _cookie(house: House) -> str:
    # The prefix keeps every other host, also one below ours, from setting it.
    return "__Host-kassa-payer" if _is_secure(house) else "kassa-payer"


def _is_secure(house: House) -> bool:
    return house.settings.http.public_url.startswith("https://")


def _see(path: str, lang: str | None) -> Response[bytes]:
    return html(303, b"", {}, more={"location": path if lang is None else f"{path}?lang={lang}"})
