"""G8: what we read of hostile bytes and texts is what a second library, or the standard library, reads of them."""

import re
from decimal import Decimal
from io import BytesIO
from urllib.parse import parse_qs, unquote, urlsplit

from embit import script as embit_script
from embit.transaction import Transaction as EmbitTransaction
from eth_abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils import is_checksum_address, to_checksum_address
from hypothesis import example, given
from hypothesis import strategies as st

from kassa.chains.bitcoin.addresses import BitcoinAddresses
from kassa.chains.bitcoin.layout import Damaged
from kassa.chains.bitcoin.networks import NETWORKS
from kassa.chains.bitcoin.transactions import RawTransaction, read_transaction
from kassa.chains.evm.addresses import EvmAddresses, read_address
from kassa.chains.evm.hexadecimal import number
from kassa.chains.evm.matching import TRANSFER, is_transfer
from kassa.chains.evm.messages import Log
from kassa.chains.evm.networks import NETWORKS as EVM
from kassa.core.errors import ChainUnavailable, Invalid
from kassa.core.money import Asset, parse_amount
from tests.examples import examples
from tests.rules.test_bitcoin_blocks import transactions

BITCOIN = BitcoinAddresses(NETWORKS["bitcoin"])
BTC = Asset("BTC", "bitcoin", 8)
CONTRACT = "0x" + "c0" * 20


@examples(300)
@given(transactions, st.data())
def test_a_damaged_transaction_is_read_as_embit_reads_it_or_not_at_all(
    made: tuple[bytes, str], data: st.DataObject
) -> None:
    body = bytearray(made[0])
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from([0, 1, 0xFC, 0xFD, 0xFE, 255]))
    damaged = bytes(body[: data.draw(st.integers(0, len(body)))]) if data.draw(st.booleans()) else bytes(body)
    theirs = by_embit(damaged)
    try:
        ours = read_transaction(damaged)
    except Damaged:
        # Only what is written in the one canonical way has to be read.
        assert theirs is None or theirs.serialize() != damaged
        return
    if theirs is not None and theirs.serialize() == damaged:
        assert summary(ours) == (
            theirs.txid().hex(),
            [(item.script_pubkey.data, item.value) for item in theirs.vout],
            [item.txid for item in theirs.vin],
        )


def by_embit(body: bytes) -> EmbitTransaction | None:
    stream = BytesIO(body)
    try:
        found = EmbitTransaction.read_from(stream)
    except Exception:  # noqa: BLE001  # whatever it raises for what is no transaction
        return None
    return found if stream.read() == b"" and found.vin else None


def summary(read: RawTransaction) -> tuple[str, list[tuple[bytes, int]], list[bytes]]:
    return read.txid, [(o.script, o.units) for o in read.outputs], [spent[31::-1] for spent in read.outpoints]


@examples(200)
@given(st.binary(min_size=20, max_size=20), st.sampled_from(["pkh", "wpkh", "wsh", "tr"]), st.data())
def test_an_address_that_is_read_is_the_script_that_embit_reads(body: bytes, form: str, data: st.DataObject) -> None:
    wide = body + body[:12]
    script = {
        "pkh": b"\x76\xa9\x14" + body + b"\x88\xac",
        "wpkh": b"\0\x14" + body,
        "wsh": b"\0\x20" + wide,
        "tr": b"\x51\x20" + wide,
    }[form]
    text = embit_script.Script(script).address()
    assert BITCOIN.parse(text) == script
    place, letter = data.draw(st.integers(0, len(text) - 1)), data.draw(st.characters(codec="ascii"))
    mistyped = text[:place] + letter + text[place + 1 :]
    try:
        ours = BITCOIN.parse(mistyped)
    except Invalid:
        return
    assert ours == embit_script.address_to_scriptpubkey(mistyped).data


