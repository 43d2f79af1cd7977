"""Every key of kassa.toml and what it accepts. A parser raises `ValueError` saying what it expects."""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import pairwise
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from kassa.core.errors import Invalid
from kassa.core.money import Token, currency, parse_rate
from kassa.core.secret import Secret
from kassa.settings.model import Confirmations, Listen

RATE_SOURCES = ("kraken", "coinbase", "bitstamp", "binance", "bitfinex", "coingecko", "ecb")
"""Who can be asked for rates. tests/meta holds the names to those of rates.sources."""

_SYMBOL = re.compile(r"[A-Z0-9]{2,12}\Z")
_CONTRACT = re.compile(r"0x[0-9a-fA-F]{40}\Z")
_SHARE = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,4})?)%\Z")
_RECIPIENT = re.compile(r"(age1[0-9a-z]{58}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?)\Z")
_HOST = re.compile(r"[A-Za-z0-9.:_-]+\Z")


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its parser, the field it fills where that has another name, and whether its value must not be shown.

    `verbatim`: an environment variable holds the value itself. The other keys' variables hold TOML, as in the file.
    """

    parse: Callable[[object], object]
    field: str | None = None
    secret: bool = False
    verbatim: bool = False


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(expected)
    return value


def _name(value: object) -> str:
    return _text(value, "a name in quotes")


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _whole(first: int, last: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if type(value) is not int or not first <= value <= last:
            raise ValueError(f"a whole number from {first} to {last}")
        return value

    return parse


def _folder(value: object) -> Path:
    return Path(_text(value, 'a folder such as "./kassa-data"'))


def _split(value: object, schemes: tuple[str, ...], expected: str) -> SplitResult:
    parts = urlsplit(_text(value, expected))
    try:
        port = parts.port
    except ValueError:
        raise ValueError(expected) from None  # its own message would show the value
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise ValueError(expected)
    return parts


def _database_url(value: object) -> Secret:
    expected = '"embedded" or postgresql://user:password@host/database'
    text = _text(value, expected)
    if text == "embedded":
        return Secret(text)
    parts = urlsplit(text)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError(expected)
    if "sslpassword" in parse_qs(parts.query, keep_blank_values=True):
        # pg_dump takes it in its arguments alone, which every user of the machine sees.
        raise ValueError(f"{expected}, without sslpassword: use a key without a password, in a file of its own")
    return Secret(text)


def _rpc_url(value: object) -> Secret:
    expected = "http(s)://user:password@host:port"
    parts = _split(value, ("http", "https"), expected)
    if parts.query or parts.fragment:
        raise ValueError(expected)
    return Secret(parts.geturl())


def _public_url(value: object) -> str:
    expected = "http(s)://host[:port] as payers reach it"
    parts = _split(value, ("http", "https"), expected)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{expected}, without user, query or fragment")
    if parts.path not in ("", "/"):
        raise ValueError(f"{expected}, without a path: give Kassa a host name of its own")
    return parts.geturl().rstrip("/")


def _collector(value: object) -> str:
    expected = "http(s)://host:port/v1/traces of an OTLP collector"
    parts = _split(value, ("http", "https"), expected)
    if parts.username is not None:
        raise ValueError(f"{expected}, without a user")
    return parts.geturl()


def _receiver(value: object) -> Secret:
    expected = "http(s)://host[:port]/path that takes alerts"
    return Secret(_split(value, ("http", "https"), expected).geturl())


def _signing_secret(value: object) -> Secret:
    expected = "whsec_ and 24 to 64 random bytes in base64: echo whsec_$(openssl rand -base64 32)"
    text = _text(value, expected)
    try:
        size = len(b64decode(text.removeprefix("whsec_"), validate=True))
    except ValueError:
        raise ValueError(expected) from None
    if not text.startswith("whsec_") or not 24 <= size <= 64:
        raise ValueError(expected)
    return Secret(text)


def _listen(value: object) -> Listen:
    expected = 'host:port such as "127.0.0.1:8080" or "[::1]:8080"'
    host, colon, port = _text(value, expected).rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(expected)
    if not colon or not _HOST.match(host) or not port.isdecimal() or int(port) > 65535:
        raise ValueError(expected)
    return Listen(host, int(port))


def _listen_or_off(value: object) -> Listen | None:
    return None if value == "off" else _listen(value)


def _evm_url(value: object) -> Secret:
    expected = "http(s):// or ws(s)://host:port, with a user, password, path or query where the node wants one"
    parts = _split(value, ("http", "https", "ws", "wss"), expected)
    if parts.fragment:
        raise ValueError(expected)
    return Secret(parts.geturl())


def _chain_id(value: object) -> str:
    return str(_whole(1, 2**53)(value))


def _proxies(value: object) -> tuple[IPv4Network | IPv6Network, ...]:
    expected = 'a list of addresses or networks such as ["127.0.0.1", "10.0.0.0/8"]'
    if not isinstance(value, list):
        raise ValueError(expected)
    try:
        found = tuple(ip_network(_text(item, expected)) for item in value)
    except ValueError:
        raise ValueError(expected) from None
    if any(network.prefixlen == 0 for network in found):
        raise ValueError(f"{expected}, never all of them: everybody could say to be anybody")
    return found


def _one_of(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError("one of " + ", ".join(words))
        return str(value)

    return parse


def _tokens(value: object) -> tuple[Token, ...]:
    expected = 'a list such as ["USDC", { symbol = "GEM", contract = "0x…", decimals = 18 }]'
    if not isinstance(value, list):
        raise ValueError(expected)
    tokens = tuple(_token(item, expected) for item in value)
    if len({token.symbol for token in tokens}) < len(tokens):
        raise ValueError(f"{expected}, each symbol once")
    return tokens


def _token(value: object, expected: str) -> Token:
    table = {"symbol": value} if isinstance(value, str) else value
    if not isinstance(table, dict) or table.keys() not in ({"symbol"}, {"symbol", "contract", "decimals"}):
        raise ValueError(expected)
    if not _SYMBOL.match(_text(table["symbol"], expected)):
        raise ValueError(f"{expected}: a symbol is 2 to 12 capital letters and digits")
    if "contract" not in table:
        return Token(table["symbol"])
    if not _CONTRACT.match(_text(table["contract"], expected)):
        raise ValueError(f"{expected}: a contract is 0x and 40 hexadecimal digits")
    return Token(table["symbol"], table["contract"], _whole(0, 36)(table["decimals"]))


def _zmq(value: object) -> tuple[str, ...]:
    expected = 'a list of addresses such as ["tcp://127.0.0.1:28332"]'
    if not isinstance(value, list):
        raise ValueError(expected)
    return tuple(_split(item, ("tcp",), expected).geturl() for item in value)


def _sources(value: object) -> tuple[str, ...]:
    expected = f'a list of different names such as ["kraken", "coinbase"]; known: {", ".join(RATE_SOURCES)}'
    if not isinstance(value, list) or not all(item in RATE_SOURCES for item in value):
        raise ValueError(expected)
    if len(set(value)) != len(value):
        raise ValueError(expected)
    return tuple(value)


def _recipients(value: object) -> tuple[str, ...]:
    expected = 'a list of public keys of age such as ["age1…"]; a private key belongs nowhere on this machine'
    if not isinstance(value, list) or not all(_RECIPIENT.match(str(item)) for item in value):
        raise ValueError(expected)
    return tuple(map(str, value))


def _pivots(value: object) -> tuple[str, ...]:
    expected = 'a list of different currencies such as ["USD", "BTC"]'
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(expected)
    if len(set(value)) != len(value):
        raise ValueError(expected)
    try:
        return tuple(currency(item).code for item in value)
    except Invalid as fault:
        raise ValueError(f"{expected} ({fault})") from None


def _share(value: object) -> Fraction:
    expected = 'a share from "0.1%" to "50%"'
    match = _SHARE.match(_text(value, expected))
    if match is None or not Fraction(1, 1000) <= (share := Fraction(match[1]) / 100) <= Fraction(1, 2):
        raise ValueError(expected)
    return share


def _urls(value: object) -> Mapping[str, str]:
    expected = f'a table such as {{ kraken = "https://host" }} of {", ".join(RATE_SOURCES)}'
    if not isinstance(value, dict) or not value.keys() <= set(RATE_SOURCES):
        raise ValueError(expected)
    urls = {}
    for name, url in value.items():
        parts = _split(url, ("http", "https"), expected)
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(f"{expected}, without user, query or fragment")
        urls[name] = parts.geturl().rstrip("/")
    return urls


def _fixed(value: object) -> Mapping[str, Fraction]:
    expected = 'a table of pairs and positive decimal texts such as { "BTC/EUR" = "60000" }'
    if not isinstance(value, dict):
        raise ValueError(expected)
    rates = {}
    for pair, text in value.items():
        symbol, _, code = pair.partition("/")
        try:
            currency(code)
            rates[pair] = parse_rate(_text(text, expected))
        except (Invalid, ValueError) as fault:
            raise ValueError(f"{expected} ({pair}: {fault})") from None
        if not _SYMBOL.match(symbol):
            raise ValueError(f"{expected} ({pair[:40]!r} does not begin with a symbol)")
    return rates


def _confirmations(value: object) -> tuple[Confirmations, ...]:
    expected = 'a list of tiers such as [{ up_to = "100 EUR", blocks = 1 }, { blocks = 6 }]'
    if not isinstance(value, list) or not value:
        raise ValueError(expected)
    tiers = tuple(_tier(item, expected) for item in value)
    closed, last = tiers[:-1], tiers[-1]
    if last.up_to is not None or any(tier.up_to is None for tier in closed):
        raise ValueError(f"{expected}: the last tier, and it alone, has no up_to")
    if len({tier.currency for tier in closed}) > 1:
        raise ValueError(f"{expected}: every up_to in the same currency")
    limits = [tier.up_to or Fraction(0) for tier in closed]
    if any(one >= two for one, two in pairwise(limits)):
        raise ValueError(f"{expected}: each up_to above the one before it")
    if any(one.blocks > two.blocks for one, two in pairwise(tiers)):
        raise ValueError(f"{expected}: a higher amount never needs fewer blocks")
    if last.blocks == 0:
        raise ValueError(f"{expected}: blocks = 0 only beside an up_to, never for any amount")
    return tiers


def _tier(value: object, expected: str) -> Confirmations:
    if not isinstance(value, dict) or not {"blocks"} <= value.keys() <= {"blocks", "up_to"}:
        raise ValueError(expected)
    blocks = _whole(0, 10_000)(value["blocks"])
    if "up_to" not in value:
        return Confirmations(blocks)
    amount, _, code = _text(value["up_to"], expected).partition(" ")
    try:
        return Confirmations(blocks, parse_rate(amount), currency(code).code)
    except (Invalid, ValueError) as fault:
        raise ValueError(f"{expected} ({fault})") from None


ROOT = {
    "database_url": Key(_database_url, secret=True, verbatim=True),
    "data_dir": Key(_folder, verbatim=True),
}
SECTIONS = {
    "http": {
        "listen": Key(_listen, verbatim=True),
        "public_url": Key(_public_url, verbatim=True),
        "ops_listen": Key(_listen_or_off, verbatim=True),
        "trusted_proxies": Key(_proxies),
    },
    "rates": {
        "sources": Key(_sources),
        "max_age": Key(_whole(1, 86_400), field="max_age_seconds"),
        "fixed": Key(_fixed),
        "min_sources": Key(_whole(1, 7)),
        "max_deviation": Key(_share, verbatim=True),
        "max_jump": Key(_share, verbatim=True),
        "max_depeg": Key(_share, verbatim=True),
        "pivots": Key(_pivots),
        "fiat_max_age": Key(_whole(3_600, 1_209_600), field="fiat_max_age_seconds"),
        "fetch_seconds": Key(_whole(1, 3_600)),
        "keep_days": Key(_whole(1, 3_660)),
        "urls": Key(_urls),
    },
    "webhooks": {"allow_private_addresses": Key(_flag)},
    "alerts": {
        "webhook_url": Key(_receiver, secret=True, verbatim=True),
        "webhook_secret": Key(_signing_secret, secret=True, verbatim=True),
    },
    "backup": {"recipients": Key(_recipients), "key_recipients": Key(_recipients)},
    "log": {
        "form": Key(_one_of("auto", "json", "console"), verbatim=True),
        "level": Key(_one_of("debug", "info", "warning", "error"), verbatim=True),
    },
    "tracing": {"endpoint": Key(_collector, verbatim=True)},
    "limits": {
        "requests_per_key": Key(_whole(0, 10**9)),
        "requests_per_store": Key(_whole(0, 10**9)),
        "requests_per_address": Key(_whole(0, 10**9)),
        "refusals_per_address": Key(_whole(0, 10**9)),
        "addresses_per_store": Key(_whole(0, 10**9)),
        "unpaid_addresses": Key(_whole(0, 10**9)),
        "proof_bits": Key(_whole(0, 24)),
    },
    "wallets": {"change_delay_seconds": Key(_whole(0, 2_592_000))},
    "books": {"reconcile_seconds": Key(_whole(0, 2_592_000))},
}
_EVERY_FAMILY = {
    "family": Key(_name, verbatim=True),
    "confirmations": Key(_confirmations),
    "max_reorg": Key(_whole(1, 100_000)),
    "poll_seconds": Key(_whole(1, 3_600)),
    "drop_after_seconds": Key(_whole(1, 86_400)),
    "stalled_after_seconds": Key(_whole(60, 604_800)),
}
_BITCOIN = _EVERY_FAMILY | {
    "chain": Key(_name, verbatim=True),
    "rpc_url": Key(_rpc_url, secret=True, verbatim=True),
    "second_rpc_url": Key(_rpc_url, secret=True, verbatim=True),
    "zmq": Key(_zmq),
}
_EVM = _EVERY_FAMILY | {
    "chain_id": Key(_chain_id, field="chain"),
    "rpc_url": Key(_evm_url, secret=True, verbatim=True),
    "second_rpc_url": Key(_evm_url, secret=True, verbatim=True),
    "finality": Key(_one_of("blocks", "safe", "finalized"), verbatim=True),
    "internal": Key(_one_of("auto", "trace", "debug", "balances", "off"), verbatim=True),
    "tokens": Key(_tokens),
}
FAMILIES = {"bitcoin": _BITCOIN, "evm": _EVM}
"""The keys of a network, by the family that it names. tests/meta holds the names to those of chains.registry."""
REQUIRED = {"bitcoin": ("family", "chain", "rpc_url"), "evm": ("family", "chain_id", "rpc_url")}
"""What a network of each family must say."""
