"""E9: the networks that an API key may be used from: how they are read, and who is within them."""

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.core.errors import Invalid
from kassa.core.ids import KeyId, StoreId
from kassa.core.secret import Secret
from kassa.invoices.policy import NOTHING
from kassa.stores.model import SCOPES, ApiKey, Store
from kassa.stores.rules import MAX_NETWORKS, checked_networks, is_allowed

NOW = datetime(2026, 5, 4, tzinfo=UTC)
STORE = Store(StoreId("sto_1"), "Shop", "EUR", False, NOTHING, Secret("whsec_"), NOW)
NETWORKS = st.ip_addresses().flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(lambda bits: ip_interface((address, bits)).network)
)


def bound(*networks: str) -> ApiKey:
    return ApiKey(KeyId("key_1"), STORE, frozenset(SCOPES), None, None, allowed_from=checked_networks(networks))


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7/32\t", "203.0.113.7"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0:0::/32", "2001:db8::/32"),
        ("2001:db8::1/128", "2001:db8::1"),
        ("::/0", "::/0"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
    ],
)
def test_e9_a_network_is_kept_in_its_one_form(typed: str, kept: str) -> None:
    assert checked_networks([typed]) == (kept,)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["10.0.0.5/8"], "is one address within a network: write 10.0.0.0/8 or 10.0.0.5"),
        (["2001:db8::1/32"], "write 2001:db8::/32 or 2001:db8::1"),
        (["fe80::1%eth0"], "has a zone"),
        (["fe80::%1/64"], "has a zone"),
        ([""], "is no IP address"),
        (["shop.example"], "is no IP address"),
        (["10.0.0"], "is no IP address"),
        (["10.0.0.0/33"], "is no IP address"),
        (["2001:db8::/129"], "is no IP address"),
        (["10.0.0.0/-1"], "is no IP address"),
        (["10.0.0.0/255.0.0.0"], "is no IP address"),  # another reads such a mask the other way round
        (["10.0.0.0/0.255.255.255"], "is no IP address"),
        (["010.0.0.1"], "is no IP address"),  # octal to some
        (["١٠.0.0.1"], "is no IP address"),
        (["10.0.0.1\n"] * 2, "10.0.0.1 is there twice"),
        (["10.0.0.0/8", "::ffff:10.0.0.0/104"], "10.0.0.0/8 is there twice"),
        ([f"10.0.0.{n}" for n in range(MAX_NETWORKS + 1)], "more than 32"),
        (["1" * 10_000], "is no IP address"),
    ],
)
def test_e9_what_names_no_network_is_refused_in_words(typed: list[str], said: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked_networks(typed)
    [fault] = refused.value.faults
    assert (fault.field, said in fault.message, len(fault.message) < 300) == ("allowed_from", True, True), fault


def test_as_many_networks_as_may_be_are_taken() -> None:
    assert len(checked_networks([f"10.0.0.{n}" for n in range(MAX_NETWORKS)])) == MAX_NETWORKS


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        ([], "203.0.113.7", True),
        ([], None, True),
        (["203.0.113.7"], "203.0.113.7", True),
        (["203.0.113.7"], "203.0.113.8", False),
        (["203.0.113.7"], "::ffff:203.0.113.7", True),
        (["::ffff:203.0.113.7"], "203.0.113.7", True),
        (["10.0.0.0/8"], "10.255.255.255", True),
        (["10.0.0.0/8"], "11.0.0.0", False),
        (["10.0.0.0/8", "2001:db8::/32"], "2001:db8:ffff::1", True),
        (["10.0.0.0/8", "2001:db8::/32"], "2001:db9::1", False),
        (["fe80::/64"], "fe80::1%eth0", True),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["::/0"], "203.0.113.7", False),  # the other kind of address
        (["0.0.0.0/0", "::/0"], None, False),  # by a socket of this machine
        (["0.0.0.0/0", "::/0"], "unknown", False),
        (["::ffff:0:0/96"], "198.51.100.1", True),
    ],
)
def test_e9_a_bound_key_is_for_who_is_within(networks: list[str], address: str | None, allowed: bool) -> None:
    assert is_allowed(bound(*networks), address) == allowed


@given(NETWORKS, st.ip_addresses())
def test_e9_whoever_is_within_is_so_by_the_bits_alone(
    network: IPv4Network | IPv6Network, address: IPv4Address | IPv6Address
) -> None:
    for each in (address, network[-1], type(address)(int(network[0]) % 2**32)):
        ours, theirs = _bits(network.network_address), _bits(each)
        kept = len(ours) - (network.max_prefixlen - network.prefixlen)
        is_within = len(ours) == len(theirs) and ours[: max(kept, 0)] == theirs[: max(kept, 0)]
        assert is_allowed(bound(str(network)), str(each)) == is_within


def _bits(address: IPv4Address | IPv6Address) -> str:
    text = f"{int(address):0{address.max_prefixlen}b}"
    return text[96:] if text.startswith("0" * 80 + "1" * 16) and address.version == 6 else text


@given(st.lists(st.text(max_size=50), max_size=40))
def test_e9_no_text_breaks_the_reading_and_what_is_read_reads_the_same(texts: list[str]) -> None:
    try:
        kept = checked_networks(texts)
    except Invalid:
        return
    assert checked_networks(kept) == kept


@given(NETWORKS)
def test_e9_every_network_is_taken_and_kept_in_one_form(network: IPv4Network | IPv6Network) -> None:
    kept = checked_networks([str(network)])
    assert checked_networks(kept) == checked_networks([network.exploded]) == kept
