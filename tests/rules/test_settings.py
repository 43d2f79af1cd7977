"""kassa.toml and the environment become one value, or a refusal that says where and why."""

import os
from collections.abc import Mapping
from dataclasses import astuple, fields
from fractions import Fraction
from pathlib import Path

import pytest

from kassa.core.errors import SettingsError
from kassa.core.money import Token
from kassa.settings import Confirmations, Listen, Settings, read_settings
from kassa.settings.keys import SECTIONS

FULL = """
database_url = "postgresql://kassa:hunter2@db.example/kassa"
data_dir = "./kassa-data"
[http]
listen = "127.0.0.1:8080"
public_url = "https://pay.example/"
ops_listen = "[::1]:9464"
[networks.bitcoin-regtest]
family = "bitcoin"
chain = "bitcoin-regtest"
rpc_url = "http://user:hunter2@127.0.0.1:18443"
zmq = ["tcp://127.0.0.1:28332"]
confirmations = [{ up_to = "100 EUR", blocks = 1 }, { up_to = "1000 EUR", blocks = 3 }, { blocks = 6 }]
max_reorg = 100
[rates]
sources = ["kraken", "coinbase", "bitstamp"]
max_age = 300
fixed = { "BTC/EUR" = "60000" }
[webhooks]
allow_private_addresses = false
"""
NETWORK = """
[networks.bitcoin-regtest]
family = "bitcoin"
chain = "bitcoin-regtest"
rpc_url = "http://user:hunter2@127.0.0.1:18443"
"""
ANVIL = """
[networks.anvil]
family = "evm"
chain_id = 31337
rpc_url = "ws://127.0.0.1:8545/v3/hunter2"
"""
CONTRACT = "0x" + "ab" * 20


