"""Where an invoice stands: a named example at every boundary, and properties over random histories."""

from dataclasses import replace
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.core.money import Asset, format_units
from kassa.invoices.model import Announced, Decision, Flag, Rule, Standing, Status
from kassa.invoices.parts import step_of
from kassa.invoices.policy import Over, Policy
from kassa.invoices.rules import changes, evaluate, option_due, option_paid, option_to_send, payment_changes
from kassa.payments.model import Payment, Sight, Tier
from kassa.payments.model import Status as PaymentStatus
from kassa.payments.settling import tier_of
from tests.rules.build import BTC, LTC, at, option, payment, terms, view


def status(*payments: Payment, now: float = 20, **more: object) -> Status:
    return evaluate(terms(), payments, (), view(now, **more)).status  # type: ignore[arg-type]


def said(standing: Standing) -> Announced:
    return Announced(
        standing.status,
        standing.flags,
        standing.rules,
        standing.is_final,
        standing.paid_units,
        standing.settled_units,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("units", "expected"), [(99_999, Status.NEW), (100_000, Status.PROCESSING), (100_001, Status.PROCESSING)]
)
def test_exactly_what_is_due_is_everything(units: int, expected: Status) -> None:
    assert status(payment(units)) is expected


@pytest.mark.parametrize(
    ("units", "expected"), [(98_999, Status.NEW), (99_000, Status.PROCESSING), (99_001, Status.PROCESSING)]
)
def test_the_tolerance_itself_is_tolerated(units: int, expected: Status) -> None:
    agreed = terms(tolerance=Fraction(1, 100))
    standing = evaluate(agreed, [payment(units)], (), view())
    assert standing.status is expected
    assert (option_due(agreed.options[0], standing) == 0) is (expected is Status.PROCESSING)
    assert (standing.due_units == 0) is (expected is Status.PROCESSING)


@pytest.mark.parametrize(("now", "expected"), [(899, Status.NEW), (900, Status.NEW), (900.001, Status.EXPIRED)])
def test_an_invoice_expires_after_its_last_moment(now: float, expected: Status) -> None:
    assert status(now=now) is expected


def test_an_invoice_does_not_expire_before_its_network_was_seen_past_the_deadline() -> None:
    assert status(now=5_000, observed=900) is Status.NEW
    assert status(now=5_000, observed=900.001) is Status.EXPIRED


@pytest.mark.parametrize(("seen", "expected"), [(899.999, False), (900, False), (900.001, True)])
def test_late_is_first_seen_after_expiry(seen: float, expected: bool) -> None:
    standing = evaluate(terms(), [payment(seen=seen)], (), view(2_000))
    assert (Flag.LATE in standing.flags) is expected
    assert standing.status is (Status.EXPIRED if expected else Status.PROCESSING)


@pytest.mark.parametrize("delay", [0, 1, 59, 600, 1800])
@pytest.mark.parametrize("offset", [-2, -1, -0.001, 0, 0.001, 1, 2])
def test_c9_first_sight_decides_whatever_the_watchers_delay_and_nothing_flips_afterwards(
    offset: float, delay: int
) -> None:
    """A watcher tells everything so many seconds late; the model: paid if first seen up to the deadline, else late."""
    seen, told = 900 + offset, []
    for tenths in range(8_970, 8_970 + 10 * (delay + 40), 1 if delay < 60 else 7):
        now = tenths / 10
        observed = now - delay
        known = [payment(seen=seen, block=100)] if observed >= seen else []
        standing = evaluate(terms(), known, (), view(now, observed=observed))
        told.append((standing.status, Flag.LATE in standing.flags))
    in_time = offset <= 0
    turns = [each for place, each in enumerate(told) if place == 0 or each != told[place - 1]]
    decided = [(Status.SETTLED, False)] if in_time else [(Status.EXPIRED, False), (Status.EXPIRED, True)]
    assert turns[0] == (Status.NEW, False)
    assert turns[1:] in (decided, decided[-1:]), turns


