"""Policies: an example at each boundary (C9, C14, C16), and properties over random histories."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.core.errors import Invalid
from kassa.core.ids import CustomerId, InvoiceId, PaymentId, SpendId, StoreId
from kassa.core.money import Asset, currency
from kassa.customers.model import Spend
from kassa.invoices.model import Decision, Flag, Rule, Split, Standing, Status, View
from kassa.invoices.parts import parts_of
from kassa.invoices.policy import Over, Policy, Short, agreed, changed, percent, policy_resource, read_percent
from kassa.invoices.rules import evaluate, fresh, option_due, option_paid
from kassa.payments.model import Payment, Sight, Tier
from kassa.payments.model import Status as PaymentStatus
from tests.rules.build import BTC, LTC, at, option, payment, terms, view

EUR = currency("EUR")


def spend(units: int, made: float = 10, number: int = 1) -> Spend:
    return Spend(
        SpendId(f"spd_{number}"), StoreId("sto_1"), CustomerId("cus_1"), InvoiceId("inv_1"), BTC.id, units, None,
        at(made), "key_1",
    )  # fmt: skip


def stands(policy: Policy, *payments: Payment, now: float = 1_000, spends: Sequence[Spend] = ()) -> Standing:
    return evaluate(terms(policy=policy), payments, (), view(now), spends)


def told(standing: Standing) -> tuple[Status, tuple[Rule, ...]]:
    return standing.status, standing.rules


# ---------------------------------------------------------------- what may be missing


@pytest.mark.parametrize(
    ("policy", "price", "expected"),
    [
        (Policy(), 5_000, Fraction(0)),
        (Policy(tolerance_ppm=10_000), 5_000, Fraction(1, 100)),
        (Policy(tolerance_ppm=10_000, tolerance_units=49), 5_000, Fraction(1, 100)),
        (Policy(tolerance_ppm=10_000, tolerance_units=50), 5_000, Fraction(1, 100)),
        (Policy(tolerance_ppm=10_000, tolerance_units=51), 5_000, Fraction(51, 5_000)),
        (Policy(tolerance_units=4_999), 5_000, Fraction(4_999, 5_000)),
        (Policy(tolerance_units=5_000), 5_000, Fraction(4_999, 5_000)),
        (Policy(tolerance_units=10**9), 1, Fraction(0)),
    ],
)
def test_the_larger_tolerance_holds_and_never_the_whole_price(policy: Policy, price: int, expected: Fraction) -> None:
    assert policy.tolerance(price) == expected


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (97_999, (Status.NEW, ())),
        (98_000, (Status.SETTLED, (Rule.TOLERANCE,))),
        (99_999, (Status.SETTLED, (Rule.TOLERANCE,))),
        (100_000, (Status.SETTLED, ())),
    ],
)
def test_c14_an_amount_that_may_be_missing_is_tolerated_to_its_last_unit(
    units: int, expected: tuple[Status, tuple[Rule, ...]]
) -> None:
    policy = Policy(tolerance_units=100)  # of 50.00
    assert told(stands(policy, payment(units, block=100), now=20)) == expected
    halves = [payment(units // 2, block=100), payment(units - units // 2, number=2, block=100)]
    assert told(stands(policy, *halves, now=20)) == expected


def test_what_is_missing_within_the_tolerance_is_said_in_units_of_the_last_part() -> None:
    halves = [payment(40_000, block=100), payment(59_000, number=2, seen=11, block=100)]
    standing = stands(Policy(tolerance_ppm=10_000), *halves, now=20)
    assert [(split.price, split.short) for split in standing.splits] == [(40_000, 0), (59_000, 1_000)]
    assert [split.short for split in stands(Policy(), *halves, now=20).splits] == [0, 0]


# ---------------------------------------------------------------- short when the time is over


def test_a_short_payment_is_flagged_once_the_time_is_over() -> None:
    assert told(stands(Policy(), payment(50_000), now=900)) == (Status.NEW, ())
    assert told(stands(Policy(), payment(50_000))) == (Status.EXPIRED, (Rule.SHORT_FLAG,))


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (94_999, (Status.EXPIRED, (Rule.SHORT_FLAG,))),
        (95_000, (Status.SETTLED, (Rule.SHORT_ACCEPT,))),
        (99_999, (Status.SETTLED, (Rule.SHORT_ACCEPT,))),
        (100_000, (Status.SETTLED, ())),
    ],
)
def test_a_short_payment_is_accepted_down_to_the_limit(units: int, expected: tuple[Status, tuple[Rule, ...]]) -> None:
    policy = Policy(short=Short.ACCEPT, short_limit_ppm=50_000)
    assert told(stands(policy, payment(units, block=100))) == expected


def test_a_short_payment_is_accepted_only_when_the_time_is_over_and_nothing_more_is_asked_for() -> None:
    policy = Policy(short=Short.ACCEPT, short_limit_ppm=50_000)
    before = stands(policy, payment(95_000, block=100), now=900)
    assert (before.status, before.due_units) == (Status.NEW, 250)
    after = stands(policy, payment(95_000, block=100), now=900.001)
    assert (after.status, after.due_units, option_due(option(), after)) == (Status.SETTLED, 0, 0)
    assert (after.flags, after.splits[0].short) == ((Flag.UNDERPAID,), 5_000)
    assert stands(policy, payment(95_000)).status is Status.PROCESSING


def test_a_short_payment_is_credited_whole_once_the_time_is_over() -> None:
    policy = Policy(short=Short.CREDIT)
    assert [split.credit for split in stands(policy, payment(40_000, block=100), now=900).splits] == [0]
    standing = stands(policy, payment(40_000, block=100), payment(10_000, number=2, seen=950, block=100))
    assert told(standing) == (Status.EXPIRED, (Rule.SHORT_CREDIT, Rule.LATE_FLAG))
    assert [(split.price, split.credit) for split in standing.splits] == [(0, 40_000), (0, 10_000)]


def test_nothing_is_short_while_a_payment_can_still_be_accepted() -> None:
    policy = Policy(short=Short.CREDIT, late_grace_seconds=100)
    waiting = stands(policy, payment(40_000, block=100))
    assert (waiting.status, waiting.rules, waiting.is_final, waiting.deadline) == (Status.EXPIRED, (), False, at(1_000))
    over = stands(policy, payment(40_000, block=100), now=1_000.001)
    assert (over.rules, over.is_final, over.deadline) == ((Rule.SHORT_CREDIT,), True, None)


def test_nothing_short_is_accepted_while_a_payment_can_still_be_accepted() -> None:
    policy = Policy(short=Short.ACCEPT, short_limit_ppm=50_000, late_grace_seconds=100)
    assert stands(policy, payment(95_000, block=100)).status is Status.EXPIRED
    assert stands(policy, payment(95_000, block=100), now=1_000.001).status is Status.SETTLED


def test_a_persons_word_takes_back_what_was_credited() -> None:
    agreed_terms = terms(policy=Policy(short=Short.CREDIT))
    standing = evaluate(agreed_terms, [payment(40_000, block=100)], [Decision.SETTLED], view(1_000))
    assert standing.rules == (Rule.MARKED,)
    assert [(split.price, split.credit, split.short) for split in standing.splits] == [(40_000, 0, 0)]


def test_what_was_given_back_stays_so_when_the_invoice_is_called_invalid() -> None:
    agreed_terms = terms(policy=Policy(short=Short.CREDIT))
    standing = evaluate(agreed_terms, [payment(40_000, block=100)], [Decision.INVALID], view(1_000))
    assert told(standing) == (Status.INVALID, (Rule.MARKED, Rule.SHORT_CREDIT))
    assert [(split.price, split.credit) for split in standing.splits] == [(0, 40_000)]


def test_what_was_paid_in_full_is_not_given_back_when_the_invoice_is_called_invalid() -> None:
    agreed_terms = terms(policy=Policy(short=Short.CREDIT))
    standing = evaluate(agreed_terms, [payment(block=100)], [Decision.INVALID], view(1_000))
    assert (standing.rules, [split.credit for split in standing.splits]) == ((Rule.MARKED,), [0])


CREDITING = Policy(short=Short.CREDIT)
GIVEN = payment(40_000, block=100)
BACK = payment(60_000, number=2, seen=5, block=100)  # came first, was lost, and is there again


def test_what_was_given_back_completes_no_price_when_a_lost_payment_comes_back() -> None:
    before = stands(CREDITING, GIVEN)
    assert before.given_back == (GIVEN.id,)
    after = evaluate(terms(policy=CREDITING), [GIVEN, BACK], (), view(1_000), (), before.given_back)
    assert told(after) == (Status.EXPIRED, (Rule.SHORT_CREDIT,))
    assert {split.id: split.credit for split in after.splits} == {GIVEN.id: 40_000, BACK.id: 60_000}
    assert (after.flags, after.given_back) == ((Flag.LATE,), (GIVEN.id, BACK.id))
    assert stands(CREDITING, GIVEN, BACK).status is Status.SETTLED


def test_what_was_given_back_needs_no_more_blocks_when_a_lost_payment_comes_back() -> None:
    priced = terms(option(tiers=(Tier(100_000, 1), Tier(None, 6))), policy=CREDITING)
    both = [payment(60_000, block=102), payment(60_000, number=2, seen=5, block=102)]
    standing = evaluate(priced, both, (), view(1_000, height=102), (), (both[0].id,))
    assert {s.id: s.confirmations_required for s in standing.payments} == {both[0].id: 1, both[1].id: 6}


def test_beside_what_was_given_back_a_whole_payment_still_settles() -> None:
    whole = payment(100_000, number=2, seen=5, block=100)
    standing = evaluate(terms(policy=CREDITING), [GIVEN, whole], (), view(1_000), (), (GIVEN.id,))
    assert told(standing) == (Status.SETTLED, (Rule.SHORT_CREDIT,))
    assert {split.id: (split.price, split.credit) for split in standing.splits} == {
        GIVEN.id: (0, 40_000),
        whole.id: (100_000, 0),
    }


def test_only_who_marks_it_settled_takes_back_what_was_given() -> None:
    for decision, credit in ((Decision.SETTLED, 0), (Decision.INVALID, 40_000)):
        marked = evaluate(terms(policy=CREDITING), [GIVEN], [decision], view(1_000), (), (GIVEN.id,))
        assert ([split.credit for split in marked.splits], marked.given_back) == ([credit], (GIVEN.id,))


def test_what_is_not_settled_is_promised_and_not_yet_given() -> None:
    standing = stands(CREDITING, payment(40_000))
    assert (standing.given_back, standing.rules) == ((), (Rule.SHORT_CREDIT,))
    assert standing.splits == (Split(PaymentId("pay_1"), 0, 0, 40_000),)


def test_what_was_given_back_is_no_part_of_what_is_accepted_as_missing() -> None:
    policy = Policy(tolerance_ppm=20_000, short=Short.CREDIT)
    rest = payment(98_000, number=2, seen=5, block=100)
    standing = evaluate(terms(policy=policy), [GIVEN, rest], (), view(1_000), (), (GIVEN.id,))
    assert {split.id: (split.price, split.short) for split in standing.splits} == {
        GIVEN.id: (0, 0),
        rest.id: (98_000, 2_000),
    }


def test_a_spend_that_was_given_back_stays_so() -> None:
    spent_on = spend(40_000)
    before = stands(CREDITING, spends=[spent_on])
    after = evaluate(terms(policy=CREDITING), [BACK], (), view(1_000), [spent_on], before.given_back)
    assert {split.id: split.credit for split in after.splits} == {spent_on.id: 40_000, BACK.id: 60_000}


def test_an_invoice_called_invalid_in_time_is_final_when_nothing_can_be_given_back_any_more() -> None:
    agreed_terms = terms(policy=CREDITING)
    for now, expected in ((900, False), (900.001, True)):
        assert evaluate(agreed_terms, (), [Decision.INVALID], view(now)).is_final is expected
    assert evaluate(terms(), (), [Decision.INVALID], view(20)).is_final


# ---------------------------------------------------------------- over


@pytest.mark.parametrize(
    ("over", "rule", "expected"), [(Over.FLAG, Rule.OVER_FLAG, (1, 0)), (Over.CREDIT, Rule.OVER_CREDIT, (0, 1))]
)
def test_c16_one_unit_over_is_excess(over: Over, rule: Rule, expected: tuple[int, int]) -> None:
    standing = stands(Policy(over=over), payment(100_001, block=100), now=20)
    (split,) = standing.splits
    assert (split.price, split.excess, split.credit) == (100_000, *expected)
    assert standing.rules == (rule,)
    assert stands(Policy(over=over), payment(100_000, block=100), now=20).rules == ()


def test_c16_whoever_pays_three_times_gets_exactly_two_back() -> None:
    many = [payment(seen=n, number=n, block=100) for n in (1, 2, 3)]
    standing = stands(Policy(over=Over.CREDIT), *many, now=20)
    assert [(split.price, split.credit) for split in standing.splits] == [(100_000, 0), (0, 100_000), (0, 100_000)]


def test_nothing_is_excess_that_stands_in_for_what_is_not_settled() -> None:
    first, second = payment(seen=1), payment(seen=2, number=2, block=100)
    standing = stands(Policy(over=Over.CREDIT), first, second, now=20)
    assert {split.id: split.price for split in standing.splits} == {second.id: 100_000, first.id: 0}


def test_an_excess_in_small_payments_settles_no_sooner_than_in_one() -> None:
    tiers = Tier(100_000, 0), Tier(None, 3)
    agreed_terms = terms(option(BTC, 20_000, tiers), policy=Policy(over=Over.CREDIT))
    many = [payment(20_000, seen=n, number=n) for n in range(1, 7)]
    settles = [standing.confirmations_required for standing in evaluate(agreed_terms, many, (), view(20)).payments]
    assert settles == [0, 0, 0, 0, 0, 3]
    replaced = [payment(20_000, seen=1, number=1, conflict="tx9"), *many[1:]]
    assert evaluate(agreed_terms, replaced, (), view(20)).payments[5].confirmations_required == 0


def test_the_excess_in_another_asset_is_in_that_asset() -> None:
    agreed_terms = terms(option(BTC, 100_000), option(LTC, 33), policy=Policy(over=Over.CREDIT))
    paid = [payment(50_001, block=100), payment(33, number=2, seen=11, asset=LTC, block=100)]
    standing = evaluate(agreed_terms, paid, (), view())
    # 0.49999 of the price is 16.49967 of 33 units: 17 are the merchant's.
    assert [(split.price, split.credit) for split in standing.splits] == [(50_001, 0), (17, 16)]


# ---------------------------------------------------------------- late

GRACE = Policy(late_grace_seconds=100, late_rate_ppm=20_000)
LOCKED = 50_000


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (900, (Status.SETTLED, ())),
        (900.001, (Status.SETTLED, (Rule.LATE_GRACE,))),
        (1_000, (Status.SETTLED, (Rule.LATE_GRACE,))),
        (1_000.001, (Status.EXPIRED, (Rule.LATE_FLAG,))),
    ],
)
def test_c9_a_late_payment_is_accepted_to_the_last_moment_of_the_grace_time(
    seen: float, expected: tuple[Status, tuple[Rule, ...]]
) -> None:
    late = payment(seen=seen, block=100, late_rate=None if seen == 900 else Fraction(LOCKED))
    assert told(stands(GRACE, late, now=2_000)) == expected


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (Fraction(48_999), (Status.EXPIRED, (Rule.LATE_RATE,))),
        (Fraction(49_000), (Status.SETTLED, (Rule.LATE_GRACE,))),
        (Fraction(51_000), (Status.SETTLED, (Rule.LATE_GRACE, Rule.OVER_FLAG))),
        (Fraction(51_001), (Status.EXPIRED, (Rule.LATE_RATE, Rule.OVER_FLAG))),
        (None, (Status.EXPIRED, (Rule.LATE_RATE,))),
    ],
)
def test_a_late_payment_is_accepted_while_the_rate_moved_no_further(
    rate: Fraction | None, expected: tuple[Status, tuple[Rule, ...]]
) -> None:
    late = payment(seen=950, block=100, late_rate=rate)
    standing = stands(GRACE, late)
    assert (standing.status, tuple(rule for rule in standing.rules if rule is not Rule.SHORT_FLAG)) == expected


def test_an_accepted_late_payment_is_worth_its_own_rate_and_completes_by_the_locked_one() -> None:
    standing = stands(GRACE, payment(seen=950, block=100, late_rate=Fraction(49_500)))
    assert (standing.status, standing.paid_units, standing.due_units) == (Status.SETTLED, 4_950, 0)
    assert standing.flags == (Flag.LATE,)
    assert standing.splits[0].short == 1_011  # 50 cents, at the rate of that moment, rounded up


def test_a_part_that_is_accepted_late_completes_no_more_than_itself() -> None:
    standing = stands(GRACE, payment(40_000, seen=950, block=100, late_rate=Fraction(LOCKED)))
    assert (standing.status, standing.due_units) == (Status.EXPIRED, 3_000)


def test_without_a_grace_time_a_late_payment_waits_for_a_person() -> None:
    standing = stands(Policy(), payment(seen=901, block=100, late_rate=Fraction(LOCKED)))
    assert told(standing) == (Status.EXPIRED, (Rule.LATE_FLAG,))


# ---------------------------------------------------------------- spends of credit


def test_a_spend_is_a_settled_part_in_time() -> None:
    standing = stands(Policy(), payment(60_000, block=100), now=20, spends=[spend(40_000)])
    assert (standing.status, standing.due_units, standing.rules) == (Status.SETTLED, 0, ())
    assert option_paid(option(), [payment(60_000)], [spend(40_000)], standing) == 100_000
    assert stands(Policy(), now=20, spends=[spend(100_000)]).flags == ()


@pytest.mark.parametrize("over", list(Over))
def test_the_excess_of_a_spend_goes_back_whatever_the_policy(over: Over) -> None:
    standing = stands(Policy(over=over), payment(seen=5, block=100), now=20, spends=[spend(40_000)])
    assert [(split.id, split.price, split.credit) for split in standing.splits][1] == ("spd_1", 0, 40_000)
    assert standing.rules == (Rule.OVER_CREDIT,)


def test_a_spend_on_an_invoice_that_was_never_completed_goes_back_by_the_same_policy() -> None:
    standing = stands(Policy(short=Short.CREDIT), spends=[spend(40_000)])
    assert [(split.price, split.credit) for split in standing.splits] == [(0, 40_000)]
    assert [split.price for split in stands(Policy(), spends=[spend(40_000)]).splits] == [40_000]


# ---------------------------------------------------------------- where a policy comes from


@pytest.mark.parametrize(("ppm", "text"), [(0, "0"), (1, "0.0001"), (5_000, "0.5"), (100_000, "10"), (105_000, "10.5")])
def test_a_share_is_written_with_no_more_decimals_than_it_has(ppm: int, text: str) -> None:
    assert (percent(ppm), read_percent(text, ppm, "field")) == (text, ppm)
    if ppm:
        with pytest.raises(Invalid) as refused:
            read_percent(text, ppm - 1, "field")
        (fault,) = refused.value.faults
        said = f'is a share in percent, such as "0.5", of at most {percent(ppm - 1)}'
        assert (fault.field, fault.message) == ("field", said)


@pytest.mark.parametrize("short", list(Short))
@pytest.mark.parametrize("over", list(Over))
def test_without_a_customer_only_what_credits_falls_back(short: Short, over: Over) -> None:
    default = Policy(short=short, over=over, tolerance_units=3)
    found = agreed(default, {"tolerance_amount": "0.07"}, EUR, default_currency="EUR", for_customer=False)
    expected = Short.FLAG if short is Short.CREDIT else short
    assert found == replace(default, short=expected, over=Over.FLAG, tolerance_units=7)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"over": "credit"}, "credit needs an invoice with a customer_id"),
        ({"short": "lend"}, "must be one of flag, accept, credit"),
        ({"late_grace_seconds": -1}, "must be 0 to 604800 seconds"),
    ],
)
def test_a_refusal_says_what_is_possible(given_: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid) as refused:
        agreed(Policy(), given_, EUR, default_currency="EUR", for_customer=False)
    assert [fault.message for fault in refused.value.faults] == [said]


def test_an_order_overrides_only_what_it_names() -> None:
    default = Policy(tolerance_ppm=5_000, tolerance_units=10, over=Over.CREDIT)
    made = agreed(default, {"tolerance_percent": "1"}, EUR, default_currency="EUR", for_customer=True)
    assert made == replace(default, tolerance_ppm=10_000)


def test_an_amount_of_the_stores_currency_says_nothing_about_another() -> None:
    made = agreed(Policy(tolerance_units=10), {}, currency("BTC"), default_currency="EUR", for_customer=True)
    assert made.tolerance_units == 0


def test_without_a_customer_a_default_of_credit_is_a_flag_and_an_orders_own_is_refused() -> None:
    default = Policy(short=Short.CREDIT, over=Over.CREDIT)
    made = agreed(default, {}, EUR, default_currency="EUR", for_customer=False)
    assert (made.short, made.over) == (Short.FLAG, Over.FLAG)
    with pytest.raises(Invalid) as refused:
        agreed(default, {"over": "credit", "short": "credit"}, EUR, default_currency="EUR", for_customer=False)
    assert [fault.field for fault in refused.value.faults] == ["policy.short", "policy.over"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tolerance_percent", "50.0001"),
        ("tolerance_percent", "-1"),
        ("tolerance_percent", "0.00001"),
        ("tolerance_amount", "0.001"),
        ("short", "forget"),
        ("over", "accept"),
        ("short_limit_percent", "100"),
        ("late_rate_percent", "100.0001"),
        ("late_grace_seconds", -1),
        ("late_grace_seconds", 604_801),
        ("generosity", "1"),
    ],
)
def test_what_no_policy_can_be_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(Invalid) as refused:
        changed(Policy(), {name: value}, EUR)
    assert [fault.field for fault in refused.value.faults] == [f"policy.{name}"]


policies = st.builds(
    Policy,
    tolerance_ppm=st.integers(0, 500_000),
    tolerance_units=st.integers(0, 6_000),
    short=st.sampled_from(Short),
    short_limit_ppm=st.integers(0, 999_999),
    over=st.sampled_from(Over),
    late_grace_seconds=st.sampled_from([0, 0, 1, 100, 604_800]),
    late_rate_ppm=st.integers(0, 1_000_000),
)
histories = st.lists(
    st.builds(
        payment,
        st.integers(1, 150_000),
        number=st.integers(1, 10**6),
        asset=st.sampled_from([BTC, BTC, LTC]),
        seen=st.integers(0, 1_200),
        block=st.none() | st.integers(95, 103),
        missing=st.none() | st.integers(0, 1_000),
        late_rate=st.none() | st.fractions(min_value=1, max_value=10**6),
    ),
    max_size=4,
    unique_by=lambda p: p.id,
)
spent = st.lists(st.builds(spend, st.integers(1, 150_000), st.integers(0, 900), st.integers(1, 9)), max_size=2)
spent = spent.filter(lambda made: len({s.id for s in made}) == len(made))
views = st.builds(view, st.integers(0, 2_000), height=st.integers(95, 110), observed=st.integers(0, 2_000))
TWO = (option(BTC, 100_000), option(LTC, 3_000_000))


@given(policies)
def test_a_policy_survives_being_written_and_read(policy: Policy) -> None:
    assert changed(Policy(), policy_resource(policy, EUR), EUR) == policy


@given(policies, histories, spent, views)
def test_every_part_is_split_to_the_last_unit(policy, history, spends, seen) -> None:  # type: ignore[no-untyped-def]
    agreed_terms = terms(*TWO, policy=policy)
    standing = evaluate(agreed_terms, history, (), seen, spends)
    judged = [(p, next(s for s in standing.payments if s.id == p.id)) for p in history]
    parts = {part.id: part for part in parts_of(agreed_terms, judged, spends)}
    assert {split.id for split in standing.splits} == parts.keys()
    for split in standing.splits:
        assert split.price + split.excess + split.credit == parts[split.id].units
        assert min(split.price, split.excess, split.credit, split.short) >= 0
        assert not split.short or standing.status is Status.SETTLED
    # What belongs to the price is never more than the price, but for the rounding of one unit in the merchant's favour.
    price = sum(Fraction(s.price, parts[s.id].units) * parts[s.id].share for s in standing.splits)
    assert price < 1 + max((parts[s.id].share / parts[s.id].units for s in standing.splits), default=1)


@given(policies, histories, spent, views)
def test_policies_are_free_of_the_order_of_facts(policy, history, spends, seen) -> None:  # type: ignore[no-untyped-def]
    agreed_terms = terms(*TWO, policy=policy)
    orders = [(p, s) for p in permutations(history[:3]) for s in permutations(spends)]
    assert len({evaluate(agreed_terms, p, (), seen, s) for p, s in orders}) == 1


@given(policies, histories, views)
def test_a_generous_policy_never_asks_for_more(policy, history, seen) -> None:  # type: ignore[no-untyped-def]
    strict = evaluate(terms(*TWO), history, (), seen)
    generous = evaluate(terms(*TWO, policy=policy), history, (), seen)
    assert generous.due_units <= strict.due_units
    progress = [Status.NEW, Status.EXPIRED, Status.PROCESSING, Status.SETTLED]
    assert progress.index(generous.status) >= progress.index(strict.status)


@given(policies, histories, views)
def test_whatever_is_more_or_less_than_the_price_names_its_rule(policy, history, seen) -> None:  # type: ignore[no-untyped-def]
    standing = evaluate(terms(*TWO, policy=policy), history, (), seen)
    names = {rule.split(".")[0] for rule in standing.rules}
    assert (Flag.OVERPAID not in standing.flags) or names & {"over", "short"}
    if standing.status is Status.SETTLED and standing.paid_share < 1:
        assert names & {"tolerance", "short", "late"}
    if standing.is_final and Flag.UNDERPAID in standing.flags:
        assert "short" in names


@given(policies, histories, spent, views)
def test_what_is_given_back_is_the_same_once_it_is_a_fact(policy, history, spends, seen) -> None:  # type: ignore[no-untyped-def]
    agreed_terms = terms(*TWO, policy=policy)
    standing = evaluate(agreed_terms, history, (), seen, spends)
    assert evaluate(agreed_terms, history, (), seen, spends, standing.given_back) == standing


@given(policies, histories, histories, spent, views)
def test_whoever_comes_back_takes_nothing_from_what_was_given(policy, history, back, spends, seen) -> None:  # type: ignore[no-untyped-def]
    agreed_terms, known = terms(*TWO, policy=policy), {p.id for p in history}
    before = evaluate(agreed_terms, history, (), seen, spends)
    everyone = [*history, *(p for p in back if p.id not in known)]
    after = evaluate(agreed_terms, everyone, (), seen, spends, before.given_back)
    settled = {s.id for s in after.payments if s.status is PaymentStatus.SETTLED} | {s.id for s in spends}
    assert set(before.given_back) <= settled
    credit = {split.id: (split.credit, split.price + split.excess) for split in after.splits}
    units = {each.id: each.units for each in (*everyone, *spends)}
    assert all(credit[cause] == (units[cause], 0) for cause in before.given_back)


@given(policies, st.integers(1, 10**12), st.integers(0, 900), st.sampled_from([(BTC,), (BTC, LTC)]))
def test_a_new_invoice_stands_where_nothing_that_came_leaves_it(
    policy: Policy, amount: int, now: int, assets: tuple[Asset, ...]
) -> None:
    made = terms(*(option(asset) for asset in assets), amount=amount, policy=policy)
    seen = View(at(now), {asset.network: Sight(-1, at(now), 0) for asset in assets})

    assert evaluate(made, (), (), seen) == fresh(made)
