"""What a pasted text is about: ids, addresses and txids in whatever people copy them with, never by a part."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.chains.bitcoin.addresses import BitcoinAddresses
from kassa.chains.bitcoin.networks import NETWORKS as BITCOIN
from kassa.chains.evm.addresses import EvmAddresses
from kassa.chains.evm.keccak import checksummed
from kassa.chains.evm.networks import NETWORKS as EVM
from kassa.core.ids import is_id, new_id
from kassa.core.money import Asset
from kassa.core.sought import MOST, Sought, read
from tests.examples import examples

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
HEX = "0123456789abcdef"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

ids = st.builds(
    "{}_{}".format, st.sampled_from(("inv", "pay", "lnk", "cus")), st.text(ALPHABET, min_size=29, max_size=29)
)
txids = st.text(HEX, min_size=64, max_size=64)
accounts = st.text(HEX, min_size=40, max_size=40).map(lambda digits: f"0x{digits}")
bech32 = st.builds(
    "{}1q{}".format, st.sampled_from(("bc", "tb", "bcrt", "ltc")), st.text(ALPHABET, min_size=38, max_size=38)
)
base58 = st.builds("{}{}".format, st.sampled_from("13mn2LM"), st.text(BASE58, min_size=32, max_size=32))
addresses = bech32 | base58
# What stands around when something is copied, none of it a letter, a digit or what parts a link.
around = st.text(" \t\r\n\x0b\xa0\u200b\ufeff\"'<>()[],.;\u201c\u201d", max_size=5)
labels = st.text(max_size=30).map(lambda text: quote(text, safe=""))
sites = st.sampled_from(
    (
        "https://mempool.space", "https://mempool.space/testnet4", "https://blockstream.info", "http://10.0.0.7:3002",
        "HTTPS://ETHERSCAN.IO", "etherscan.io", "https://www.blockchain.com/explorer", "https://a.example/#",
        "b.example/#!",
    )
)  # fmt: skip


@st.composite
def cased(draw: st.DrawFn, text: str) -> str:
    """Draw a text in other letter case."""
    return "".join(draw(st.sampled_from((each.lower(), each.upper()))) for each in text)


@examples(200)
@given(ids, around, around, st.data())
def test_an_id_is_found_in_whatever_stands_around_it_and_in_any_case(
    id_: str, before: str, behind: str, data: st.DataObject
) -> None:
    typed = data.draw(cased(id_))
    assert read(before + typed + behind).name == id_
    for page in ("https://pay.example/i/{}", "http://10.0.0.7:8080/l/{}?lang=de#pay", "pay.example/I/{}/stream"):
        assert read(before + page.format(typed) + behind).name == id_
    assert read(f"https://pay.example/dashboard/stores/sto_{'0' * 29}/invoices/{typed}").name == id_


@examples(200)
@given(txids, sites, around, around, labels, st.data())
def test_a_txid_is_found_in_links_as_every_chain_writes_it(
    txid: str, site: str, before: str, behind: str, label: str, data: st.DataObject
) -> None:
    wanted = (txid, f"0x{txid}")
    for typed in (data.draw(cased(txid)), data.draw(cased(f"0x{txid}"))):
        for path in ("tx/", "transaction/", "transactions/btc/", "block/"):
            for tail in ("", "/", "?expand", "#vout=0", f"?label={label}", f"#{label}", ":0"):
                assert read(f"{before}{site}/{path}{typed}{tail}{behind}").txids == wanted
        assert read(before + typed + behind).txids == wanted


@examples(200)
@given(addresses, labels, around, st.booleans())
def test_an_address_is_found_in_payment_uris_and_links(address: str, label: str, behind: str, capitals: bool) -> None:
    address = address.upper() if capitals and "1q" in address else address
    for text in (
        f"bitcoin:{address}", f"BITCOIN:{address}?AMOUNT=0.1", f"bitcoin:{address}?amount=0.1&label={label}{behind}",
        f"litecoin:{address}?label={label}", f"https://mempool.space/address/{address}{behind}",
        f"https://www.blockchain.com/explorer/addresses/btc/{address}",
        f"blockstream.info/address/{address}#transactions", f"\n{address}{behind}", address,
    ):  # fmt: skip
        assert read(text) == Sought(text.strip(), address, (address,)), text


@examples(200)
@given(accounts, accounts, st.integers(1, 10**9), st.data())
def test_of_a_transfer_it_is_the_receiver_and_not_the_token(
    contract: str, account: str, chain: int, data: st.DataObject
) -> None:
    typed, token = data.draw(cased(account)), data.draw(cased(contract))
    written = checksummed(bytes.fromhex(account[2:]))
    for text in (
        f"ethereum:{token}@{chain}/transfer?address={typed}&uint256=1000000",
        f"ethereum:pay-{token}/transfer?uint256=1e6&address={typed}",
        f"ETHEREUM:{contract.upper()}@{chain}/TRANSFER?ADDRESS={account.upper()}&UINT256=1",
        f"https://etherscan.io/token/{token}?a={typed}", f"ethereum:{typed}@{chain}?value=1",
        f"ethereum:{written}", f"https://etherscan.io/address/{typed}#internaltx", f"etherscan.io/address/{written}",
        f"https://eth.example/address/{typed}?tab=internal_transactions", typed, typed[2:],
    ):  # fmt: skip
        assert read(text).name == account, text


def test_the_payment_uris_that_we_write_name_their_receiver() -> None:
    token, coin = Asset("USDC", "ethereum", 6), Asset("ETH", "ethereum", 18)
    account = checksummed(b"\xa1" * 20)
    evm = EvmAddresses(EVM["1"], {token.id: b"\xc0" * 20})
    for asset in (token, coin):
        assert read(evm.payment_uri(account, asset, 10**6, None)).name == account.lower()
    bitcoin, address = BitcoinAddresses(BITCOIN["bitcoin"]), "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    uri = bitcoin.payment_uri(address, Asset("BTC", "bitcoin", 8), 10**6, "Tea & cake, 1? #2")
    assert read(uri).name == address


@examples(500)
@given(st.text() | st.text("0123456789abcdefxinv_/:?#=&@ \x00\n", max_size=300) | st.text("/:?#&=a0_", max_size=5_000))
def test_whatever_is_given_something_is_sought_and_it_stands_there(text: str) -> None:
    sought = read(text)
    assert sought.text == text[:MOST].replace("\x00", "").strip()
    assert sought.name.removeprefix("0x").lower() in sought.text.lower()
    assert sought.txids in ((sought.name,), (sought.name.removeprefix("0x"), f"0x{sought.name.removeprefix('0x')}"))
    assert read(sought.name).name == sought.name  # what was taken out is taken for itself


@examples(200)
@given(ids | txids | accounts | addresses, st.data())
def test_a_part_of_a_word_is_no_id_no_txid_and_no_other_address(thing: str, data: st.DataObject) -> None:
    first, last = sorted((data.draw(st.integers(0, len(thing))), data.draw(st.integers(0, len(thing)))))
    part, longer = thing[first:last], thing + data.draw(st.sampled_from("0_z9"))
    for text in (part, longer, f"https://a.example/tx/{part}", f"bitcoin:{part}", f"order-{part}"):
        if thing not in (text, part):
            found = read(text)
            assert found.name not in (thing, thing.lower()), text
            assert not is_id(found.name[:3], found.name)
            assert thing not in found.txids


@pytest.mark.parametrize(
    "text", ["", " ", "order-7", "#1001", "Tea & cake", "ORDER-7", "inv_", "bitcoin:", "https://", "7/8?9", "ünï"]
)
def test_what_names_nothing_is_looked_for_as_it_is(text: str) -> None:
    assert read(f" {text}\n") == Sought(text.strip(), text.strip(), (text.strip(),))


def test_ids_are_those_that_we_make() -> None:
    made = new_id("inv", datetime(2026, 1, 1, tzinfo=UTC))
    assert read(made.upper()).name == made
