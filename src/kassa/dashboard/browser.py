"""What a browser sent, read with suspicion, and the headers that every answer carries."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request, Response

from kassa.api.incoming import Body
from kassa.core.errors import FieldFault, Forbidden, Invalid, Rejected, UnsupportedMedia
from kassa.people.proofs import Site
from kassa.people.rules import LONGEST, csrf_token, masked, unmasked

AnyRequest = Request[Any, Any, Any]

MAX_FIELDS = 100
_FORM = "application/x-www-form-urlencoded"
# Own scripts, styles and images only, nothing inline; nobody frames a page, and no form leads elsewhere. The referrer
# stays within: with none at all, browsers would hide the origin of forms, too.
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(slots=True)
class Form:
    """The fields of a form. Those that may repeat are in `many`. `late`: its sender had us wait for it."""

    values: Mapping[str, str] = field(default_factory=dict)
    many: Mapping[str, list[str]] = field(default_factory=dict)
    late: bool = False

    def get(self, name: str) -> str:
        return self.values.get(name, "")


@dataclass(frozen=True, slots=True)
class Browser:
    """Who is at the other end: the random token of its cookie, its address, what it calls itself."""

    token: str
    known: bool
    address: str
    agent: str
    mask: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def csrf(self) -> str:
        """What the forms of one answer carry: another one in each answer, since answers are packed."""
        return masked(csrf_token(self.token), self.mask)

    @property
    def seen(self) -> tuple[str, str]:
        return self.address, self.agent


def new_token() -> str:
    """Draw 256 random bits."""
    return secrets.token_urlsafe(32)


def cookie_name(site: Site) -> str:
    """Return the cookie's name: over https with the prefix that keeps other hosts from setting it (RFC 6265bis)."""
    return "__Host-kassa" if site.origin.startswith("https://") else "kassa"


def read_browser(request: AnyRequest, site: Site) -> Browser:
    """Return who is asking; a browser without a cookie is given a token, which is nobody's yet."""
    token = request.cookies.get(cookie_name(site), "")
    known = len(token) == 43 and token.isascii()
    client = request.client
    agent = "".join(c for c in request.headers.get("user-agent", "") if c.isprintable())
    return Browser(token if known else new_token(), known, client.host if client else "", agent)


async def read_form(
    request: AnyRequest, browser: Browser, site: Site, fields: Iterable[str], many: Iterable[str] = ()
) -> Form:
    """Return a form that a page of ours sent.

    Raises `Forbidden` (`csrf`) for one that was sent from elsewhere, `Invalid` for unknown or repeated fields.
    """
    _refuse_strangers(request, site)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise UnsupportedMedia("forms are sent as application/x-www-form-urlencoded")
    body = Body({}, request.receive)
    late = await body.arrive()
    try:
        pairs = parse_qsl(
            (await body()).decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
        )
    except ValueError:
        raise Rejected("the form cannot be read", code="malformed_form") from None
    given = next((value for name, value in pairs if name == "csrf"), "")
    if not browser.known:
        # As a page is opened by another scheme than `public_url`'s: the browser keeps no cookie of ours then.
        said = f"your browser keeps no cookie here; open {site.origin}/dashboard, and allow cookies there"
        raise Forbidden(said, code="csrf")
    if not compare_digest(unmasked(given).encode(), csrf_token(browser.token).encode()):
        raise Forbidden("this form is too old, or was not made by this page; load it again", code="csrf")
    return _form([pair for pair in pairs if pair[0] != "csrf"], frozenset(fields), frozenset(many), late=late)


def answer(
    status: int, body: bytes, media_type: str = "text/html", headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """Make an answer with the headers that guard it."""
    return Response(body, status_code=status, media_type=media_type, headers={**_HEADERS, **(headers or {})})


def set_cookie(response: Response[Any], site: Site, token: str) -> None:
    """Give a browser its token; no script can read it, and other sites' forms do not carry it."""
    response.set_cookie(
        key=cookie_name(site),
        value=token,
        path="/",
        max_age=int(LONGEST.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=site.origin.startswith("https://"),
    )


def _refuse_strangers(request: AnyRequest, site: Site) -> None:
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    # Not parsed: browsers write an origin in one way (RFC 6454, 6.1), and what somebody else writes may be no URL.
    elsewhere = origin is not None and origin != site.origin and origin.partition("://")[2] != host
    if elsewhere or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Forbidden(f"this form came from another site; open {site.origin} itself", code="csrf")


def _form(pairs: list[tuple[str, str]], fields: frozenset[str], many: frozenset[str], *, late: bool) -> Form:
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {name: [] for name in many}
    for name, value in pairs:
        if "\x00" in value:
            raise Invalid(FieldFault(name[:60], "must not contain control characters"))
        if name in lists:
            lists[name].append(value)
        elif name not in fields:
            raise Invalid(FieldFault(name[:60], "is not a known field"))
        elif name in values:
            raise Invalid(FieldFault(name[:60], "is given more than once"))
        else:
            values[name] = value
    return Form(values, lists, late)
