"""Which invoices wait for a person, as the overview counts and `decision=none` lists them: by standings as they are."""

from fractions import Fraction

from kassa.invoices.model import Decision, Standing
from kassa.invoices.policy import Over, Policy, Short
from kassa.invoices.rules import evaluate
from kassa.payments.model import Payment
from tests.api.served import Served
from tests.rules.build import payment, terms, view

FLAG, ACCEPT, CREDIT = Policy(), Policy(short=Short.ACCEPT, short_limit_ppm=50_000), Policy(short=Short.CREDIT)
OVER, BOTH = Policy(over=Over.CREDIT), Policy(short=Short.ACCEPT, short_limit_ppm=50_000, over=Over.CREDIT)
GRACE = Policy(late_grace_seconds=100, late_rate_ppm=20_000)
LOCKED = Fraction(50_000)
FLAGS = ("underpaid", "overpaid", "late", "reversed")


def paid(units: int = 100_000, *, seen: float = 10, rate: Fraction = LOCKED, number: int = 1) -> Payment:
    return payment(units, number=number, seen=seen, block=100, late_rate=None if seen <= 900 else rate)


def stands(policy: Policy, *payments: Payment, now: float = 2_000, decided: tuple[Decision, ...] = ()) -> Standing:
    return evaluate(terms(policy=policy), payments, decided, view(now))


def overdue(units: int) -> Payment:
    return paid(units, seen=1_500, number=2)


CASES: dict[str, tuple[Standing, str]] = {
    "paid": (stands(FLAG, paid()), ""),
    "not paid": (stands(FLAG), ""),
    "short": (stands(FLAG, paid(95_000)), "underpaid"),
    "short, accepted": (stands(ACCEPT, paid(95_000)), ""),
    "short, beyond the limit": (stands(ACCEPT, paid(94_000)), "underpaid"),
    "short, credited": (stands(CREDIT, paid(95_000)), ""),
    "short, and may still be completed": (stands(GRACE, paid(95_000), now=950), ""),
    "short, and decided": (stands(FLAG, paid(95_000), decided=(Decision.INVALID,)), ""),
    "over": (stands(FLAG, paid(150_000)), "overpaid"),
    "over, credited": (stands(OVER, paid(150_000)), ""),
    "over, and decided": (stands(FLAG, paid(150_000), decided=(Decision.SETTLED,)), ""),
    "late": (stands(FLAG, paid(seen=1_500)), "late"),
    "late, and over": (stands(FLAG, paid(150_000, seen=1_500)), "overpaid late"),
    "late, credited with what is short": (stands(CREDIT, paid(seen=1_500)), ""),
    "late, accepted": (stands(GRACE, paid(seen=950)), ""),
    "late, at another rate": (stands(GRACE, paid(125_000, seen=950, rate=Fraction(40_000))), "late"),
    "late, with the rest of what was accepted as short": (stands(ACCEPT, paid(95_000), overdue(5_000)), ""),
    "late, beyond what was accepted as short": (stands(ACCEPT, paid(95_000), overdue(9_000)), "overpaid late"),
    "late, credited beyond what was accepted": (stands(BOTH, paid(95_000), overdue(9_000)), ""),
    "over by two, and decided": (stands(FLAG, paid(50_000), paid(60_000, number=2), decided=(Decision.SETTLED,)), ""),
    "undone, and decided": (stands(FLAG, payment(settled=20, missing=30), now=40, decided=(Decision.SETTLED,)), ""),
    "undone": (stands(FLAG, payment(settled=20, missing=30), now=40), "reversed"),
}


async def test_what_a_policy_decided_waits_for_nobody(served: Served) -> None:
    pool, expected = served.house.database.pool, {}
    for name, (standing, waits) in CASES.items():
        made = await served.all.invoice(reference=name)
        await pool.execute(
            "update invoices set status = $2, flags = $3, rules = $4 where id = $1",
            made["id"], standing.status, standing.flags, standing.rules,
        )  # fmt: skip
        expected[name] = waits.split()
    counted = (await served.all.get("/v1/overview?days=7")).json["flagged"]
    for flag in FLAGS:
        listed = (await served.all.get(f"/v1/invoices?flag={flag}&decision=none")).json["data"]
        assert {each["reference"] for each in listed} == {name for name in expected if flag in expected[name]}
        assert counted[flag] == len(listed)
    listed = (await served.all.get("/v1/invoices?decision=none")).json["data"]
    assert {each["reference"] for each in listed} == {name for name in expected if expected[name]}
    assert [each["id"] for each in listed] == sorted((each["id"] for each in listed), reverse=True)
    settled = (await served.all.get("/v1/invoices?flag=late&status=settled&decision=none")).json["data"]
    assert [each["reference"] for each in settled] == ["late, beyond what was accepted as short"]
