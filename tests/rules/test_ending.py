"""What a payer is told about the end of the countdown is what comes true by the rules of the invoice."""

from fractions import Fraction
from itertools import product

import pytest
from markupsafe import Markup

from kassa.checkout.ending import ending
from kassa.checkout.languages import SPOKEN, language
from kassa.invoices.model import Rule, Status
from kassa.invoices.policy import Policy, Short
from kassa.invoices.rules import evaluate
from tests.rules.build import payment, terms, view

LOCKED = Fraction(50_000)
POLICIES = [
    Policy(short=short, short_limit_ppm=400_000, late_grace_seconds=grace, late_rate_ppm=15_000)
    for short, grace in product(Short, (0, 600))
]


def told(policy: Policy, paid: int = 0, lang: str = "en") -> str:
    texts = ending(terms(policy=policy), Fraction(paid, 100_000), language(lang))
    return Markup(" ").join(texts).striptags()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("paid", [1, 59_999, 60_000, 99_999])
def test_what_is_said_of_a_part_comes_true_when_nothing_follows(policy: Policy, paid: int) -> None:
    standing = evaluate(terms(policy=policy), [payment(paid, block=100)], (), view(2_000))

    said = told(policy, paid)

    assert ("accepted as the full price" in said) == (standing.status is Status.SETTLED)
    assert ("what has arrived is kept as credit" in said) == (Rule.SHORT_CREDIT in standing.rules)
    assert ("the shop decides about what has arrived" in said) == (Rule.SHORT_FLAG in standing.rules)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("moved", "seen"), [(Fraction(1015, 1000), 1_500), (Fraction(1016, 1000), 1_500), (1, 1_501)])
def test_what_is_said_of_a_late_payment_comes_true(policy: Policy, moved: Fraction, seen: int) -> None:
    late = payment(200_000, seen=seen, block=100, late_rate=LOCKED * moved)
    standing = evaluate(terms(policy=policy), [late], (), view(2_000))

    said = told(policy)

    promised = "still accepted until Jan 1, 2026, 12:25:00 AM UTC if the exchange rate has changed by 1.5% at most" in (
        said.replace("\u202f", " ")
    )
    assert promised == ("Please pay before then." in said) == (policy.late_grace_seconds > 0)
    kept = promised and moved <= 1 + policy.late_rate and seen <= 900 + policy.late_grace_seconds
    assert (standing.status is Status.SETTLED) == kept
    if not kept:
        credited = "What comes later is kept as credit" in said
        assert credited == (Rule.SHORT_CREDIT in standing.rules)
        assert credited != ("the shop decides about it" in said)


def test_a_new_invoice_is_asked_for_only_where_nothing_came_and_nothing_late_is_accepted() -> None:
    assert "ask the shop for a new invoice" in told(Policy())
    assert "new invoice" not in told(Policy(), 1)
    assert "new invoice" not in told(Policy(late_grace_seconds=1))


@pytest.mark.parametrize("lang", SPOKEN)
def test_every_language_tells_the_endings_apart(lang: str) -> None:
    said = {told(policy, paid, lang) for policy in POLICIES for paid in (0, 1, 60_000)}
    assert len(said) == 10  # accept with a part that is too small ends like a flag
