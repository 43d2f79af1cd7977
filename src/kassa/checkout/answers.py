"""How pages and files are answered: what a browser may do with them, how long it keeps them, and compressed."""

import gzip
from collections.abc import Mapping, Sequence

from litestar import Response

from kassa.files.model import File
from kassa.stores.raster import media_type

Headers = Mapping[str, str]

# Level 4 takes a third of the time of 9, and makes a page 3 % longer.
_PACKING = 4
_FOR_EVER = "public, max-age=31536000, immutable"

GUARDS: Headers = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def policy(ancestors: Sequence[str], *, form: bool) -> str:
    """Return the policy of a page (CSP 3): our own files alone, no text turned into markup, chosen frames."""
    sent = "'self'" if form else "'none'"
    framed = " ".join(ancestors) or "'none'"
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
        f"form-action {sent}; require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors {framed}"
    )


def html(
    status: int,
    body: bytes,
    asked: Headers,
    ancestors: Sequence[str] = (),
    *,
    form: bool = False,
    more: Headers | None = None,
) -> Response[bytes]:
    """Answer with a page that those sites may frame: a page in a foreign frame could be overlaid.

    `form`: what is entered in it may be sent to us.
    """
    guards = {**GUARDS, "content-security-policy": policy(ancestors, form=form), **(more or {})}
    guards["vary"] = "accept-encoding, accept-language"
    if not ancestors:
        guards["x-frame-options"] = "DENY"  # for browsers that do not know frame-ancestors; it cannot name sites
    if takes_gzip(asked):
        body = gzip.compress(body, _PACKING, mtime=0)
        guards["content-encoding"] = "gzip"
    return Response(body, status_code=status, media_type="text/html", headers=guards)


def asset_answer(file: File, asked: Headers) -> Response[bytes]:
    """Answer with a file that is named by its content: it can be kept for ever."""
    headers = {
        **GUARDS, "content-security-policy": _NOTHING, "cache-control": _FOR_EVER, "vary": "accept-encoding",
        "cross-origin-resource-policy": "same-origin",
    }  # fmt: skip
    packed = takes_gzip(asked)
    if packed:
        headers["content-encoding"] = "gzip"
    return Response(file.packed if packed else file.body, media_type=file.media_type, headers=headers)


def image(body: bytes) -> Response[bytes]:
    """Answer with a logo, named by its content too."""
    headers = {
        **GUARDS, "content-security-policy": f"{_NOTHING}; sandbox", "cache-control": _FOR_EVER,
        "cross-origin-resource-policy": "same-origin",
    }  # fmt: skip
    return Response(body, media_type=media_type(body), headers=headers)


def script(body: bytes) -> Response[bytes]:
    """Answer with the script for shops, which any site may load; kept for some minutes, for its name stays the same."""
    headers = {
        **GUARDS, "content-security-policy": _NOTHING, "cache-control": "public, max-age=300",
        "cross-origin-resource-policy": "cross-origin", "access-control-allow-origin": "*",
    }  # fmt: skip
    return Response(body, media_type="text/javascript", headers=headers)


def refused(status: int) -> Response[bytes]:
    """Answer with nothing but a status."""
    headers = {**GUARDS, "content-security-policy": _NOTHING}
    return Response(b"", status_code=status, media_type="text/plain", headers=headers)


def takes_gzip(asked: Headers) -> bool:
    """Tell whether an Accept-Encoding allows gzip (RFC 9110, section 12.5.3)."""
    for part in asked.get("accept-encoding", "").lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() in ("gzip", "*"):
            return weight.strip().removeprefix("q=").strip("0.") != "" or not weight
    return False
