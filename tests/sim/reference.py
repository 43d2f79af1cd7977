"""Where an invoice stands, written a second time: naive, from plain database rows, without any of Kassa's own rules."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any

Row = Mapping[str, Any]
_LIVING = ("detected", "confirming", "settled")
_WIDE = Context(prec=120, rounding=ROUND_HALF_EVEN)


def expected_payment(
    payment: Row,
    option: Row,
    height: int,
    observed_at: datetime,
    drop_after: int,
    beside: Sequence[Row] = (),
    given: Sequence[str] = (),
) -> tuple[str, int]:
    """Return a payment's status and the confirmations that it needs.

    A tier may ask for a final block too: `final` is the height up to which they are.
    `raised` of a payment are the confirmations that an alert asks for, of whatever lives and has not settled; `frozen`:
    there is a doubt about its asset, and it never settled before.
    `beside` are all payments of its invoice, `given` the ids of those that were given back, which go before the others.
    """
    mine, earlier = _turn(payment, given), 0
    # Of a single tier no sum can make another; and a flood has thousands of payments.
    for other in beside if len(option["tiers"]) > 1 else ():
        if other["asset"] == payment["asset"] and _turn(other, given) < mine:
            alive = expected_payment(other, option, height, observed_at, drop_after)[0] in _LIVING
            earlier += int(other["units"]) if alive else 0
    larger = max(int(payment["units"]) + earlier, int(option["due_units"]))
    needed, final = None, False
    for limit, blocks, *final_too in option["tiers"]:
        if needed is None and (limit is None or larger <= limit):
            needed, final = blocks, bool(final_too)
    if needed is None:
        needed = max([blocks for _, blocks, *_ in option["tiers"]] or [1])
        final = any(final_too for _, _, *final_too in option["tiers"])
    if payment["replaceable"] and needed < 1:
        needed = 1
    if payment["status"] != "settled" and not _dead(payment, height, observed_at, drop_after):
        needed = max(needed, payment.get("raised") or 0)
    needed = max(needed, payment["maturity"])
    if payment["block_height"] is not None and height >= payment["block_height"]:
        deep_enough = height - payment["block_height"] + 1 >= needed and not payment.get("frozen")
        deep_enough = deep_enough and (not final or payment["block_height"] <= payment["final"])
        return ("settled" if deep_enough else "confirming"), needed
    lost = "replaced" if payment["settled_at"] is None else "reversed"
    if payment["conflict_txid"]:
        return lost, needed
    if payment["void_height"] is not None:
        return ("dropped" if lost == "replaced" else "reversed"), needed
    if payment["missing_since"] is None:
        return ("settled" if needed == 0 and not payment.get("frozen") else "detected"), needed
    if observed_at >= payment["missing_since"] + timedelta(seconds=drop_after):
        return ("dropped" if lost == "replaced" else "reversed"), needed
    return "detected", needed


def _dead(payment: Row, height: int, observed_at: datetime, drop_after: int) -> bool:
    if payment["block_height"] is not None and height >= payment["block_height"]:
        return False
    missing = payment["missing_since"]
    return (
        bool(payment["conflict_txid"])
        or payment["void_height"] is not None
        or (missing is not None and observed_at >= missing + timedelta(seconds=drop_after))
    )


def expected_deposit(payment: Row, tiers: Sequence[Any], height: int, observed_at: datetime, drop_after: int) -> str:
    """Return a deposit's status: it is judged as if it were all that is due."""
    option = {"due_units": payment["units"], "tiers": tiers}
    return expected_payment(payment, option, height, observed_at, drop_after)[0]