def test_a_payment_in_time_settles_however_late_it_is_mined() -> None:
    assert status(payment(seen=899, block=100), now=90_000) is Status.SETTLED


@pytest.mark.parametrize(
    ("height", "expected"),
    [(99, PaymentStatus.DETECTED), (100, PaymentStatus.CONFIRMING), (102, PaymentStatus.SETTLED)],
)
def test_depth_is_counted_from_the_payments_own_block(height: int, expected: PaymentStatus) -> None:
    agreed = terms(option(tiers=(Tier(None, 3),)))
    standing = evaluate(agreed, [payment(block=100)], (), view(height=height))
    assert standing.payments[0].status is expected


@pytest.mark.parametrize(("units", "blocks"), [(99, 0), (100, 0), (101, 1), (1_000, 1), (1_001, 6)])
def test_a_bound_belongs_to_its_own_tier(units: int, blocks: int) -> None:
    assert tier_of((Tier(100, 0), Tier(1_000, 1), Tier(None, 6)), units).blocks == blocks


def test_without_an_open_tier_the_strictest_holds() -> None:
    assert tier_of((Tier(100, 0), Tier(1_000, 3)), 1_001) == Tier(None, 3)
    assert tier_of((Tier(100, 0, True), Tier(1_000, 3)), 1_001) == Tier(None, 3, True)


def test_small_payments_do_not_lower_the_threshold_of_a_large_invoice() -> None:
    agreed = terms(option(due=100_000, tiers=(Tier(50_000, 1), Tier(None, 6))))
    standing = evaluate(agreed, [payment(50_000, block=100), payment(50_000, number=2, block=100)], (), view())
    assert [p.confirmations_required for p in standing.payments] == [6, 6]


def test_zero_confirmations_settle_at_once_only_what_cannot_be_replaced() -> None:
    agreed = terms(option(tiers=(Tier(100_000, 0), Tier(None, 1))))
    assert evaluate(agreed, [payment()], (), view()).status is Status.SETTLED
    assert evaluate(agreed, [payment(replaceable=True)], (), view()).status is Status.PROCESSING
    assert evaluate(agreed, [payment(100_001)], (), view()).status is Status.PROCESSING


BY_FINALITY = (Tier(100_000, 2), Tier(None, 1, final=True))


@pytest.mark.parametrize(
    ("final", "expected"),
    [(None, PaymentStatus.CONFIRMING), (99, PaymentStatus.CONFIRMING), (100, PaymentStatus.SETTLED)],
)
def test_a38_above_every_bound_only_a_final_block_settles(final: int | None, expected: PaymentStatus) -> None:
    agreed = terms(option(due=100_001, tiers=BY_FINALITY))
    standing = evaluate(agreed, [payment(100_001, block=100)], (), view(height=150, final=final))
    assert standing.payments[0].status is expected
    assert standing.payments[0].needs_final


def test_below_a_bound_depth_settles_whatever_is_final() -> None:
    agreed = terms(option(due=100_000, tiers=BY_FINALITY))
    assert evaluate(agreed, [payment(block=100)], (), view(height=101)).status is Status.SETTLED


def test_a_final_block_still_needs_the_depth_of_its_tier() -> None:
    agreed = terms(option(tiers=(Tier(None, 3, final=True),)))
    assert evaluate(agreed, [payment(block=100)], (), view(height=101, final=101)).status is Status.PROCESSING
    assert evaluate(agreed, [payment(block=100)], (), view(height=102, final=101)).status is Status.SETTLED


def test_b16_in_a_frozen_asset_nothing_settles_and_what_had_settled_stays() -> None:
    frozen = view(height=150, frozen={(BTC.id, None)})
    assert evaluate(terms(), [payment(block=100)], (), frozen).status is Status.PROCESSING
    assert evaluate(terms(), [payment(block=100, settled=12)], (), frozen).status is Status.SETTLED
    assert (
        evaluate(terms(), [payment(block=100)], (), view(height=150, frozen={(LTC.id, None)})).status is Status.SETTLED
    )
    # What is doubted in one store's books holds up no other's money.
    mine, other = (view(height=150, frozen={(BTC.id, store)}) for store in (payment().store_id, "sto_other"))
    assert evaluate(terms(), [payment(block=100)], (), mine).status is Status.PROCESSING
    assert evaluate(terms(), [payment(block=100)], (), other).status is Status.SETTLED


