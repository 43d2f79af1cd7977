"""Where an invoice stands, written a second time: naive, from plain database rows, without any of Kassa's own rules."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any

Row = Mapping[str, Any]
_LIVING = ("detected", "confirming", "settled")
_WIDE = Context(prec=120, rounding=ROUND_HALF_EVEN)


def expected_payment(payment: Row, option: Row, height: int, observed_at: datetime, drop_after: int) -> tuple[str, int]:
    """Return a payment's status and the number of confirmations that it needs."""
    larger = max(int(payment["units"]), int(option["due_units"]))
    needed = None
    for limit, blocks in option["tiers"]:
        if needed is None and (limit is None or larger <= limit):
            needed = blocks
    if needed is None:
        needed = max([blocks for _, blocks in option["tiers"]] or [1])
    if payment["replaceable"] and needed < 1:
        needed = 1
    needed = max(needed, payment["maturity"])
    if payment["block_height"] is not None and height >= payment["block_height"]:
        deep_enough = height - payment["block_height"] + 1 >= needed
        return ("settled" if deep_enough else "confirming"), needed
    lost = "replaced" if payment["settled_at"] is None else "reversed"
    if payment["conflict_txid"]:
        return lost, needed
    if payment["missing_since"] is None:
        return ("settled" if needed == 0 else "detected"), needed
    if observed_at >= payment["missing_since"] + timedelta(seconds=drop_after):
        return ("dropped" if lost == "replaced" else "reversed"), needed
    return "detected", needed


def expected_invoice(
    invoice: Row,
    options: Mapping[str, Row],
    payments: Sequence[Row],
    decisions: Sequence[str],
    networks: Mapping[str, tuple[int, datetime, int]],
    now: datetime,
) -> dict[str, Any]:
    """Return an invoice's status, flags and sums. `networks`: height, observed until, drop after, by name."""
    price, need = int(invoice["amount_units"]), 1 - Fraction(invoice["tolerance_ppm"], 10**6)
    sums = dict.fromkeys(("paid", "settled", "paid in time", "settled in time"), Fraction(0))
    in_flight = was_settled = False
    for payment in payments:
        option = options.get(payment["asset"])
        if option is None:
            continue
        status, _ = expected_payment(payment, option, *networks[option["network"]])
        in_flight |= status in ("detected", "confirming")
        was_settled |= payment["settled_at"] is not None and status != "settled"
        if status not in _LIVING:
            continue
        share = _share(payment, option, invoice)
        in_time = payment["first_seen_at"] <= invoice["expires_at"]
        sums["paid"] += share
        sums["paid in time"] += share if in_time else 0
        if status == "settled":
            sums["settled"] += share
            sums["settled in time"] += share if in_time else 0
    over = all(invoice["expires_at"] < moment for moment in (now, *(at for _, at, _ in networks.values())))
    status = _status(decisions, sums, need, over)
    paid = _worth(sums["paid"], need, price)
    flags = []
    if 0 < sums["paid"] < need and status in ("expired", "settled", "invalid"):
        flags.append("underpaid")
    if paid > price:
        flags.append("overpaid")
    if sums["paid in time"] < need and sums["paid"] >= need:
        flags.append("late")
    if was_settled:
        flags.append("reversed")
    if decisions:
        flags.append("marked")
    return {
        "status": status,
        "flags": flags,
        "is_final": status in ("settled", "expired", "invalid") and not in_flight,
        "paid_units": paid,
        "settled_units": _worth(sums["settled"], need, price),
    }


def _status(decisions: Sequence[str], sums: Mapping[str, Fraction], need: Fraction, over: bool) -> str:
    if decisions:
        return decisions[-1]
    if sums["settled in time"] >= need:
        return "settled"
    if sums["paid in time"] >= need:
        return "processing"
    return "expired" if over else "new"


def _share(payment: Row, option: Row, invoice: Row) -> Fraction:
    units = int(payment["units"])
    if payment["late_rate"] is None:
        return Fraction(units) / int(option["due_units"])
    worth = Fraction(units, 10 ** option["decimals"]) * Fraction(payment["late_rate"])
    return worth / Fraction(int(invoice["amount_units"]), 10 ** invoice["decimals"])


def _worth(share: Fraction, need: Fraction, price: int) -> int:
    exact = share * price
    whole = int(_WIDE.divide(Decimal(exact.numerator), Decimal(exact.denominator)).quantize(Decimal(1), context=_WIDE))
    return price - 1 if share < need and whole >= price else whole