def expected_invoice(
    invoice: Row,
    options: Mapping[str, Row],
    payments: Sequence[Row],
    spends: Sequence[Row],
    decisions: Sequence[str],
    networks: Mapping[str, tuple[int, datetime, int]],
    now: datetime,
    given: Sequence[str] = (),
) -> dict[str, Any]:
    """Return an invoice's status, flags, rules, sums, and the split of its money by cause.

    `networks`: height, observed until, drop after, by name. `given`: what was given back, in order.
    """
    price = int(invoice["amount_units"])
    missing = max(Fraction(invoice["tolerance_ppm"], 10**6), Fraction(int(invoice["tolerance_units"]), price))
    need = 1 - min(missing, Fraction(price - 1, price))
    grace = invoice["expires_at"] + timedelta(seconds=invoice["late_grace_seconds"])
    living, in_flight, was_settled = _living(invoice, options, payments, spends, networks, grace, given)
    theirs = [] if decisions and decisions[-1] == "settled" else [part["id"] for part in living if part["id"] in given]
    for part in living:
        part["counts"] = Fraction(0) if part["id"] in theirs else part["counts"]
    sums = {
        "paid": sum((part["share"] for part in living), Fraction(0)),
        "settled": sum((part["share"] for part in living if part["settled"]), Fraction(0)),
        "in time": sum((p["share"] for p in living if not p["late"] and p["id"] not in theirs), Fraction(0)),
        "counts": sum((part["counts"] for part in living), Fraction(0)),
        "counts settled": sum((part["counts"] for part in living if part["settled"]), Fraction(0)),
    }
    late = {part["late"] for part in living} - {""}
    seen = [now, *(at for _, at, _ in networks.values())]
    over, closed = all(invoice["expires_at"] < moment for moment in seen), all(grace < moment for moment in seen)
    enough = need
    if closed and invoice["on_short"] == "accept":
        enough = min(need, 1 - Fraction(invoice["short_limit_ppm"], 10**6))
    status = _status(decisions, sums, enough, over)
    paid = _worth(sums["paid"], need, price)
    short = 0 < sums["paid"] < need and sums["counts"] < need
    told = {
        "underpaid": short and (over or bool(decisions)),
        "overpaid": paid > price,
        "late": sums["in time"] < need and max(sums["paid"], sums["counts"]) >= need,
        "reversed": was_settled,
        "marked": bool(decisions),
    }
    back = closed and status != "settled" and sums["counts"] < enough and invoice["on_short"] == "credit"
    theirs = [part["id"] for part in living] if back else theirs
    money = _split(living, invoice["on_over"] == "credit", theirs, status == "settled" and not decisions)
    rules = ["marked"] if decisions else []
    rules += ["short.credit"] if decisions and theirs else []
    if not decisions:
        rules += ["tolerance"] if need <= sums["counts"] < 1 else []
        rules += ["short.flag"] if closed and short and sums["counts"] < enough and not back else []
        rules += ["short.accept"] if enough <= sums["counts"] < need else []
        rules += ["short.credit"] if theirs else []
        rules += sorted(late) if sums["in time"] < need else []
    rules += ["over.flag"] if any(split["over"] for split in money.values()) else []
    rules += ["over.credit"] if any(split["credit"] for id_, split in money.items() if id_ not in theirs) else []
    rests = status == "settled" or closed or (status == "invalid" and invoice["on_short"] != "credit")
    return {
        "status": status,
        "flags": [flag for flag, raised in told.items() if raised],
        "rules": rules,
        "is_final": rests and not in_flight,
        "paid_units": paid,
        "settled_units": _worth(sums["settled"], need, price),
        "money": money,
        "given": [part["id"] for part in living if part["settled"] and part["id"] in theirs],
    }


def _living(
    invoice: Row,
    options: Mapping[str, Row],
    payments: Sequence[Row],
    spends: Sequence[Row],
    networks: Mapping[str, tuple[int, datetime, int]],
    grace: datetime,
    given: Sequence[str],
) -> tuple[list[dict[str, Any]], bool, bool]:
    """Return what counts of payments and spends, whether any is on its way, and whether one was settled before."""
    living: list[dict[str, Any]] = []
    in_flight = was_settled = False
    for payment in payments:
        option = options.get(payment["asset"])
        if option is None:
            continue
        status, _ = expected_payment(payment, option, *networks[option["network"]], payments, given)
        in_flight |= status in ("detected", "confirming")
        was_settled |= payment["settled_at"] is not None and status != "settled"
        if status in _LIVING:
            share = _share(payment, option, invoice)
            kind = _lateness(payment, option, invoice, grace)
            counts = {"": share, "late.grace": max(share, Fraction(int(payment["units"]), int(option["due_units"])))}
            living.append(
                {
                    "id": payment["id"], "units": int(payment["units"]), "share": share, "spend": False,
                    "counts": counts.get(kind, Fraction(0)), "settled": status == "settled", "late": kind,
                    "moment": payment["first_seen_at"], "tie": _tie(payment), "crumb": _crumb(option, invoice),
                }
            )  # fmt: skip
    for spend in spends:
        share = Fraction(int(spend["units"]), int(options[spend["asset"]]["due_units"]))
        living.append(
            {
                "id": spend["id"], "units": int(spend["units"]), "share": share, "spend": True, "counts": share,
                "settled": True, "late": "", "moment": spend["made_at"], "tie": (spend["id"],), "crumb": 0,
            }
        )  # fmt: skip
    return living, in_flight, was_settled