def test_b14_money_in_an_asset_that_was_not_offered_is_kept_and_counts_for_nothing() -> None:
    standing = evaluate(terms(), [payment(10**9, asset=LTC, block=100)], (), view())
    (kept,) = standing.payments
    assert (standing.status, standing.paid_units, standing.flags) == (Status.NEW, 0, ())
    assert (kept.status, kept.value_units, kept.rate) == (PaymentStatus.SETTLED, 0, None)


def test_money_that_was_not_offered_settles_by_the_strictest_of_what_was() -> None:
    agreed = terms(option(tiers=(Tier(100, 1), Tier(None, 6, final=True))))
    (kept,) = evaluate(agreed, [payment(1, asset=LTC, block=100)], (), view(height=104)).payments
    assert (kept.status, kept.confirmations_required, kept.needs_final) == (PaymentStatus.CONFIRMING, 6, True)


def test_a_network_that_is_not_offered_holds_no_deadline() -> None:
    seen = view(1_000)
    silent = replace(seen, sights=seen.sights | {LTC.network: Sight(0, at(0), 60)})
    assert evaluate(terms(), (), (), silent).status is Status.EXPIRED


def test_zero_confirmations_end_when_the_transaction_is_missing() -> None:
    agreed = terms(option(tiers=(Tier(None, 0),)))
    standing = evaluate(agreed, [payment(missing=19, settled=11)], (), view())
    assert standing.status is Status.PROCESSING
    assert standing.flags == (Flag.REVERSED,)


@pytest.mark.parametrize(("height", "expected"), [(199, PaymentStatus.CONFIRMING), (200, PaymentStatus.SETTLED)])
def test_coinbase_money_settles_only_when_it_can_be_spent(height: int, expected: PaymentStatus) -> None:
    standing = evaluate(terms(), [payment(block=100, maturity=101)], (), view(height=height))
    assert standing.payments[0].status is expected


@pytest.mark.parametrize(("observed", "expected"), [(79.9, PaymentStatus.DETECTED), (80, PaymentStatus.DROPPED)])
def test_a_missing_payment_is_dropped_only_after_looks_for_the_whole_time(
    observed: float, expected: PaymentStatus
) -> None:
    standing = evaluate(terms(), [payment(missing=20)], (), view(500, observed=observed))
    assert standing.payments[0].status is expected


def test_a_replaced_payment_counts_for_nothing_and_stays_listed() -> None:
    standing = evaluate(terms(), [payment(conflict="other")], (), view())
    assert (standing.status, standing.paid_units) == (Status.NEW, 0)
    assert [p.status for p in standing.payments] == [PaymentStatus.REPLACED]


def test_a_settled_payment_that_is_overtaken_is_reversed() -> None:
    standing = evaluate(terms(), [payment(conflict="other", settled=15)], (), view())
    assert standing.payments[0].status is PaymentStatus.REVERSED
    assert (standing.status, standing.flags) == (Status.NEW, (Flag.REVERSED,))


def test_an_undone_settled_payment_waits_as_detected() -> None:
    standing = evaluate(terms(), [payment(settled=15)], (), view())
    assert standing.payments[0].status is PaymentStatus.DETECTED
    assert (standing.status, standing.flags) == (Status.PROCESSING, (Flag.REVERSED,))


def test_a_reversal_that_healed_is_no_longer_flagged() -> None:
    standing = evaluate(terms(), [payment(settled=15, block=100)], (), view())
    assert (standing.status, standing.flags) == (Status.SETTLED, ())


def test_two_assets_settle_one_invoice_by_shares() -> None:
    agreed = terms(option(BTC, 100_000), option(LTC, 3_000_000))
    half = [payment(50_000, block=100), payment(1_500_000, number=2, asset=LTC, block=100)]
    assert evaluate(agreed, half, (), view()).status is Status.SETTLED
    assert evaluate(agreed, half[:1], (), view()).due_units == 2_500


