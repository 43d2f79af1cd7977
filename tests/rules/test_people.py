"""What roles allow, and what slows down whoever guesses."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.core.errors import Invalid
from kassa.people.model import Role, Session, Stage
from kassa.people.proofs import named_credential
from kassa.people.rules import (
    FREE_TRIES,
    FRESH,
    LONGEST_PAUSE,
    PEOPLE_ONLY,
    ROLES_WITH,
    checked_email,
    checked_password,
    csrf_token,
    is_fresh,
    masked,
    pause,
    recovery_code,
    recovery_hash,
    rights,
    token_hash,
    unmasked,
)
from kassa.stores.model import SCOPES


def test_every_scope_of_the_api_was_decided_on() -> None:
    assert set(ROLES_WITH) == {*SCOPES, *PEOPLE_ONLY}


def test_the_owner_may_do_everything_and_a_viewer_changes_nothing() -> None:
    assert rights(Role.OWNER) == set(ROLES_WITH)
    assert {right for right in rights(Role.VIEWER) if not right.endswith(":read")} == set()


def test_who_may_change_something_may_see_it() -> None:
    for role in Role:
        for right in rights(role):
            assert right.replace(":write", ":read") in rights(role)


@given(st.integers(0, 10_000))
def test_the_pause_grows_to_its_limit(tries: int) -> None:
    for kind, free in FREE_TRIES.items():
        assert pause(tries, kind) <= pause(tries + 1, kind) <= LONGEST_PAUSE
        assert (pause(tries, kind) == timedelta(0)) == (tries < free)


def test_ten_thousand_tries_take_weeks() -> None:
    assert sum((pause(n, "person") for n in range(10_000)), timedelta(0)) > timedelta(days=45)


def test_a_proof_is_fresh_for_ten_minutes_and_not_before_it_was_given() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for seconds, fresh in ((-600, False), (-599, True), (0, True), (60, True), (61, False), (7_200, False)):
        proven = now + timedelta(seconds=seconds)
        session = Session("ses_1", Stage.OPEN, None, {}, None, None, now, now, now, proven, "", "")
        assert is_fresh(session, now) is fresh, seconds
    assert not is_fresh(Session("ses_1", Stage.OPEN, None, {}, None, None, now, now, now, None, "", ""), now)
    assert timedelta(minutes=10) == FRESH


@given(st.binary(min_size=10, max_size=10))
def test_a_recovery_code_is_recognised_however_it_was_typed(secret: bytes) -> None:
    code = recovery_code(secret)
    typed = code.upper().replace("-", " ").replace("0", "O").replace("1", "l")
    assert recovery_hash(code) is not None
    assert recovery_hash(typed) == recovery_hash(code)


@pytest.mark.parametrize("text", ["", "xxxx", "xxxx-xxxx-xxxx-xxx", "xxxx-xxxx-xxxx-xxxu", "x" * 1000])
def test_what_cannot_be_a_recovery_code_has_no_hash(text: str) -> None:
    assert recovery_hash(text) is None


@pytest.mark.parametrize("text", ["short", "aaaaaaaaaaaaaaaa", "ababababababab", "x" * 300, "anna is so great"])
def test_a_password_that_is_too_easy_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        checked_password(text, "anna@shop.example")


@pytest.mark.parametrize(
    "text", ["", "a", "a@", "@b", "a@b\n", "a b@c", "<a>@b.example", "a@b@c", "a" * 65 + "@b.example"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        checked_email(text.replace("\n", "\nx"))


def test_a_name_of_one_letter_forbids_nothing() -> None:
    assert checked_password("correct horse battery staple", "a@shop.example")


def test_an_address_has_one_form() -> None:
    assert checked_email("  Anna@Shop.Example ") == "anna@shop.example"


def test_the_token_of_forms_tells_nothing_about_the_cookie() -> None:
    assert csrf_token("a") != csrf_token("b")
    assert "a" * 43 not in csrf_token("a" * 43)
    assert csrf_token("a") != token_hash("a").hex()  # nor what the database keeps of it


def test_a_masked_token_shares_nothing_with_the_next_and_is_read_back() -> None:
    token = csrf_token("a")
    first, second = masked(token, b"\x01" * 32), masked(token, b"\xfe" * 32)
    for written in (first, second):
        assert unmasked(written) == token
        assert token not in written
    assert not {first[at : at + 4] for at in range(125)} & {second[at : at + 4] for at in range(125)}
    assert [unmasked(text) for text in (token, "", "0" * 127, "é" * 128)] == [token, "", "0" * 127, "é" * 128]


@pytest.mark.parametrize("answer", ["[" * 8_000, '{"a":' * 1_600, "[]", "{}", "", "{" * 9_000])
def test_what_is_no_credential_is_refused_however_deep_it_is(answer: str) -> None:
    with pytest.raises(Invalid):
        named_credential(answer)