def _lateness(payment: Row, option: Row, invoice: Row, grace: datetime) -> str:
    if payment["first_seen_at"] <= invoice["expires_at"]:
        return ""
    if payment["first_seen_at"] > grace:
        return "late.flag"
    if payment["late_rate"] is None:
        return "late.rate"
    ratio = Fraction(payment["late_rate"]) / Fraction(option["rate"])
    within = 1 - Fraction(invoice["late_rate_ppm"], 10**6) <= ratio <= 1 + Fraction(invoice["late_rate_ppm"], 10**6)
    return "late.grace" if within else "late.rate"


def _tie(payment: Row) -> tuple[Any, ...]:
    return payment["txid"], len(payment["position"]), payment["position"]


def _turn(payment: Row, given: Sequence[str]) -> tuple[Any, ...]:
    place = list(given).index(payment["id"]) if payment["id"] in given else len(given)
    return place, payment["first_seen_at"], _tie(payment)


def _split(
    living: list[dict[str, Any]], credit: bool, theirs: Sequence[str], accepted: bool
) -> dict[str, dict[str, int]]:
    """Lay the parts end to end, those that are settled first; what lies beyond the price by more than crumbs is excess.

    `theirs` are the customer's whole, and take no part in it.
    """
    money, end = {}, Fraction(0)
    ordered = sorted(living, key=lambda part: (not part["settled"], part["moment"], part["tie"]))
    for part in [part for part in ordered if part["id"] in theirs]:
        money[part["id"]] = {"sales": 0, "over": 0, "credit": part["units"], "under": 0}
    ordered = [part for part in ordered if part["id"] not in theirs]
    for part in ordered:
        begin, end = end, end + part["share"]
        edge = end if 1 < end < 1 + part["crumb"] else Fraction(1)
        inside = (min(end, edge) - min(begin, edge)) / part["share"] * part["units"]
        price = -(-inside.numerator // inside.denominator)
        rest = part["units"] - price
        if credit or part["spend"]:
            rest, credited = 0, rest
        else:
            credited = 0
        money[part["id"]] = {"sales": price, "over": rest, "credit": credited, "under": 0}
    settled = [part for part in ordered if part["settled"]]
    short = 1 - sum(part["share"] for part in settled)
    if accepted and settled and short > 0:
        last = settled[-1]
        exact = short / last["share"] * last["units"]
        money[last["id"]]["under"] = -(-exact.numerator // exact.denominator)
    return money


def _crumb(option: Row, invoice: Row) -> Fraction:
    """Return the share of the price that payers are asked too much at most, so that eight decimals suffice."""
    share = Fraction(10 ** option["decimals"], 10**8) / int(option["due_units"])
    return share if option["decimals"] > 8 and share * int(invoice["amount_units"]) < Fraction(1, 2) else Fraction(0)


def _status(decisions: Sequence[str], sums: Mapping[str, Fraction], enough: Fraction, over: bool) -> str:
    if decisions:
        return decisions[-1]
    if sums["counts settled"] >= enough:
        return "settled"
    if sums["counts"] >= enough:
        return "processing"
    return "expired" if over else "new"


def _share(payment: Row, option: Row, invoice: Row) -> Fraction:
    units = int(payment["units"])
    if payment["late_rate"] is None:
        return Fraction(units) / int(option["due_units"])
    worth = Fraction(units, 10 ** option["decimals"]) * Fraction(payment["late_rate"])
    return worth / Fraction(int(invoice["amount_units"]), 10 ** invoice["decimals"])


def expected_books(
    account: str, status: str, units: int, split: Mapping[str, int] | None, customer: str | None
) -> dict[str, int]:
    """Return the balances that one payment or spend should have in the books: it is on `account`, on whose behalf.

    Without a `split` it is wholly the customer's, or, without a customer, the store's own income.
    """
    if status not in ("confirming", "settled"):
        return {}
    if status == "confirming":
        return {account: units, "unsettled": -units}
    books = {account: units}
    whole = "income" if customer is None else f"customer:{customer}"
    shares = {whole: units} if split is None else {}
    if split is not None:
        shares = {"sales": split["sales"], "over": split["over"], f"customer:{customer}": split["credit"]}
        books["under"] = split["under"]
        shares["sales"] += split["under"]
    for name, share in shares.items():
        books[name] = books.get(name, 0) - share
    return {name: balance for name, balance in books.items() if balance}


def _worth(share: Fraction, need: Fraction, price: int) -> int:
    exact = share * price
    whole = int(_WIDE.divide(Decimal(exact.numerator), Decimal(exact.denominator)).quantize(Decimal(1), context=_WIDE))
    return price - 1 if share < need and whole >= price else whole