def test_what_is_missing_is_rounded_up_in_each_asset() -> None:
    agreed = terms(option(due=100_000), option(LTC, 33))
    standing = evaluate(agreed, [payment(50_001)], (), view())
    assert [option_due(o, standing) for o in agreed.options] == [49_999, 17]
    assert [option_paid(o, [payment(50_001)], (), standing) for o in agreed.options] == [50_001, 0]


@pytest.mark.parametrize(("due", "sent"), [(0, 0), (1, 546), (545, 546), (546, 546), (547, 547)])
def test_no_less_is_asked_for_than_the_network_carries(due: int, sent: int) -> None:
    assert option_to_send(due, 546) == sent


@given(st.integers(1, 200_000), st.integers(0, 300), st.sampled_from([1, 546, 5_460]))
def test_whoever_sends_what_is_asked_for_is_asked_for_nothing_more(came: int, tolerated: int, least: int) -> None:
    agreed = terms(tolerance=Fraction(tolerated, 100_000))
    standing = evaluate(agreed, [payment(came)], (), view())
    due = option_due(agreed.options[0], standing)
    asked = option_to_send(due, least)
    # A rest that the tolerance covers is not due, however small a payment the network carries.
    assert (asked == 0) is (came >= 100_000 - tolerated)
    if asked:
        assert asked >= max(due, least)
        assert asked in (due, least)
        after = evaluate(agreed, [payment(came), payment(asked, number=2)], (), view())
        assert (after.status, after.due_units) == (Status.PROCESSING, 0)


def test_a_missing_satoshi_is_never_rounded_away() -> None:
    standing = evaluate(terms(), [payment(99_999)], (), view())
    assert (standing.paid_units, standing.due_units) == (4_999, 1)


def test_three_times_the_price_shows_its_surplus() -> None:
    many = [payment(number=n, block=100) for n in (1, 2, 3)]
    standing = evaluate(terms(), many, (), view())
    assert (standing.due_units, standing.over_units, standing.flags) == (0, 10_000, (Flag.OVERPAID,))


def test_a_short_payment_after_the_end_is_flagged() -> None:
    assert evaluate(terms(), [payment(10)], (), view(1_000)).flags == (Flag.UNDERPAID,)


def test_a_late_payment_is_valued_at_its_own_rate() -> None:
    # Half the locked rate: the same coins are worth half the price.
    standing = evaluate(terms(), [payment(seen=901, late_rate=Fraction(25_000))], (), view(1_000))
    assert (standing.paid_units, standing.status) == (2_500, Status.EXPIRED)


def test_the_last_decision_counts() -> None:
    standing = evaluate(terms(), (), (Decision.INVALID, Decision.SETTLED), view())
    assert (standing.status, standing.flags) == (Status.SETTLED, (Flag.MARKED,))
    assert evaluate(terms(), [payment(block=1)], (Decision.INVALID,), view()).status is Status.INVALID


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Status.NEW, Status.PROCESSING, "invoice.processing"),
        (Status.NEW, Status.SETTLED, "invoice.settled"),
        (Status.NEW, Status.EXPIRED, "invoice.expired"),
        (Status.PROCESSING, Status.SETTLED, "invoice.settled"),
        (Status.PROCESSING, Status.NEW, "invoice.reopened"),
        (Status.PROCESSING, Status.EXPIRED, "invoice.reopened"),
        (Status.SETTLED, Status.PROCESSING, "invoice.reopened"),
        (Status.SETTLED, Status.NEW, "invoice.reopened"),
        (Status.SETTLED, Status.EXPIRED, "invoice.reopened"),
        (Status.SETTLED, Status.INVALID, "invoice.invalid"),
        (Status.INVALID, Status.SETTLED, "invoice.settled"),
        (Status.EXPIRED, Status.SETTLED, "invoice.settled"),
    ],
)
def test_each_change_of_status_has_one_event(before: Status, after: Status, expected: str) -> None:
    standing = evaluate(terms(), (), (), view())
    announced = Announced(before, (), (), False, 0, 0, None, None)
    changed = Standing(after, (), (), False, 0, 0, 0, 0, standing.paid_share, standing.settled_share, (), (), (), None)
    assert changes(announced, changed) == (expected,)


