"""Work that is proven before another payment of a link: ours, in time, done, and good for once."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kassa.core.errors import SettingsError
from kassa.core.ids import InvoiceId, LinkId, StoreId
from kassa.core.money import currency
from kassa.invoices.model import Status
from kassa.links.model import Attempt, Fixed, Link
from kassa.links.proof import LIFETIME, MAX_BITS, Proof, begun_last, challenge, find, is_found, is_proven
from kassa.links.rules import UNPAID_PER_HOUR, UNPROVEN_PER_ADDRESS, needs_proof
from kassa.settings.read import read_settings
from kassa.wallets.seal import Seal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SEAL = Seal(b"k" * 32)
BITS = 6


def sealed(link: str = "lnk_1", mark: bytes = b"me", origin: bytes | None = b"here", last: str = "") -> partial[bytes]:
    return partial(SEAL.of_challenge, link, mark, origin, last)


def proven(bits: int = BITS) -> Proof:
    asked = challenge(sealed(), bits, NOW)
    return Proof(asked.text, find(asked))


def attempt(*, mine: bool = False, near: bool = False, seconds: int = 0, paid: int = 0) -> Attempt:
    begun = NOW - timedelta(seconds=seconds)
    return Attempt(mine, begun, InvoiceId("inv_1"), Status.NEW, 100, paid, NOW + LIFETIME, near)


@given(st.integers(0, 10))
@settings(max_examples=20)
def test_what_was_found_begins_with_so_many_bits_of_zero(bits: int) -> None:
    proof = proven(bits)
    digest = hashlib.sha256(f"{proof.text}:{proof.number}".encode()).digest()
    assert "".join(f"{byte:08b}" for byte in digest).startswith("0" * bits)
    assert is_proven(proof, sealed(), bits, NOW)
    assert len(f"{proof.text}:99999999999") <= 55  # one block of SHA-256


def test_a_proof_holds_until_its_end_and_no_longer() -> None:
    proof = proven()
    assert is_proven(proof, sealed(), BITS, NOW + LIFETIME)
    assert not is_proven(proof, sealed(), BITS, NOW + LIFETIME + timedelta(seconds=1))


@pytest.mark.parametrize(
    "other",
    [
        sealed(link="lnk_2"),
        sealed(mark=b"you"),
        sealed(origin=b"there"),
        sealed(origin=None),
        sealed(last=begun_last([attempt(mine=True)])),
        partial(Seal(b"x" * 32).of_challenge, "lnk_1", b"me", b"here", ""),
    ],
)
def test_a_proof_is_good_for_one_link_payer_address_and_payment(other: partial[bytes]) -> None:
    assert is_proven(proven(), sealed(), BITS, NOW)
    assert not is_proven(proven(), other, BITS, NOW)


@given(st.text(max_size=60), st.text(max_size=20))
def test_nothing_that_a_stranger_writes_is_a_proof(text: str, number: str) -> None:
    assert not is_proven(Proof(text, number), sealed(), BITS, NOW)
    assert not is_proven(None, sealed(), 0, NOW)


@pytest.mark.parametrize("number", ["", "-1", "1.0", "٣", "0x1", "1" * 12, " 1", "1\n"])
def test_only_a_number_answers_a_challenge(number: str) -> None:
    assert not is_proven(Proof(proven().text, number), sealed(), 0, NOW)


def test_a_challenge_that_was_made_longer_is_not_ours() -> None:
    proof = proven()
    until, _, mac = proof.text.partition(".")
    later = f"{int(until) + 60}.{mac}"
    number = next(str(n) for n in range(10**6) if is_found(later, str(n), BITS))
    assert not is_proven(Proof(later, number), sealed(), BITS, NOW)


def test_less_work_than_is_asked_for_is_not_enough() -> None:
    asked = challenge(sealed(), BITS, NOW)
    for bits in range(BITS):
        found = (str(n) for n in range(10**6) if is_found(asked.text, str(n), bits))
        number = next(each for each in found if not is_found(asked.text, each, bits + 1))
        assert not is_proven(Proof(asked.text, number), sealed(), BITS, NOW)


def test_what_was_begun_last_is_the_newest_of_the_payers_own() -> None:
    theirs, old, new = attempt(), attempt(mine=True, seconds=60), attempt(mine=True, seconds=5)
    assert begun_last([theirs]) == begun_last([]) == ""
    assert begun_last([theirs, new, old]) == begun_last([new]) != begun_last([old])


@pytest.mark.parametrize("reusable", [False, True])
def test_work_is_asked_for_only_where_much_was_begun_and_not_paid(reusable: bool) -> None:
    link = Link(LinkId("lnk"), StoreId("sto"), "Tea", Fixed(100), currency("EUR"), reusable, NOW)
    near, half = [attempt(near=True)] * UNPROVEN_PER_ADDRESS, [attempt()] * (UNPAID_PER_HOUR[reusable] // 2)
    assert needs_proof(link, near, NOW)
    assert needs_proof(link, half, NOW)
    making = [replace(each, invoice=None) for each in [*near, *half]]  # or it came to nothing
    for few in (near[1:], half[1:], [], making, [replace(each, paid_units=1) for each in [*near, *half]]):
        assert not needs_proof(link, few, NOW)
    assert not needs_proof(link, [*near, *half], NOW + timedelta(hours=1))


def test_the_most_that_can_be_asked_for_is_what_our_own_auditor_does() -> None:
    name = "KASSA_LIMITS__PROOF_BITS"
    assert read_settings(None, {}).limits.proof_bits == 0
    assert read_settings(None, {name: str(MAX_BITS)}).limits.proof_bits == MAX_BITS
    with pytest.raises(SettingsError, match=name):
        read_settings(None, {name: str(MAX_BITS + 1)})
