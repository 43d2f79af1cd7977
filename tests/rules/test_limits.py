"""Limits: how much is let in, how long is waited, and who is said to be asking (E41)."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.limits.model import Limit, Tally
from kassa.limits.rules import bucket, caller, rolled, wait_seconds

LIMIT = Limit(10, 60)


def let_in(limit: Limit, seconds: list[int]) -> list[int]:
    """Return the seconds of those that are let in."""
    tally, through = Tally(0), []
    for now in seconds:
        tally = rolled(tally, limit, now)
        if wait_seconds(tally, limit, now) == 0:
            tally = Tally(tally.start, tally.current + 1, tally.previous)
            through.append(now)
    return through


@given(st.lists(st.integers(0, 400), max_size=200).map(sorted), st.integers(1, 20))
def test_no_window_lets_in_more_than_its_limit_and_no_two_halves_twice_as_much(seconds: list[int], most: int) -> None:
    through = let_in(Limit(most, 60), seconds)
    for start in range(0, 420, 60):
        assert sum(start <= each < start + 60 for each in through) <= most
    for start in range(400):
        # Sliding by an estimate: at most what came unevenly within the window before is missed.
        assert sum(start <= each < start + 60 for each in through) < 2 * most or most == 1


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 59), st.integers(1, 20))
def test_who_waits_as_told_is_let_in_and_not_a_second_sooner(current: int, previous: int, into: int, most: int) -> None:
    limit, tally, now = Limit(most, 60), Tally(600, current, previous), 600 + into
    wait = wait_seconds(tally, limit, now)
    assert 0 <= wait <= 120
    later = now + wait
    assert wait_seconds(rolled(tally, limit, later), limit, later) == 0
    if wait > 1:
        sooner = later - 1
        assert wait_seconds(rolled(tally, limit, sooner), limit, sooner) > 0


@pytest.mark.parametrize("seconds", [1, 10, 60])
def test_a_clock_that_is_set_back_by_seconds_opens_no_new_window(seconds: int) -> None:
    assert rolled(Tally(600, 10, 3), LIMIT, 600 - seconds) == Tally(600, 10, 3)


@pytest.mark.parametrize("back", [61, 3_600, 30 * 86_400])
def test_a_window_that_is_yet_to_come_is_over(back: int) -> None:
    now = 30 * 86_400
    assert rolled(Tally(now + back, 10, 3), LIMIT, now) == Tally(now)
    hour = Limit(10, 3_600)
    assert rolled(Tally(now + back, 10, 3), hour, now) == Tally(now)
    assert wait_seconds(rolled(Tally(now + back, 10, 3), hour, now), hour, now) == 0


def test_no_limit_lets_everything_in() -> None:
    assert wait_seconds(Tally(0, 10**9, 10**9), Limit(0, 60), 1) == 0


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("127.0.0.1", None),
        ("::1", None),
        ("", None),
        (None, None),
        ("unix:", None),
    ],
)
def test_an_ipv6_subscriber_is_one_and_this_machine_is_none(address: str | None, counted: str | None) -> None:
    assert bucket(address) == counted


PROXY, EDGE, CLIENT, LIE = "10.0.0.1", "192.0.2.1", "198.51.100.7", "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "found"),
    [
        (CLIENT, [LIE], [], CLIENT),  # nobody is trusted
        (CLIENT, [LIE], ["10.0.0.0/8"], CLIENT),  # it did not come by our proxy
        (PROXY, [CLIENT], ["10.0.0.0/8"], CLIENT),
        (PROXY, [LIE, CLIENT], ["10.0.0.0/8"], CLIENT),  # the proxy appends, the caller invents
        (PROXY, [LIE, CLIENT, EDGE], ["10.0.0.0/8", EDGE], CLIENT),  # two proxies
        (PROXY, [LIE, CLIENT, EDGE], ["10.0.0.0/8"], EDGE),  # one of them is not ours
        (PROXY, [], ["10.0.0.0/8"], PROXY),
        (PROXY, ["unknown"], ["10.0.0.0/8"], PROXY),
        (PROXY, [LIE, "garbage"], ["10.0.0.0/8"], PROXY),
        (PROXY, [PROXY, PROXY], ["10.0.0.0/8"], PROXY),
        (PROXY, [f"{CLIENT}:4711"], ["10.0.0.0/8"], CLIENT),
        (PROXY, ["[2001:db8::1]:4711"], ["10.0.0.0/8"], "2001:db8::1"),
        (PROXY, ["fe80::7%eth0"], ["10.0.0.0/8"], "fe80::7"),  # one caller, by whatever interface
        ("::ffff:10.0.0.1", [CLIENT], ["10.0.0.0/8"], CLIENT),
        (None, [LIE], ["10.0.0.0/8"], None),
    ],
)
def test_e41_only_what_our_own_proxies_wrote_is_believed(
    peer: str | None, forwarded: list[str], trusted: list[str], found: str | None
) -> None:
    assert caller(peer, forwarded, [ip_network(each) for each in trusted]) == found


@given(st.lists(st.text(max_size=40), max_size=10))
def test_e41_no_header_breaks_it(forwarded: list[str]) -> None:
    assert caller(PROXY, forwarded, [ip_network("10.0.0.0/8")]) is not None