def test_what_changes_without_the_status_is_an_update_and_a_new_invoice_was_created() -> None:
    half = evaluate(terms(), [payment(40_000)], (), view())
    assert changes(None, half) == ("invoice.created",)
    assert changes(said(evaluate(terms(), (), (), view())), half) == ("invoice.updated",)
    assert changes(said(half), half) == ()


def test_a_payment_says_only_what_is_new() -> None:
    known = payment(status=PaymentStatus.DETECTED)
    (waiting,) = evaluate(terms(), [known], (), view()).payments
    (mined,) = evaluate(terms(), [payment(block=100)], (), view(height=100)).payments
    assert payment_changes(known, waiting) == ()
    assert payment_changes(known, mined) == ("payment.settled",)


def test_a_person_who_decides_before_the_end_sees_what_was_missing() -> None:
    half = [payment(40_000, block=100)]
    assert evaluate(terms(), half, (), view()).flags == ()
    assert evaluate(terms(), half, (Decision.SETTLED,), view()).flags == (Flag.UNDERPAID, Flag.MARKED)


def test_what_is_on_its_way_keeps_a_standing_from_being_final() -> None:
    assert evaluate(terms(), [payment(block=100)], (), view()).is_final
    assert not evaluate(terms(), [payment(block=100), payment(1, number=2)], (), view()).is_final


histories = st.lists(
    st.builds(
        payment,
        st.integers(1, 150_000),
        number=st.integers(1, 10**6),
        seen=st.integers(0, 1_200),
        block=st.none() | st.integers(95, 103),
        missing=st.none() | st.integers(0, 1_000),
        conflict=st.none() | st.just("other"),
        settled=st.none() | st.integers(0, 1_000),
        replaceable=st.booleans(),
        maturity=st.sampled_from([0, 101]),
        late_rate=st.none() | st.fractions(min_value=1, max_value=10**6),
    ),
    max_size=5,
    unique_by=lambda p: p.id,
)
decided = st.lists(st.sampled_from(list(Decision)), max_size=2)
views = st.builds(view, st.integers(0, 2_000), height=st.integers(95, 110), observed=st.integers(0, 2_000))


@given(histories, decided, views)
def test_a_standing_is_free_of_the_order_of_payments(history: list[Payment], decisions: list[Decision], seen) -> None:  # type: ignore[no-untyped-def]
    afresh = {evaluate(terms(), order, decisions, seen) for order in permutations(history[:4])}
    assert len(afresh) == 1


@given(histories, decided, views)
def test_announcing_a_standing_leaves_nothing_to_announce(history, decisions, seen) -> None:  # type: ignore[no-untyped-def]
    standing = evaluate(terms(), history, decisions, seen)
    assert changes(said(standing), standing) == ()
    assert {p.id for p in history} == {s.id for s in standing.payments}
    for s in standing.payments:
        assert payment_changes(payment(status=s.status), s) == ()


@given(histories, decided, views)
def test_a_standing_keeps_its_sums(history, decisions, seen) -> None:  # type: ignore[no-untyped-def]
    agreed = terms()
    standing = evaluate(agreed, history, decisions, seen)
    assert 0 <= standing.settled_share <= standing.paid_share
    assert standing.due_units >= 0
    assert standing.over_units >= 0
    assert (standing.due_units > 0) == (standing.paid_share < 1)
    assert (Flag.MARKED in standing.flags) == bool(decisions)
    assert all(s.status.alive or s.confirmations == 0 for s in standing.payments)


@given(histories, views)
def test_a_deadline_lies_ahead_of_what_was_seen(history, seen) -> None:  # type: ignore[no-untyped-def]
    standing = evaluate(terms(), history, (), seen)
    assert standing.deadline is None or standing.deadline >= seen.judged_at([BTC.network])


