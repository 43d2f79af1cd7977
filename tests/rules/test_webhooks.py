"""What is sent where and when: the pure part."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from ipaddress import IPv4Address, ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from kassa.core.errors import Invalid
from kassa.core.secret import Secret
from kassa.webhooks.model import Delivered, GaveUp, Gone, RetryAt
from kassa.webhooks.rules import (
    GIVE_UP_AFTER,
    check_filters,
    check_secret,
    check_url,
    excerpt,
    is_public,
    make_secret,
    outcome,
    sign,
    takes,
)

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NAT64 = ip_network("64:ff9b::/96")
SECRET = make_secret(bytes(range(24)))


@pytest.mark.parametrize(
    ("filters", "kind", "taken"),
    [
        (["*"], "invoice.settled", True),
        (["invoice.settled"], "invoice.settled", True),
        (["invoice.*"], "invoice.settled", True),
        (["invoice.*"], "payment.settled", False),
        (["invoice.settled"], "invoice.settled_again", False),
        (["payment.settled", "invoice.created"], "invoice.created", True),
        ([], "invoice.created", False),
    ],
)
def test_a_filter_takes_a_type_or_a_family_or_all(filters: list[str], kind: str, taken: bool) -> None:
    assert takes(filters, kind) is taken


@pytest.mark.parametrize(
    "filters",
    [[], ["invoice"], ["inv*"], [""], ["invoice.unknown"], ["*"] * 101, ["INVOICE.*"], ["refund.\0"], ["payout.a.b"]],
)
def test_a_filter_that_could_never_match_is_refused(filters: list[str]) -> None:
    with pytest.raises(Invalid):
        check_filters(filters)


def test_repeated_filters_are_kept_once() -> None:
    assert check_filters(["invoice.*", "payment.settled", "invoice.*"]) == ("invoice.*", "payment.settled")


@given(st.binary(min_size=24, max_size=64), st.binary(max_size=2000).filter(lambda body: body.isascii()))
def test_the_specifications_own_library_verifies_our_signature(key: bytes, body: bytes) -> None:
    secret = make_secret(key)
    moment = int(datetime.now(UTC).timestamp())
    signature = sign((Secret(secret),), "evt_1", moment, body)
    headers = {"webhook-id": "evt_1", "webhook-timestamp": str(moment), "webhook-signature": signature}
    Webhook(secret).verify(body, headers, json_parse=False)


def test_the_signature_of_the_specification_is_reproduced() -> None:
    # Computed with the reference library from the values in its own documentation.
    secret, text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    signed = sign((Secret(secret),), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, text)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_c2hvcnQ=", "secret", make_secret(bytes(65)), make_secret(bytes(23)), "whsec_!!!" + "A" * 40],
)
def test_a_weak_or_malformed_secret_is_refused(secret: str) -> None:
    with pytest.raises(Invalid, match="24 to 64"):
        check_secret(secret)


def test_secrets_of_24_to_64_bytes_are_taken() -> None:
    for size in (24, 32, 64):
        assert check_secret(make_secret(bytes(size)))


@pytest.mark.parametrize("code", [200, 201, 204, 299])
def test_any_2xx_is_delivered(code: int) -> None:
    assert outcome(code, 1, NOW, NOW, Fraction(0)) == Delivered()


def test_410_is_the_end() -> None:
    assert outcome(410, 1, NOW, NOW, Fraction(0)) == Gone()


@pytest.mark.parametrize("code", [None, 101, 300, 301, 302, 307, 308, 400, 401, 404, 409, 429, 500, 503, 599])
def test_everything_else_is_tried_again(code: int | None) -> None:
    assert outcome(code, 1, NOW, NOW, Fraction(1, 2)) == RetryAt(NOW + timedelta(seconds=5))


def history(jitters: Iterator[Fraction]) -> list[timedelta]:
    """Return when attempts are made, after the first, by a receiver that never takes it."""
    now, made, found = NOW, 1, []
    while isinstance(decided := outcome(500, made, NOW, now, next(jitters)), RetryAt):
        now, made = decided.at, made + 1
        found.append(now - NOW)
    assert decided == GaveUp()
    return found


@given(st.data())
def test_pauses_grow_and_the_last_attempt_is_made_when_72_hours_are_over(data: st.DataObject) -> None:
    shares = st.fractions(0, Fraction(999, 1000))

    def drawn() -> Iterator[Fraction]:
        while True:
            yield data.draw(shares)

    times = history(drawn())
    assert times[-1] == GIVE_UP_AFTER
    assert 12 <= len(times) <= 25
    assert times[0] <= timedelta(seconds=6)


def test_planned_pauses_never_shrink() -> None:
    def middle() -> Iterator[Fraction]:
        while True:
            yield Fraction(1, 2)

    times = [timedelta(), *history(middle())]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[:-1] == sorted(pauses[:-1])  # the very last is cut off by the end


def test_those_who_failed_together_come_back_apart() -> None:
    at = [outcome(500, 5, NOW, NOW, Fraction(share, 10)) for share in range(10)]
    assert len(set(at)) == 10


REFUSED = """
http://127.0.0.1/ https://127.0.0.1/ https://127.1/ https://127.0.0.1:443/ https://127.255.255.254/ https://0/
https://0.0.0.0/ https://10.0.0.1/ https://10.255.255.255/ https://172.16.0.1/ https://172.31.255.255/
https://192.168.0.1/ https://192.168.1.1:443/x https://100.64.0.1/ https://100.127.255.255/ https://169.254.169.254/
https://169.254.169.254/latest/meta-data/ https://169.254.170.2/ https://192.0.0.192/ https://168.63.129.16/ https://192.0.2.1/
https://198.18.0.1/ https://198.51.100.1/ https://203.0.113.7/ https://224.0.0.1/ https://240.0.0.1/
https://255.255.255.255/ https://192.88.99.1/ https://2130706433/ https://0x7f000001/ https://0x7f.1/ https://0177.0.0.1/
https://017700000001/ https://127.0.0.1./ https://10.1/ https://192.168.257/ https://[::1]/ https://[::]/
https://[fd00::1]/ https://[fc00::1]/ https://[fe80::1]/ https://[fec0::1]/ https://[ff02::1]/ https://[::ffff:127.0.0.1]/
https://[::ffff:7f00:1]/ https://[::ffff:10.0.0.1]/ https://[::127.0.0.1]/ https://[64:ff9b::7f00:1]/
https://[64:ff9b::10.0.0.1]/ https://[64:ff9b:1::1]/ https://[2002:7f00:1::1]/ https://[2002:a00:1::]/
https://[2001:0:1::1]/ https://[2001:db8::1]/ https://[fd00:ec2::254]/ https://[100::1]/ https://[::1%25eth0]/
https://localhost/ https://LOCALHOST/ https://localhost./ https://a.localhost/ https://metadata/ https://intranet/
https://metadata.google.internal/ https://Metadata.Google.Internal./ https://printer.local/ https://nas.lan/
https://router.home.arpa/ https://db.corp/ https://kassa/ http://shop.example/ ftp://shop.example/ file:///etc/passwd
gopher://shop.example/ javascript:alert(1) //shop.example/ shop.example /hook https:///hook https://
https://user@shop.example/ https://user:password@shop.example/ https://shop.example@127.0.0.1/
https://shop.example:22/ https://shop.example:5432/ https://shop.example:8080/ https://shop.example:0/
https://shop.example:65536/ https://shop.example:99999/ https://shop.example:/ https://shop.example:443:22/
https://shop.example\\@127.0.0.1/ https://shop.example#@127.0.0.1/ https://shop.example/#x https://①②⑦.⓪.⓪.①/
https://ⓛocalhost/ https://127。0。0。1/ https://shop.exampleſ/ https://bücher.example/ https://-a.example/
https://a-.example/ https://a..example/ https://.example/ https://%31%32%37.0.0.1/ https://shop.example%00.evil/
https://[127.0.0.1]/ https://[shop.example]/ https://[::1/ https://::1/
""".split()


@pytest.mark.parametrize(
    "url",
    [
        *REFUSED,
        "https://shop.example/a b",
        "https://shop.example/\r\nhost: x",
        " https://shop.example/",
        "",
        "https://a/\n",
    ],
)
def test_e1_a_target_that_is_not_on_the_public_internet_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="url"):
        check_url(url, private=False)


def test_e1_the_table_is_long_enough() -> None:
    assert len(set(REFUSED)) >= 60


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "https://shop.example/",
        "https://shop.example/hook?order=1&x=%2F",
        "https://shop.example?order=1",
        "https://SHOP.example:443/hook",
        "https://shop.example:80/hook",
        "https://xn--bcher-kva.example/",
        "https://a_b.shop.example/",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]/hook",
        "https://shop.example./hook",
    ],
)
def test_a_public_target_is_taken_as_it_is(url: str) -> None:
    assert check_url(url, private=False) == url


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/hook", "http://shop.local:3000", "https://[::1]:9/"])
def test_for_local_development_any_address_and_port_is_taken(url: str) -> None:
    assert check_url(url, private=True) == url


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "http://a:b@127.0.0.1/", "http://127.0.0.1:70000/", "http://x/#y", ""]
)
def test_even_local_development_has_rules(url: str) -> None:
    with pytest.raises(Invalid):
        check_url(url, private=True)


def test_an_endless_url_is_refused() -> None:
    with pytest.raises(Invalid, match="2000"):
        check_url("https://shop.example/" + "a" * 2000, private=False)


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.216.34", "2606:4700::1", "64:ff9b::808:808"])
def test_addresses_of_the_public_internet_are_public(text: str) -> None:
    assert is_public(ip_address(text))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_no_more_public_for_being_wrapped(address: object) -> None:
    assert not is_public(ip_address(f"::ffff:{address}"))
    assert not is_public(ip_address(f"::{address}"))
    assert is_public(ip_address(f"64:ff9b::{address}")) == is_public(ip_address(str(address)))


@given(st.ip_addresses())
def test_nothing_is_public_that_python_calls_private(address: IPv4Address) -> None:
    assert not is_public(address) or (address.is_global and not address.is_multicast) or address in NAT64


@given(st.binary(max_size=5000))
def test_an_excerpt_is_short_and_harmless(body: bytes) -> None:
    text = excerpt(body)
    assert len(text.encode()) <= 1024
    assert all(each.isprintable() or each == "\n" for each in text)
