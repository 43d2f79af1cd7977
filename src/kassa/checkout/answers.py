"""How every page of the checkout is answered: nothing foreign is loaded, no script runs, nobody frames it."""

from collections.abc import Mapping

from litestar import Response

# Nothing but our own stylesheet is loaded, no script runs, nobody frames the page (a framed one could be overlaid).
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def html(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """Answer with a page."""
    return answer(status, body, "text/html", headers or {})


def answer(status: int, body: bytes, media_type: str, headers: Mapping[str, str]) -> Response[bytes]:
    """Answer with what a page needs."""
    return Response(body, status_code=status, media_type=media_type, headers={**HEADERS, **headers})