def test_the_first_deadline_is_the_expiry() -> None:
    assert evaluate(terms(), (), (), view()).deadline == at(900)
    assert evaluate(terms(), (), (), view(901)).deadline is None
    assert evaluate(terms(), [payment(missing=100)], (), view(120)).deadline == at(160)


def test_a_payment_is_worth_its_share_of_the_price_by_the_rate_that_holds_for_it() -> None:
    (locked,) = evaluate(terms(), [payment(40_000)], (), view()).payments
    assert (locked.value_units, locked.rate) == (2_000, 50_000)
    (late,) = evaluate(terms(), [payment(40_000, seen=901, late_rate=Fraction(25_000))], (), view(1_000)).payments
    assert (late.value_units, late.rate) == (1_000, 25_000)
    (other,) = evaluate(terms(), [payment(40_000, asset=LTC)], (), view()).payments
    assert (other.value_units, other.rate) == (0, None)


def test_what_is_paid_within_the_tolerance_shows_no_less_than_it_is() -> None:
    standing = evaluate(terms(amount=1_000, tolerance=Fraction(1, 100)), [payment(99_000)], (), view())
    assert (standing.paid_units, standing.status) == (990, Status.PROCESSING)


def test_what_is_paid_exactly_shows_exactly_and_a_late_surplus_decides_nothing() -> None:
    standing = evaluate(terms(), [payment(), payment(1_000, number=2, seen=901)], (), view(1_000))
    assert Rule.LATE_FLAG not in standing.rules
    assert evaluate(terms(), [payment()], (), view()).paid_units == 5_000


ETHER = Asset("ETH", BTC.network, 18)


@given(st.integers(1, 10**9), st.integers(10**10, 10**24), st.lists(st.integers(1, 10**24), max_size=3))
def test_whoever_types_eight_decimals_pays_the_price_and_not_more(amount: int, due: int, parts: list[int]) -> None:
    agreed = terms(option(ETHER, due), amount=amount, policy=Policy(over=Over.CREDIT))
    came = [payment(units, number=number, asset=ETHER, block=90) for number, units in enumerate(parts)]
    rest = option_due(agreed.options[0], evaluate(agreed, came, (), view()))
    step = step_of(agreed.options[0], agreed)
    asked = option_to_send(rest, 1, step)
    # No more is asked for than half a smallest unit of the price is worth, and as few decimals as that allows.
    assert (asked % step, 0 <= asked - rest < step) == (0, True)
    assert step in (1, 10**10)
    if asked:
        after = evaluate(agreed, [*came, payment(asked, number=9, asset=ETHER, block=90)], (), view())
        assert (after.status, after.flags, after.rules) == (Status.SETTLED, (), ())
        assert (after.paid_units, after.due_units, after.over_units) == (amount, 0, 0)
        assert sum(split.price for split in after.splits) == sum(parts) + asked


def test_a_step_more_than_was_asked_for_is_excess_once() -> None:
    agreed = terms(option(ETHER, 16_633_333_333_333_334), amount=4_990)
    asked = option_to_send(16_633_333_333_333_334, 1, step_of(agreed.options[0], agreed))
    assert format_units(asked, 18) == "0.016633340000000000"
    crumbs = [payment(10**9, number=number, asset=ETHER, block=90) for number in range(1, 20)]
    after = evaluate(agreed, [payment(16_633_333_333_333_334, number=0, asset=ETHER, block=90), *crumbs], (), view())
    assert sum(split.price for split in after.splits) == 16_633_333_333_333_334 + 9 * 10**9
    assert sum(split.excess for split in after.splits) == 10 * 10**9


@pytest.mark.parametrize(("due", "step"), [(10**10 * 2 * 4_990, 1), (10**10 * 2 * 4_990 + 1, 10**10)])
def test_nothing_is_rounded_that_is_worth_half_a_cent(due: int, step: int) -> None:
    agreed = terms(option(ETHER, due), amount=4_990)
    assert step_of(agreed.options[0], agreed) == step
