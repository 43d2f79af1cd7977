"""What the checkout says of each state, by the terms of its invoice."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kassa.checkout.languages import SPOKEN, language
from kassa.checkout.listing import trimmed
from kassa.checkout.words import State, least, payment_words, state
from kassa.core.clock import rfc3339
from kassa.invoices.policy import Over, Policy, Short
from tests.rules.build import at, terms

_SHORT = "0.000000003333333334"
INVOICE: dict[str, Any] = {
    "status": "new", "amount": "50.00", "currency": "EUR", "amount_paid": "0.00", "amount_due": "50.00",
    "amount_over": "0.00", "flags": [], "is_credited": False, "is_final": False, "payments": [],
    "payments_left_off": 0,
    "payment_options": [
        {"uri": "bitcoin:x", "closed": False, "symbol": "BTC", "amount_paid": "0.00000000", "amount_due": "0.00100000"},
        {"uri": None, "closed": True, "symbol": "ETH", "amount_paid": "0.016633330000000000", "amount_due": _SHORT},
    ],
}  # fmt: skip


def payment(status: str, confirmations: int = 0, required: int = 2) -> dict[str, Any]:
    return {"status": status, "confirmations": confirmations, "confirmations_required": required}


def said(policy: Policy | None = None, lang: str = "en", moment: float = 900, **change: Any) -> State:
    return state(INVOICE | change, replace(terms(), policy=policy or Policy()), at(moment), language(lang))


@pytest.mark.parametrize(
    ("change", "title", "tone", "payable"),
    [
        ({}, "Waiting for your payment", "open", True),
        ({"amount_paid": "10.00", "amount_due": "40.00"}, "Part of it has arrived", "open", True),
        ({"payments": [payment("replaced")]}, "Your payment was replaced", "bad", True),
        ({"payments": [payment("dropped")]}, "Your payment has disappeared", "bad", True),
        ({"payments": [payment("reversed")], "flags": ["reversed"]}, "Your payment was undone", "bad", True),
        ({"status": "processing", "payments": [payment("detected")]}, "Payment seen", "good", False),
        ({"status": "processing", "payments": [payment("confirming", 1)]}, "Payment is being confirmed", "good", False),
        (
            {"status": "processing", "flags": ["reversed"], "payments": [payment("detected")]},
            "Payment is confirmed again", "open", False,
        ),
        ({"status": "settled"}, "Paid", "good", False),
        ({"status": "expired"}, "The time is over", "bad", False),
        ({"status": "expired", "amount_paid": "10.00"}, "Not fully paid in time", "bad", False),
        ({"status": "expired", "amount_paid": "50.00", "flags": ["late"]}, "Your payment came too late", "bad", False),
        ({"status": "invalid"}, "This invoice was cancelled", "bad", False),
        ({"payment_options": [{"uri": None, "closed": True}]}, "Closed for now", "bad", True),
    ],
)  # fmt: skip
def test_each_state_has_plain_words(change: dict[str, Any], title: str, tone: str, payable: bool) -> None:
    shown = said(**change)
    assert (shown.title, shown.tone, shown.payable) == (title, tone, payable)
    for lang in set(SPOKEN) - {"en"}:
        assert said(lang=lang, **change).title != title


@pytest.mark.parametrize("status", ["replaced", "dropped", "reversed"])
@pytest.mark.parametrize("end", ["new", "expired"])
def test_what_was_undone_after_the_end_is_said_to_be_and_not_asked_for_again(status: str, end: str) -> None:
    undone = {"payments": [payment(status)], "flags": ["reversed"]}
    shown = said(status=end, moment=901, **undone)
    assert (shown.title, shown.payable) == ("Your payment was undone", False)
    assert "ask the shop for a new invoice" in shown.texts[0]
    assert "please pay again" in said(**undone).texts[0]  # while there is time


@pytest.mark.parametrize("change", [{}, {"amount_paid": "10.00"}, {"payments": [payment("dropped")]}])
@pytest.mark.parametrize("lang", SPOKEN)
def test_nobody_is_asked_to_pay_when_the_time_is_over_though_a_network_holds_up_the_end(
    change: dict[str, Any], lang: str
) -> None:
    shown = said(lang=lang, moment=901, **change)
    assert (shown.payable, shown.waiting, shown.tone) == (False, True, "bad")
    assert shown.title == said(status="expired", lang=lang).title
    assert shown.texts[-2:] == said(status="expired", is_final=True, lang=lang).texts


def test_what_becomes_of_too_much_is_what_the_policy_says() -> None:
    over = {"status": "settled", "flags": ["overpaid"], "amount_over": "5.00"}
    assert said(**over).texts[1:] == (
        "You sent €5.00 too much.", "The shop knows of it; ask it to send the rest back.",
    )  # fmt: skip
    credited = said(Policy(over=Over.CREDIT), **over)
    assert credited.texts[-1] == "It is kept as credit in your account with the shop."


@pytest.mark.parametrize("lang", SPOKEN)
@pytest.mark.parametrize("over", list(Over))
def test_why_more_is_asked_for_than_is_missing_is_said(over: Over, lang: str) -> None:
    agreed = replace(terms(), policy=Policy(over=over))
    small = {"amount_due": "0.00000100", "amount_to_send": "0.00000546", "symbol": "BTC", "decimals": 8}
    why, fate = least(small, agreed, language(lang))
    assert "0.000001 BTC" in why
    if lang == "en":
        assert ("kept as credit" in fate) is (over is Over.CREDIT)
    assert least(small | {"amount_to_send": "0.00000100"}, agreed, language(lang)) == ()


@pytest.mark.parametrize(
    ("due", "to_send", "decimals", "is_said"),
    [
        ("0.00000546", "0.00000546", 8, False),
        ("0.00000545", "0.00000546", 8, True),
        ("0.016633330000000001", "0.016633340000000000", 18, False),  # rounded up to what can be typed
        ("0.016633330000000000", "0.016633340000000000", 18, True),
    ],
)
def test_a_step_more_than_is_missing_is_said_and_less_is_not(
    due: str, to_send: str, decimals: int, is_said: bool
) -> None:
    option = {"amount_due": due, "amount_to_send": to_send, "symbol": "X", "decimals": decimals}
    assert bool(least(option, terms(), language("en"))) is is_said


def test_what_becomes_of_too_little_is_what_the_policy_says() -> None:
    short = {"status": "expired", "amount_paid": "10.00"}
    assert said(**short).texts == (
        "€10.00 of €50.00 arrived.", f"{_SHORT} ETH is missing.",
        "The shop knows of it and decides; please contact it.",
    )  # fmt: skip
    assert "kept as credit" in said(Policy(short=Short.CREDIT), **short).texts[-1]


def test_of_what_was_lost_and_came_back_after_the_end_nothing_is_said_to_have_come_too_late() -> None:
    kept = "It is kept as credit in your account with the shop."
    parts = [payment("settled", 2) | {"first_seen_at": rfc3339(at(moment))} for moment in (10, 20)]
    back = {"status": "expired", "amount_paid": "50.00", "flags": ["late"], "is_credited": True, "payments": parts}
    shown = said(Policy(short=Short.CREDIT), moment=901, **back)
    assert shown.title == "Not fully paid in time"
    assert (shown.texts[0], shown.texts[-1]) == ("€50.00 of €50.00 arrived.", kept)

    back["payments"] = [parts[0], parts[1] | {"first_seen_at": rfc3339(at(901))}]
    assert said(Policy(short=Short.CREDIT), moment=902, **back).title == "Your payment came too late"


def test_what_came_late_is_said_to_be_credited_where_it_is() -> None:
    late = {"status": "expired", "amount_paid": "50.00", "flags": ["late"], "is_credited": True}
    assert said(Policy(short=Short.CREDIT), **late).texts == ("It is kept as credit in your account with the shop.",)
    late["is_credited"] = False
    assert "The shop knows of it and decides" in said(**late).texts[0]
    awaited = said(Policy(short=Short.CREDIT, late_grace_seconds=600), moment=901, **late)
    assert awaited.texts == ("It is kept as credit in your account with the shop.",)
    assert "decides" in said(Policy(short=Short.CREDIT), is_final=True, **late).texts[0]


@pytest.mark.parametrize("short", list(Short))
def test_a_part_has_no_fate_while_the_rest_may_still_be_accepted(short: Short) -> None:
    policy, part = Policy(short=short, late_grace_seconds=600), {"status": "expired", "amount_paid": "10.00"}
    *arrived, fate = said(policy, moment=901, **part).texts
    assert (len(arrived), "may still be accepted" in fate) == (2, True)
    for is_final in (False, True):  # a part may be confirming for long after
        over = said(policy, moment=1_501, is_final=is_final, **part)
        assert over.texts == said(Policy(short=short), **part).texts


def test_a_grace_time_is_told_while_it_runs() -> None:
    graceful = replace(terms(), policy=Policy(late_grace_seconds=600))
    until = language("en").time(graceful.expires_at + timedelta(seconds=600))
    running = state(INVOICE | {"status": "expired"}, graceful, at(901), language("en"))
    assert f"before {until} may still be accepted" in running.texts[-1]
    for moment, is_final in ((901, True), (1_501, False)):
        over = state(INVOICE | {"status": "expired", "is_final": is_final}, graceful, at(moment), language("en"))
        assert "the shop decides" in over.texts[-1]


def test_the_payment_that_is_least_far_is_what_is_waited_for() -> None:
    payments = [payment("settled", 9, 2), payment("confirming", 1, 3), payment("replaced")]
    assert said(status="processing", payments=payments).texts[0] == "1 of 3 confirmations."
    payments.append(payment("confirming", 1, 1))
    assert said(status="processing", payments=payments).progress == (1, 3)


def test_more_confirmations_than_it_takes_are_not_counted_where_something_else_is_awaited() -> None:
    shown = said(status="processing", payments=[payment("confirming", 42, 2)])
    assert shown.texts[0] == "All confirmations are there. The payment is complete as soon as it counts as final."
    assert shown.progress == (2, 2)
    assert payment_words(payment("confirming", 42, 2), language("en")) == "2 of 2 confirmations"


@pytest.mark.parametrize("status", ["detected", "confirming", "settled", "replaced", "dropped", "reversed"])
def test_each_payment_has_words(status: str) -> None:
    assert payment_words(payment(status, 1, 2), language("de"))


@pytest.mark.parametrize(
    ("amount", "shown"), [("0.00100000", "0.001"), ("50.000000", "50"), ("100", "100"), ("0.10", "0.1"), ("0.00", "0")]
)
def test_amounts_of_assets_lose_zeros_and_nothing_else(amount: str, shown: str) -> None:
    assert trimmed(amount) == shown


def test_what_the_shop_marked_as_paid_is_not_said_to_have_come() -> None:
    assert said(status="settled").texts[0] == "Thank you. The payment is complete."
    marked = "Thank you. The shop has accepted this invoice as paid."
    assert said(status="settled", flags=["marked"]).texts[0] == marked
    for lang in set(SPOKEN) - {"en"}:
        assert said(lang=lang, status="settled", flags=["marked"]).texts[0] not in (
            marked,
            said(lang=lang, status="settled").texts[0],
        )
