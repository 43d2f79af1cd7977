"""What becomes of alerts when somebody looks again; what a restraint does to a payment. Pure."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.alerts.model import OPERATOR, Action, Alert, Deed, Finding, Kind, Severity
from kassa.alerts.money_rules import MOST_BLOCKS, on_reversed
from kassa.alerts.rules import steps
from kassa.alerts.seen import Reversed
from kassa.core.ids import AlertId
from kassa.payments.model import Payment, Sight, Status, Tier
from kassa.payments.settling import judge, required
from tests.rules.build import at, payment

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WARNING = Finding(Kind.NODE_BEHIND, "a", Severity.WARNING, "why", measure=3)


def alert(finding: Finding = WARNING, *, closed: bool = False) -> Alert:
    open_ = Alert(AlertId("alt"), finding, NOW)
    return replace(open_, closed_at=NOW, closed_by=OPERATOR) if closed else open_


def wrong(count: int) -> Finding:
    return replace(WARNING, kind=Kind.ADDRESS_MISMATCH, lasting=True, about={"count": count})


@pytest.mark.parametrize(
    ("known", "muted", "found", "expected"),
    [
        ([], [], [WARNING], "opened"),
        ([alert()], [], [WARNING], "found"),
        ([alert()], [], [], "closed"),
        ([alert(replace(WARNING, lasting=True))], [], [], "over"),
        ([alert(replace(WARNING, actions=(Action(Deed.FROZEN, "x"),)))], [], [], "over"),
        ([alert(replace(WARNING, actions=(Action(Deed.RAISED, "x", 6),)))], [], [], "closed"),
        ([alert()], [], [replace(WARNING, severity=Severity.CRITICAL)], "closed opened"),
        ([alert(replace(WARNING, severity=Severity.CRITICAL))], [], [WARNING], "found"),
        # Thousands of addresses are told of anew whenever there are twice as many.
        ([alert(wrong(3))], [], [wrong(3)], "found"),
        ([alert(wrong(2))], [], [wrong(3)], "found"),
        ([alert(wrong(3))], [], [wrong(4)], "closed opened"),
        ([alert(wrong(4))], [], [wrong(3)], "found"),
        # Closed by a person while it was so: silence until it is over, or grows.
        ([], [alert(closed=True)], [WARNING], "found"),
        ([], [alert(closed=True)], [], "over"),
        ([], [alert(closed=True)], [replace(WARNING, measure=4)], "opened over"),
        ([], [alert(closed=True)], [replace(WARNING, subject="b")], "opened over"),
    ],
)
def test_a_look_opens_notes_and_closes(
    known: list[Alert], muted: list[Alert], found: list[Finding], expected: str
) -> None:
    done = steps(known, muted, found)
    assert {name for name in ("closed", "opened", "found", "over") if getattr(done, name)} == set(expected.split())


_FINDINGS = st.lists(
    st.builds(
        Finding,
        st.just(Kind.NODE_BEHIND),
        st.sampled_from("abc"),
        st.sampled_from(Severity),
        st.just("why"),
        measure=st.integers(0, 3),
        lasting=st.booleans(),
    ),
    unique_by=lambda finding: finding.subject,
)


@given(before=_FINDINGS, muted=_FINDINGS, found=_FINDINGS)
def test_every_finding_is_open_or_muted_afterwards_and_a_second_look_changes_nothing(
    before: list[Finding], muted: list[Finding], found: list[Finding]
) -> None:
    silent = [each for each in muted if each.subject not in {one.subject for one in before}]
    first = steps([alert(each) for each in before], [alert(each, closed=True) for each in silent], found)

    held = {each.subject: each for each in before} | {each.subject: each for each in first.opened}
    gone = {each.finding.subject for each in first.closed} - {each.subject for each in first.opened}
    still_open = [alert(each) for subject, each in held.items() if subject not in gone]
    over = {each.finding.subject for each in first.over}
    still_muted = [alert(each, closed=True) for each in silent if each.subject not in over]
    again = steps(still_open, still_muted, found)

    assert {each.subject for each in found} <= {each.finding.subject for each in [*still_open, *still_muted]}
    assert (again.opened, again.closed) == ((), ())


def sight(**more: object) -> Sight:
    return replace(Sight(105, at(0), 60), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "seen", "expected"),
    [
        (Status.CONFIRMING, sight(), Status.SETTLED),
        (Status.CONFIRMING, sight(raised={"": 7}), Status.CONFIRMING),
        (Status.CONFIRMING, sight(raised={"": 6}), Status.SETTLED),
        (Status.CONFIRMING, sight(raised={"sto_1": 7}), Status.CONFIRMING),
        (Status.CONFIRMING, sight(raised={"sto_2": 7}), Status.SETTLED),
        (Status.CONFIRMING, sight(held=True), Status.CONFIRMING),
        (Status.SETTLED, sight(held=True, raised={"": 100}), Status.SETTLED),
        (Status.REVERSED, sight(raised={"": 7}), Status.CONFIRMING),
    ],
)
def test_a_restraint_holds_what_has_not_settled_yet_and_undoes_nothing(
    before: Status, seen: Sight, expected: Status
) -> None:
    paid = payment(block=100, status=before)  # six confirmations
    assert judge(paid, required(paid, Tier(None, 1), seen), seen, 0, None).status is expected


def test_a_payment_taken_without_a_block_waits_for_one_while_more_is_asked_for_or_all_is_held() -> None:
    paid, free = payment(), Tier(None, 0)
    for seen, expected in ((sight(), "settled"), (sight(raised={"": 1}), "detected"), (sight(held=True), "detected")):
        assert judge(paid, required(paid, free, seen), seen, 0, None).status == expected


@pytest.mark.parametrize(
    ("paid", "needed"),
    [
        (payment(status=Status.REVERSED, settled=20, conflict="b"), 1),
        (payment(status=Status.REVERSED, settled=20, missing=-60), 1),
        (payment(status=Status.REPLACED, conflict="b"), 1),
        (payment(status=Status.DROPPED, missing=-60), 1),
        (payment(status=Status.DETECTED, missing=-59), 7),
        (payment(status=Status.REVERSED, settled=20), 7),
    ],
)
def test_more_is_asked_of_what_lives_and_nothing_of_the_dead(paid: Payment, needed: int) -> None:
    assert required(paid, Tier(None, 1), sight(raised={"": 7})).blocks == needed


def test_a_reversal_asks_for_a_bounded_number_of_confirmations() -> None:
    [found] = on_reversed([Reversed("pay_1", "sto_1", "inv_1", None, "n", "BTC@n", 2**30)])
    assert found.actions[0].blocks == MOST_BLOCKS