def read(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    path = folder / "kassa.toml"
    path.write_text(text)
    return read_settings(path, environ or {})


def refusal(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        read(folder, text, environ)
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def test_the_documented_file_is_read_whole(tmp_path: Path) -> None:
    settings = read(tmp_path, FULL)
    network = settings.networks["bitcoin-regtest"]
    assert settings.data_dir == tmp_path / "kassa-data"
    assert settings.http.ops_listen == Listen("::1", 9464)
    assert settings.http.public_url == "https://pay.example"
    assert network.confirmations == (
        Confirmations(1, Fraction(100), "EUR"),
        Confirmations(3, Fraction(1000), "EUR"),
        Confirmations(6),
    )
    assert network.zmq == ("tcp://127.0.0.1:28332",)
    assert settings.rates.max_age_seconds == 300
    assert settings.rates.fixed == {"BTC/EUR": Fraction(60000)}


def test_nothing_written_gives_the_defaults() -> None:
    settings = read_settings(None, {})
    assert settings.embedded
    assert settings.data_dir == Path("kassa-data").resolve()
    assert settings.networks == {}
    assert not settings.webhooks.allow_private_addresses


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    assert "hunter2" not in repr(read(tmp_path, FULL))


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    environ = {
        "KASSA_DATABASE_URL": "embedded",
        "KASSA_HTTP__LISTEN": "0.0.0.0:80",
        "KASSA_NETWORKS__BITCOIN_REGTEST__RPC_URL": "http://127.0.0.1:1",
        "KASSA_NETWORKS__BITCOIN_REGTEST__CONFIRMATIONS": "[{ blocks = 2 }]",
        "KASSA_NETWORKS__BITCOIN_REGTEST__MAX_REORG": "7",
        "KASSA_WEBHOOKS__ALLOW_PRIVATE_ADDRESSES": "true",
        "KASSA_RATES__FIXED": '{ "LTC/EUR" = "80" }',
        "KASSA_CONFIG": "elsewhere.toml",
        "HOME": "/root",
    }
    settings = read(tmp_path, FULL, environ)
    network = settings.networks["bitcoin-regtest"]
    assert settings.embedded
    assert settings.http.listen == Listen("0.0.0.0", 80)
    assert (network.rpc_url.reveal(), network.max_reorg) == ("http://127.0.0.1:1", 7)
    assert network.confirmations == (Confirmations(2),)
    assert settings.webhooks.allow_private_addresses
    assert settings.rates.fixed == {"LTC/EUR": Fraction(80)}


@pytest.mark.parametrize(
    "variable",
    [
        "KASSA_PORT", "KASSA_PORT_8080_TCP", "KASSA_PORT_8080_TCP_ADDR", "KASSA_SERVICE_HOST",
        "KASSA_SERVICE_PORT_HTTP", "KASSA_API_PORT", "KASSA_API_SERVICE_HOST", "KASSA_AUDIT_KEY",
    ],
)  # fmt: skip
def test_what_kubernetes_says_of_a_service_and_keys_of_commands_are_no_settings(tmp_path: Path, variable: str) -> None:
    assert read(tmp_path, NETWORK, {variable: "tcp://10.0.0.1:8080"}) == read(tmp_path, NETWORK, {})


def test_a_network_may_come_from_variables_alone() -> None:
    prefix = "KASSA_NETWORKS__BITCOIN_REGTEST__"
    environ = {prefix + "FAMILY": "bitcoin", prefix + "CHAIN": "bitcoin-regtest", prefix + "RPC_URL": "http://node:1"}
    assert read_settings(None, environ).networks["bitcoin-regtest"].chain == "bitcoin-regtest"


def test_a_relative_data_dir_from_a_variable_counts_from_the_working_directory(tmp_path: Path) -> None:
    settings = read(tmp_path, FULL, {"KASSA_DATA_DIR": "there"})
    assert settings.data_dir == Path("there").resolve()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("databse_url = 'embedded'", "line 1, databse_url: there is no such setting; did you mean database_url?"),
        ("[http]\nlisen = '127.0.0.1:1'", "line 2, [http] lisen: there is no such setting; did you mean listen?"),
        ("[htp]\nlisten = '127.0.0.1:1'", "htp: there is no such setting; did you mean http?"),
        (NETWORK + "max_reog = 1", "line 6, [networks.bitcoin-regtest] max_reog: there is no such setting; did you"),
        (NETWORK + "chain_id = 1", "chain_id: there is no such setting"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http = 1", "http: must be a section [http]"),
        ("networks = []", "networks: must be a section [networks]"),
        ("database_url = 'postgresql://a@db/k?sslpassword=hunter2'", "without sslpassword"),
        ("database_url = 5", 'must be "embedded" or postgresql://'),
        ("database_url = 'mysql://root:hunter2@db'", 'must be "embedded" or postgresql://'),
        ("[http]\nlisten = '8080'", "must be host:port such as"),
        ("[http]\nlisten = '::1:8080'", "must be host:port such as"),
        ("[http]\nlisten = '127.0.0.1:70000'", "must be host:port such as"),
        ("[http]\npublic_url = 'pay.example'", "must be http(s)://host"),
        ("[http]\npublic_url = 'https://u@pay.example'", "without user, query or fragment"),
        ("[http]\npublic_url = 'https://pay.example/kassa'", "without a path: give Kassa a host name of its own"),
        ("[rates]\nmax_age = '300'", "must be a whole number from 1 to 86400; it is '300'"),
        ("[rates]\nmax_age = true", "must be a whole number from 1 to 86400"),
        ("[rates]\nmax_age = 0", "must be a whole number from 1 to 86400"),
        ("[rates]\nfixed = { 'BTC/EUR' = 60000 }", "positive decimal texts"),
        ("[rates]\nfixed = { 'BTC/EUR' = '0' }", "positive decimal texts"),
        ("[rates]\nfixed = { 'BTC/XXX' = '1' }", "not a known currency"),
        ("[webhooks]\nallow_private_addresses = 'yes'", "must be true or false"),
        (NETWORK + "zmq = 'tcp://127.0.0.1:1'", "must be a list of addresses"),
        (NETWORK + "zmq = ['http://127.0.0.1:1']", "must be a list of addresses"),
        (NETWORK + "max_reorg = 0", "must be a whole number from 1 to 100000"),
        (NETWORK.replace("http://user:hunter2@127.0.0.1:18443", "user:hunter2"), "must be http(s)://user:password@"),
        (NETWORK.replace("127.0.0.1:18443", "127.0.0.1:hunter2"), "must be http(s)://user:password@"),
        (NETWORK.replace('chain = "bitcoin-regtest"', ""), "[networks] bitcoin-regtest: chain is missing"),
        (NETWORK.replace('family = "bitcoin"', 'family = "dogs"'), "'dogs' is not in this version; known: "),
        (NETWORK.replace('family = "bitcoin"', 'family = "evm"'), "[networks] bitcoin-regtest: chain_id is missing"),
        (NETWORK.replace('family = "bitcoin"', ""), "[networks] bitcoin-regtest: family is missing"),
        (ANVIL + "zmq = []", "zmq: there is no such setting"),
        (ANVIL + "chain_id = 0", "is not valid TOML"),
        (ANVIL.replace("31337", "-1"), "chain_id: must be a whole number from 1"),
        (ANVIL + "finality = 'soon'", "must be one of blocks, safe, finalized"),
        (ANVIL + "internal = 'yes'", "must be one of auto, trace, debug, balances, off"),
        (ANVIL + "tokens = 'USDC'", "a list such as"),
        (ANVIL + "tokens = ['usdc']", "2 to 12 capital letters and digits"),
        (ANVIL + "tokens = ['USDC', 'USDC']", "each symbol once"),
        (ANVIL + "tokens = [{ symbol = 'GEM', contract = '0x12', decimals = 6 }]", "0x and 40 hexadecimal digits"),
        (ANVIL + f"tokens = [{{ symbol = 'GEM', contract = '{CONTRACT}' }}]", "a list such as"),
        (ANVIL + f"tokens = [{{ symbol = 'GEM', contract = '{CONTRACT}', decimals = 37 }}]", "from 0 to 36"),
        (ANVIL.replace("ws://", "ftp://"), "must be http(s):// or ws(s)://"),
        (NETWORK.replace("networks.bitcoin-regtest", "networks.BTC"), "lower-case letters, digits and hyphens"),
        ("[http", "is not valid TOML"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_expected(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ("[]", "a list of tiers"),
        ("6", "a list of tiers"),
        ("[{ blocks = 1, up_t = '100 EUR' }]", "a list of tiers"),
        ("[{ up_to = '100 EUR', blocks = 1 }]", "the last tier, and it alone, has no up_to"),
        ("[{ blocks = 1 }, { blocks = 6 }]", "the last tier, and it alone, has no up_to"),
        ("[{ up_to = '9 EUR', blocks = 1 }, { up_to = '9 EUR', blocks = 3 }, { blocks = 6 }]", "above the one before"),
        ("[{ up_to = '9 EUR', blocks = 1 }, { up_to = '10 USD', blocks = 3 }, { blocks = 6 }]", "the same currency"),
        ("[{ up_to = '9 EUR', blocks = 3 }, { blocks = 2 }]", "never needs fewer blocks"),
        ("[{ up_to = '-9 EUR', blocks = 3 }, { blocks = 6 }]", "not a positive decimal number"),
        ("[{ up_to = '9 EURO', blocks = 3 }, { blocks = 6 }]", "not a known currency"),
        ("[{ up_to = 9, blocks = 3 }, { blocks = 6 }]", "a list of tiers"),
        ("[{ blocks = 0 }]", "blocks = 0 only beside an up_to"),
        ("[{ blocks = 1.0 }]", "a whole number from 0"),
    ],
)
def test_tiers_that_cannot_be_meant_are_refused(tmp_path: Path, tiers: str, message: str) -> None:
    assert message in refusal(tmp_path, f"{NETWORK}confirmations = {tiers}")


def test_an_evm_network_is_read_with_its_tokens(tmp_path: Path) -> None:
    gem = f"{{ symbol = 'GEM', contract = '{CONTRACT}', decimals = 18 }}"
    text = ANVIL + f"finality = 'finalized'\ninternal = 'trace'\ntokens = ['USDC', {gem}]"
    network = read(tmp_path, text).networks["anvil"]
    assert (network.family, network.chain, network.rpc_url.reveal()) == (
        "evm",
        "31337",
        "ws://127.0.0.1:8545/v3/hunter2",
    )
    assert (network.finality, network.internal) == ("finalized", "trace")
    assert network.tokens == (Token("USDC"), Token("GEM", CONTRACT, 18))


@pytest.mark.parametrize(("section", "name"), [(NETWORK, "bitcoin-regtest"), (ANVIL, "anvil")], ids=["bitcoin", "evm"])
def test_one_chain_under_two_names_is_refused_for_each_payment_would_count_twice(
    tmp_path: Path, section: str, name: str
) -> None:
    both = NETWORK + ANVIL + section.replace(f"[networks.{name}]", "[networks.beside]")
    message = refusal(tmp_path, both)
    assert f"line {both[: both.index('[networks.beside]')].count(chr(10)) + 1}" in message
    assert "beside: is the same chain as" in message
    assert f"[networks.{name}]" in message
    assert "second_rpc_url" in message
    assert len(read(tmp_path, NETWORK + ANVIL).networks) == 2


def test_a_nodes_key_in_an_evm_url_is_never_shown(tmp_path: Path) -> None:
    assert "hunter2" not in refusal(tmp_path, ANVIL.replace("ws://", "ftp://"))
    assert "hunter2" not in repr(read(tmp_path, ANVIL))


def test_zero_confirmations_are_possible_up_to_an_amount(tmp_path: Path) -> None:
    settings = read(tmp_path, NETWORK + "confirmations = [{ up_to = '10 EUR', blocks = 0 }, { blocks = 1 }]")
    assert settings.networks["bitcoin-regtest"].confirmations[0] == Confirmations(0, Fraction(10), "EUR")


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("KASSA_HTTP__LISTN", "127.0.0.1:1", "KASSA_HTTP__LISTN names no setting; did you mean KASSA_HTTP__LISTEN?"),
        ("KASSA_HTTP_LISTEN", "127.0.0.1:1", "KASSA_HTTP_LISTEN names no setting; did you mean KASSA_HTTP__LISTEN?"),
        ("KASSA_HTTP__LISTEN", "nowhere", "environment variable KASSA_HTTP__LISTEN: must be host:port"),
        ("KASSA_RATES__MAX_AGE", "soon", "environment variable KASSA_RATES__MAX_AGE: must hold a TOML value"),
        ("KASSA_RATES__MAX_AGE", "1\nother = 2", "environment variable KASSA_RATES__MAX_AGE: must hold a TOML value"),
        ("KASSA_DATABASE_URL", "hunter2", 'environment variable KASSA_DATABASE_URL: must be "embedded" or'),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(tmp_path: Path, variable: str, text: str, message: str) -> None:
    assert message in refusal(tmp_path, NETWORK, {variable: text})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no file"):
        read_settings(tmp_path / "kassa.toml", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kassa.toml").touch(mode=0)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path / "kassa.toml", {})


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_every_section_that_may_be_written_is_read(section: str, tmp_path: Path) -> None:
    file = tmp_path / "kassa.toml"
    tried = {"limits": "addresses_per_store = 7", "wallets": "change_delay_seconds = 7"}
    file.write_text(f"[{section}]\n{tried.get(section, '')}\n")
    read = getattr(read_settings(file, {}), section)
    known = {key.field or name for name, key in SECTIONS[section].items()}
    assert known <= {each.name for each in fields(read)}
    if section in tried:
        assert 7 in astuple(read)
