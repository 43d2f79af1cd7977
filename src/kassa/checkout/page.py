"""The page of an invoice as HTML: autoescaped, without script, its QR codes drawn here."""

import io
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kassa.checkout.words import shop, state, ways

REFRESH_SECONDS = 10

TEMPLATES = Environment(
    loader=PackageLoader("kassa.checkout"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_TEMPLATE = TEMPLATES.get_template("invoice.html")
_WORDS = {
    "detected": "seen, not yet confirmed",
    "settled": "complete",
    "replaced": "replaced by another payment",
    "dropped": "no longer on the network",
    "reversed": "undone by the network",
}

STYLE = (files("kassa.checkout") / "static" / "checkout.css").read_bytes()


def invoice_page(invoice: Mapping[str, Any], asset: str | None = None) -> bytes:  # JSON
    """Draw an invoice for its payer, showing how to pay in `asset` (or else in the first one that is offered).

    `invoice` is the public one. While it may be paid, there must be a way to pay it.
    """
    now = state(invoice)
    options = ways(invoice) if now.payable else invoice["payment_options"]
    # The choice is in the address of the page, so that loading it again keeps it.
    chosen = next((option for option in options if option["asset"] == asset), options[0])
    return _TEMPLATE.render(
        invoice=invoice,
        state=now,
        title=f"{now.title} · {invoice['amount']} {invoice['currency']}",
        until=invoice["expires_at"][:16].replace("T", " "),
        options=options,
        chosen=chosen,
        qr=_qr(chosen["uri"]) if now.payable else None,
        payments=[_payment(payment) for payment in invoice["payments"]],
        shop=shop(invoice["redirect_url"]),
        refresh_seconds=REFRESH_SECONDS,
    ).encode()


def notice_page(title: str, text: str) -> bytes:
    """Draw a page that only says something."""
    return _TEMPLATE.render(invoice=None, state=None, title=title, text=text).encode()


@lru_cache(maxsize=1_000)
def _qr(text: str) -> Markup:
    out = io.BytesIO()
    # A fixed mask: trying all eight costs four times as much, and every reader bears any of them.
    segno.make_qr(text, error="m", mask=4).save(out, kind="svg", border=3, omitsize=True, xmldecl=False, svgns=False)
    return Markup(out.getvalue().decode())  # noqa: S704  drawn by segno: paths and numbers, no text of anyone's


def _payment(payment: Mapping[str, Any]) -> dict[str, str]:
    words = _WORDS.get(payment["status"])
    if words is None:
        words = f"{payment['confirmations']} of {payment['confirmations_required']} confirmations"
    return {"amount": payment["amount"], "symbol": payment["asset"].partition("@")[0], "words": words}
