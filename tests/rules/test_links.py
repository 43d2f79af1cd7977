"""Where a payment link stands: examples at every boundary, and properties over all that its invoices can be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.core.errors import Conflict, Invalid, Throttled
from kassa.core.ids import InvoiceId, LinkId, StoreId
from kassa.core.money import currency
from kassa.invoices.model import Status as InvoiceStatus
from kassa.links.model import MAKING, Alike, Ask, Attempt, Chosen, Fixed, Flag, Link, Status
from kassa.links.rules import (
    UNPAID_PER_ADDRESS,
    UNPAID_PER_HOUR,
    UNPAID_PER_PAYER,
    announced,
    asked,
    changes,
    check_room,
    continued,
    evaluate,
    read_ask,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EUR = currency("EUR")
FIXED = Fixed(5000)
NEW, PROCESSING, SETTLED, EXPIRED, INVALID = InvoiceStatus


def link(ask: Ask = FIXED, *, reusable: bool = False, **more: object) -> Link:
    return Link(LinkId("lnk"), StoreId("sto"), "Coffee", ask, EUR, reusable, NOW, **more)  # type: ignore[arg-type]


def one(
    status: InvoiceStatus, asked: int = 5000, paid: int = 0, settled: int = 0, *, late: bool = False, back: bool = False
) -> Alike:
    return Alike(status, late, back, asked, paid, settled)


PART = one(EXPIRED, paid=2000, settled=2000)

CASES = [
    # what it shows                          invoices                                          status, due, flags
    ("nothing was begun", [], "open", 5000, []),
    ("it was begun", [one(NEW)], "open", 5000, []),
    ("a part came", [one(NEW, paid=2000)], "open", 3000, []),
    ("a part came and time went by", [PART], "open", 3000, []),
    ("all came, not yet final", [one(PROCESSING, paid=5000)], "processing", 0, []),
    ("all is final", [one(SETTLED, paid=5000, settled=5000)], "completed", 0, []),
    ("the rest came by another invoice", [PART, one(SETTLED, 3000, 3000, 3000)], "completed", 0, []),
    ("the rest is on its way", [PART, one(PROCESSING, 3000, 3000)], "processing", 0, []),
    ("accepted although a little is short", [one(SETTLED, paid=4990, settled=4990)], "completed", 0, []),
    ("called settled by hand", [one(SETTLED)], "completed", 0, []),
    ("called invalid by hand", [one(INVALID, paid=5000, settled=5000)], "open", 5000, []),
    ("more came than was asked", [one(SETTLED, paid=6000, settled=6000)], "completed", 0, ["overpaid"]),
    ("it was paid twice", [one(SETTLED, paid=5000, settled=5000)] * 2, "completed", 0, ["overpaid"]),
    ("all came late, nobody decided", [one(EXPIRED, paid=5000, settled=5000, late=True)], "processing", 0, ["late"]),
    ("all came late and was accepted", [one(SETTLED, paid=5000, settled=5000, late=True)], "completed", 0, ["late"]),
    ("the rest came too late", [PART, one(EXPIRED, 3000, 3000, 3000, late=True)], "processing", 0, ["late"]),
    ("all was taken back", [one(EXPIRED, back=True)], "open", 5000, ["reversed"]),
    ("taken back, but in the pool again", [one(PROCESSING, paid=5000, back=True)], "processing", 0, ["reversed"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("invoices", "status", "due", "flags"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_a_link_paid_once_stands_where_its_invoices_put_it(
    invoices: list[Alike], status: str, due: int, flags: list[str]
) -> None:
    found = evaluate(link(), invoices, NOW)

    assert (found.status, found.due_units, list(found.flags)) == (status, due, flags)
    assert found.paid_units == sum(each.paid_units for each in invoices if each.status is not INVALID)


@pytest.mark.parametrize(
    ("invoice", "status"),
    [
        (one(NEW, paid=100), "open"),
        (one(EXPIRED, paid=100), "open"),
        (one(EXPIRED, paid=5000, late=True), "processing"),
        (one(PROCESSING, paid=5000), "processing"),
        (one(SETTLED, paid=5000, settled=5000), "completed"),
    ],
)
def test_where_the_payer_chooses_one_whole_payment_uses_the_link_up(invoice: Alike, status: str) -> None:
    found = evaluate(link(Chosen(100, None)), [invoice], NOW)

    assert (found.status, found.due_units) == (status, None)


@pytest.mark.parametrize(
    ("invoices", "over", "flags"),
    [
        ([one(SETTLED, 1000, 1000, 1000)], 0, []),
        ([one(SETTLED, 1000, 1200, 1200)], 200, ["overpaid"]),
        ([one(SETTLED, 1000, 1000, 1000), one(SETTLED, 2000, 2000, 2000)], 1000, ["overpaid"]),
        ([one(PROCESSING, 2000, 2000), one(EXPIRED, 1000, 400, 400)], 400, ["overpaid"]),
        ([Alike(SETTLED, False, False, 2000, 2000, 2000, count=2)], 1000, ["overpaid"]),
        ([one(SETTLED, 1000)], 0, []),  # called settled by hand
        ([one(EXPIRED, 1000, 400, 400)], 0, ["underpaid"]),
        ([one(EXPIRED, 1000)], 0, []),
    ],
)
def test_one_whole_payment_is_all_that_is_wanted_where_the_payer_chooses(
    invoices: list[Alike], over: int, flags: list[str]
) -> None:
    for order in (invoices, invoices[::-1]):
        found = evaluate(link(Chosen(100, None), closed_at=NOW), order, NOW)
        assert (found.over_units, list(found.flags)) == (over, flags)


def test_a_reusable_link_goes_on_whatever_was_paid() -> None:
    settled = Alike(SETTLED, False, False, 15000, 15000, 15000, count=3)

    found = evaluate(link(reusable=True), [settled, one(EXPIRED, paid=10, late=True)], NOW)

    assert (found.status, found.paid_units, found.settled_units) == (Status.OPEN, 15010, 15000)
    assert (found.invoices[SETTLED], found.flags, found.due_units) == (3, (), None)


@pytest.mark.parametrize(("seconds", "status"), [(-1, "open"), (0, "open"), (1, "expired")])
def test_a_link_ends_just_after_its_moment(seconds: int, status: str) -> None:
    assert evaluate(link(expires_at=NOW), [], NOW + timedelta(seconds=seconds)).status == status


def test_what_was_paid_outlives_the_end_and_the_closing() -> None:
    ended, later = link(expires_at=NOW, closed_at=NOW), NOW + timedelta(days=1)

    assert evaluate(ended, [one(SETTLED, paid=5000, settled=5000)], later).status is Status.COMPLETED
    short = evaluate(ended, [PART], later)
    assert (short.status, short.flags) == (Status.CLOSED, (Flag.UNDERPAID,))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([], [PART], "updated"),
        ([PART], [one(PROCESSING, paid=5000)], "processing"),
        ([one(PROCESSING, paid=5000)], [one(SETTLED, paid=5000, settled=5000)], "completed"),
        ([one(SETTLED, paid=5000, settled=5000)], [one(PROCESSING, paid=5000, back=True)], "reopened"),
        ([one(SETTLED, paid=5000, settled=5000)], [one(EXPIRED, back=True)], "reopened"),
        ([one(NEW)], [one(EXPIRED)], None),
    ],
)
def test_each_change_has_one_event(before: list[Alike], after: list[Alike], said: str | None) -> None:
    was, now = (announced(link(), evaluate(link(), each, NOW)) for each in (before, after))

    assert changes(was, now) == (() if said is None else (f"payment_link.{said}",))
    assert changes(None, was) == ("payment_link.created",)


amounts = st.integers(0, 6000)
invoices = st.builds(
    lambda status, late, back, asked, paid, part: Alike(
        status, late and status is not NEW, back, asked, paid, min(paid, part), 1
    ),
    st.sampled_from(InvoiceStatus), st.booleans(), st.booleans(), st.integers(1, 6000), amounts, amounts,
)  # fmt: skip


@given(st.lists(invoices, max_size=3))
def test_order_plays_no_part_and_nothing_is_asked_twice(given_: list[Alike]) -> None:
    found = evaluate(link(), given_, NOW)

    assert all(evaluate(link(), each, NOW) == found for each in permutations(given_))
    assert found.due_units is not None
    # What was paid is never asked for again, and nobody is asked for money on a link that takes none.
    assert found.due_units + min(5000, found.paid_units) <= 5000
    assert (found.status is Status.OPEN) == (found.due_units > 0)
    assert found.over_units == max(0, found.paid_units - 5000)


@given(st.lists(invoices, max_size=4))
def test_alike_invoices_count_as_if_each_were_named(given_: list[Alike]) -> None:
    together = {each: given_.count(each) for each in given_}
    counted = [
        replace(
            each,
            asked_units=n * each.asked_units,
            paid_units=n * each.paid_units,
            settled_units=n * each.settled_units,
            count=n,
        )
        for each, n in together.items()
    ]

    assert evaluate(link(), counted, NOW) == evaluate(link(), given_, NOW)


@pytest.mark.parametrize(
    ("amount", "least", "most", "read"),
    [("50", None, None, Fixed(5000)), (None, "1", None, Chosen(100, None)), (None, "1", "1", Chosen(100, 100))],
)
def test_what_is_asked_is_an_amount_or_bounds(
    amount: str | None, least: str | None, most: str | None, read: Ask
) -> None:
    assert read_ask(amount, least, most, EUR) == read


@pytest.mark.parametrize(
    ("amount", "least", "most"),
    [(None, None, None), ("0", None, None), ("5", "1", None), (None, None, "5"), (None, "2", "1"), (None, "0", None)],
)
def test_anything_else_is_refused(amount: str | None, least: str | None, most: str | None) -> None:
    with pytest.raises(Invalid):
        read_ask(amount, least, most, EUR)


@pytest.mark.parametrize(("text", "units"), [("1", 100), ("1.00", 100), ("1.5", 150), ("20", 2000)])
def test_a_payer_chooses_within_the_bounds(text: str, units: int) -> None:
    open_ = link(Chosen(100, 2000))

    assert asked(open_, evaluate(open_, [], NOW), text) == units


@pytest.mark.parametrize("text", ["", "0.99", "20.01", "-5", "1e3", "1.000", "1,000", "5 EUR", "٥", None])
def test_a_payer_cannot_choose_beyond_the_bounds(text: str | None) -> None:
    open_ = link(Chosen(100, 2000))

    with pytest.raises(Invalid):
        asked(open_, evaluate(open_, [], NOW), text)


def test_what_a_payer_sends_plays_no_part_where_the_amount_is_fixed() -> None:
    assert asked(link(), evaluate(link(), [PART], NOW), "0.01") == 3000


def test_nothing_is_asked_of_a_link_that_takes_no_money() -> None:
    with pytest.raises(Conflict, match="processing"):
        asked(link(), evaluate(link(), [one(PROCESSING, paid=5000)], NOW), None)


def attempt(n: int = 0, *, mine: bool = True, status: InvoiceStatus = NEW, paid: int = 0, left: int = 900) -> Attempt:
    return Attempt(mine, NOW, InvoiceId(f"inv_{n}"), status, 5000, paid, NOW + timedelta(seconds=left))


@pytest.mark.parametrize(
    ("begun", "reusable", "goes_on"),
    [
        (attempt(), True, True),
        (attempt(), False, True),
        (attempt(mine=False), True, False),
        (attempt(mine=False), False, True),
        (attempt(status=EXPIRED), False, False),
        (attempt(status=PROCESSING, paid=5000), True, False),
        (attempt(left=30), False, False),
        (attempt(left=30, paid=10), True, True),
        (attempt(left=0, paid=10), True, False),
    ],
)
def test_an_attempt_goes_on_with_its_open_invoice(begun: Attempt, reusable: bool, goes_on: bool) -> None:
    found = continued(link(reusable=reusable), [begun], 5000, NOW)

    assert (found is not None) == goes_on
    assert continued(link(reusable=reusable), [begun], 4999, NOW) is None


def test_what_an_open_invoice_still_lacks_is_paid_there() -> None:
    begun = attempt(paid=2000)

    assert continued(link(), [begun], 3000, NOW) == begun.invoice
    assert continued(link(), [begun], 5000, NOW) is None  # what came was taken back: another price


def test_no_second_amount_is_begun_while_somebody_is_paying_the_one_that_they_chose() -> None:
    once, begun = link(Chosen(100, None)), attempt(paid=10)

    assert continued(once, [begun], 700, NOW) == begun.invoice
    assert continued(once, [attempt()], 700, NOW) is None
    assert continued(link(Chosen(100, None), reusable=True), [begun], 700, NOW) is None


@pytest.mark.parametrize("reusable", [False, True])
def test_unpaid_attempts_are_bounded_and_paid_ones_are_not(reusable: bool) -> None:
    most = UNPAID_PER_HOUR[reusable]
    others = [attempt(n, mine=False) for n in range(most)]
    here = link(reusable=reusable)

    check_room(here, others[1:], NOW)
    check_room(here, [attempt(n, status=SETTLED, paid=5000) for n in range(500)], NOW)
    check_room(here, others, NOW + timedelta(hours=1))
    with pytest.raises(Throttled):
        check_room(here, others, NOW)
    with pytest.raises(Throttled):
        check_room(here, [attempt(n) for n in range(UNPAID_PER_PAYER)], NOW)


def test_what_is_yet_to_begin_holds_nobody_up() -> None:
    """A clock was ahead, and was set back."""
    for seconds, is_refused in ((0, True), (60, True), (61, False), (7_200, False)):
        begun = NOW + timedelta(seconds=seconds)
        making = [replace(attempt(), invoice=None, began_at=begun)]
        many = [replace(attempt(n), began_at=begun) for n in range(UNPAID_PER_PAYER)]
        assert [refuses(making), refuses(many)] == [is_refused] * 2


def refuses(attempts: list[Attempt]) -> bool:
    try:
        check_room(link(), attempts, NOW)
    except (Conflict, Throttled):
        return True
    return False


def test_one_address_cannot_use_up_a_link_and_what_died_does_not_count() -> None:
    stranger = [replace(attempt(n, mine=False), near=True) for n in range(UNPAID_PER_ADDRESS)]

    with pytest.raises(Throttled):
        check_room(link(reusable=True), stranger, NOW)
    check_room(link(reusable=True), [replace(each, near=False) for each in stranger], NOW)
    died = [replace(each, invoice=None, status=None) for each in [*stranger, *[attempt()] * 60]]
    check_room(link(reusable=True), died, NOW + MAKING)


def test_one_invoice_at_a_time_is_made_for_a_payer() -> None:
    making = [Attempt(True, NOW)]

    with pytest.raises(Conflict):
        check_room(link(reusable=True), making, NOW)
    check_room(link(reusable=True), [Attempt(False, NOW)], NOW)
    with pytest.raises(Conflict):
        check_room(link(), [Attempt(False, NOW)], NOW)
    check_room(link(), making, NOW + MAKING)
