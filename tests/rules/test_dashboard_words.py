"""What the dashboard writes: amounts in groups, names of programs as sentences, bars as high as what they show."""

import re

import pytest

from kassa.dashboard.chart import HEIGHT, Bar, bars
from kassa.dashboard.render import grouped, sentence
from kassa.dashboard.words import RIGHTS, depth, pause
from kassa.people.rules import ROLES_WITH


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0.00", "0.00"), ("999.99", "999.99"), ("1000", "1,000"), ("-1234567.80", "-1,234,567.80"),
        ("-0.00001234", "-0.00001234"), ("25000.00012345", "25,000.00012345"), ("", ""), ("more than 7", "more than 7"),
    ],
)  # fmt: skip
def test_digits_of_whole_units_are_grouped_and_nothing_else_changes(amount: str, shown: str) -> None:
    assert grouped(amount) == shown


def test_a_name_of_programs_becomes_a_sentence() -> None:
    assert sentence("payment_link.created") == "Payment link created"


def test_every_right_is_said_in_words() -> None:
    assert set(RIGHTS) == set(ROLES_WITH)


@pytest.mark.parametrize(
    ("status", "there", "needed", "final", "said"),
    [
        ("detected", 0, 2, None, "0 of 2 confirmations"),
        ("confirming", 1, 2, False, "1 of 2 confirmations; must also become final"),
        ("settled", 2, 2, None, "confirmed: needs 2, has 2"),
        ("settled", 42, 2, None, "confirmed: needs 2, has 42"),
        ("settled", 42, 2, True, "confirmed, final: needs 2, has 42"),
        ("settled", 0, 0, None, "needs 0, has 0"),
        ("confirming", 42, 2, False, "needs 2, has 42; not final yet"),
        ("confirming", 42, 2, True, "needs 2, has 42; held, see Alerts"),
        ("confirming", 42, 2, None, "needs 2, has 42; held, see Alerts"),
        ("reversed", 0, 2, False, "0 of 2 confirmations"),
        ("dropped", 0, 0, None, "needs 0, has 0"),
    ],
)
def test_what_a_payment_has_and_needs_is_said_as_it_is(
    status: str, there: int, needed: int, final: bool | None, said: str
) -> None:
    payment = {"id": "pay_1", "status": status, "confirmations": there, "confirmations_required": needed}
    assert depth(payment, {} if final is None else {"pay_1": final}) == said


def test_of_a_moment_that_is_past_only_the_counts_are_said() -> None:
    payment = {"id": "pay_1", "status": "confirming", "confirmations": 2, "confirmations_required": 2}
    assert depth(payment) == "needs 2, has 2"


def test_the_highest_bar_fills_the_chart_and_the_smallest_is_seen() -> None:
    days = [
        Bar(10**30, "1 May", "<most>"),
        Bar(5 * 10**29, "2 May", "half"),
        Bar(1, "3 May", "least"),
        Bar(0, "4 May", "-"),
    ]
    drawn = str(bars("By day", days, "a lot"))
    heights = [int(each) for each in re.findall(r'<rect class="bar"[^>]* height="(\d+)"', drawn)]
    assert heights == [HEIGHT, HEIGHT // 2, 2]
    assert "&lt;most&gt;" in drawn
    assert "<most>" not in drawn
    assert re.findall(r"<span>(.*?)</span>", drawn) == ["1 May", "2 May", "3 May", "4 May"]


def test_a_chart_of_nothing_is_drawn() -> None:
    assert "<rect" not in str(bars("By day", [], "0"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1, "1 second"),
        (2, "2 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (121, "3 minutes"),
        (901, "16 minutes"),
    ],
)
def test_how_long_to_wait_is_said_as_people_count_and_never_too_short(seconds: int, said: str) -> None:
    assert pause(seconds) == said