@examples(300)
@given(st.text("0123456789.+-eE_ ٣０", max_size=24) | st.decimals(0, 10**12, places=8).map(str), st.integers(0, 18))
@example("1e3", 2)
@example("٣", 0)
def test_an_amount_is_read_as_decimal_reads_it_or_not_at_all(text: str, decimals: int) -> None:
    plain = re.fullmatch(r"(0|[1-9][0-9]*)(\.([0-9]+))?", text, re.ASCII)
    good = plain is not None and len(plain[3] or "") <= decimals
    try:
        units = parse_amount(text, decimals)
    except Invalid:
        assert not good
        return
    assert good
    assert units == Decimal(text).scaleb(decimals)


@examples(200)
@given(st.integers(0, 21 * 10**14), st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=120))
def test_a_payment_link_of_bip21_says_what_it_was_made_of(units: int, label: str | None) -> None:
    address = embit_script.Script(b"\0\x14" + units.to_bytes(20)).address()
    parts = urlsplit(BITCOIN.payment_uri(address, BTC, units, label))
    asked = parse_qs(parts.query, keep_blank_values=True, strict_parsing=True)
    assert (parts.scheme, parts.path, parts.fragment) == ("bitcoin", address, "")
    assert Decimal(asked.pop("amount")[0]).scaleb(8) == units
    assert asked == ({} if label is None else {"label": [label[:80]]})


@examples(200)
@given(st.integers(0, 2**256 - 1), st.binary(min_size=20, max_size=20), st.booleans())
def test_a_payment_link_of_eip681_says_what_it_was_made_of(units: int, receiver: bytes, token: bool) -> None:
    asset = Asset("USDC", "anvil", 6) if token else Asset("ETH", "anvil", 18)
    addresses = EvmAddresses(EVM["31337"], {"USDC@anvil": bytes.fromhex(CONTRACT[2:])} if token else {})
    uri = addresses.payment_uri(to_checksum_address(receiver), asset, units, "left out")
    target, _, query = unquote(uri).removeprefix("ethereum:").partition("?")
    asked = {name: value for name, [value] in parse_qs(query, strict_parsing=True).items()}
    if token:
        assert target == f"{to_checksum_address(CONTRACT)}@31337/transfer"
        assert asked == {"address": to_checksum_address(receiver), "uint256": str(units)}
    else:
        assert (target, asked) == (f"{to_checksum_address(receiver)}@31337", {"value": str(units)})


@examples(200)
@given(st.binary(min_size=20, max_size=20), st.integers(0, 41), st.sampled_from("0123456789abcdefABCDEFxX "))
def test_an_ethereum_address_is_read_where_its_checksum_is_right(body: bytes, place: int, letter: str) -> None:
    text = to_checksum_address(body)
    mistyped = text[:place] + letter + text[place + 1 :]
    digits = mistyped[2:]
    plain = re.fullmatch(r"0[xX][0-9a-fA-F]{40}", mistyped) is not None
    good = plain and (digits in (digits.lower(), digits.upper()) or is_checksum_address("0x" + digits))
    assert read_address(mistyped) == (bytes.fromhex(digits) if good else None)


words = st.integers(0, 2**256 - 1).map(lambda value: encode(["uint256"], [value]))


@examples(300)
@given(st.lists(words, max_size=2), words | st.binary(max_size=40), st.booleans())
def test_a_log_is_a_transfer_where_eth_abi_decodes_one(topics: list[bytes], data: bytes, padded: bool) -> None:
    named = [bytes(12) + topic[12:] if padded else topic for topic in topics]
    log = Log(CONTRACT, [TRANSFER, *(f"0x{topic.hex()}" for topic in named)], f"0x{data.hex()}")
    try:
        theirs = decode(["address", "uint256"], named[1] + data) if len(named) == 2 and len(data) == 32 else None
    except DecodingError:
        theirs = None
    assert is_transfer(log, {CONTRACT}) is (theirs is not None)
    if theirs is not None:
        assert ("0x" + log.topics[2][26:], number(log.data)) == theirs


@examples(200)
@given(st.text("0123456789abcdefxX -_+", max_size=12))
@example("0X0")
def test_a_number_of_a_node_is_read_as_python_reads_it_or_not_at_all(text: str) -> None:
    try:
        read = number(text)
    except ChainUnavailable:
        return
    assert text.startswith("0x")
    assert read == int(text, 16)
    assert "_" not in text
