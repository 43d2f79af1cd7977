"""Accounts, addresses and payment links of the EVM family, against independent libraries and published vectors."""

import pytest
from embit import bip32, bip39
from eth_account import Account as EthAccount
from hypothesis import given
from hypothesis import strategies as st

from kassa.chains.evm.addresses import address_key
from kassa.chains.evm.keccak import checksummed, keccak
from kassa.chains.registry import FAMILIES
from kassa.core.errors import Invalid
from kassa.core.money import Asset, Token

EthAccount.enable_unaudited_hdwallet_features()
MNEMONICS = (
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
    "test test test test test test test test test test test junk",
    "legal winner thank year wave sausage worth useful legal winner thank yellow",
)
USDC = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
CHAIN = FAMILIES["evm"].chain("31337", "anvil", (Token("USDC", USDC, 6),))
LIVE = FAMILIES["evm"].chain("1", "ethereum", ())
KNOWN = CHAIN.addresses


def key(mnemonic: str, path: str = "m/44h/60h/0h") -> str:
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(mnemonic))
    return str(root.derive(path).to_public().to_base58())


XPUB = key(MNEMONICS[0])


def faults(text: str) -> str:
    with pytest.raises(Invalid) as error:
        KNOWN.account(text)
    (fault,) = error.value.faults
    assert fault.field == "descriptor"
    return fault.message


def test_keccak_is_ethereums_and_not_the_later_standard() -> None:
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


@pytest.mark.parametrize("mnemonic", MNEMONICS)
def test_addresses_are_those_of_the_wallet(mnemonic: str) -> None:
    descriptor = KNOWN.account(key(mnemonic)).descriptor
    for index in (0, 1, 7, 1_000):
        derived = KNOWN.derive(descriptor, index)
        told = EthAccount.from_mnemonic(mnemonic, account_path=f"m/44'/60'/0'/0/{index}").address
        assert (derived.text, derived.script.hex()) == (told, told[2:].lower())
        assert derived.key == address_key(derived.script)


def test_every_writing_of_an_account_is_the_same_account() -> None:
    first = KNOWN.account(XPUB)
    origin = "[73c5da0a/44h/60h/0h]"
    writings = (
        f" {XPUB}\n",
        f"{XPUB}/0/*",
        f"evm({XPUB}/0/*)",
        f"evm({origin}{XPUB}/0/*)",
        f"{origin.replace('h', chr(39))}{XPUB}",
        f"evm({XPUB}/<0;1>/*)",
        first.descriptor,
    )
    for text in writings:
        assert KNOWN.account(text).descriptor == first.descriptor
    assert first.descriptor.startswith(f"evm({XPUB}/0/*)#")
    assert KNOWN.account(f"evm({origin}{XPUB}/0/*)").fingerprint == "73c5da0a"
    assert len(first.fingerprint) == 8


def test_an_account_is_the_same_on_every_chain() -> None:
    assert LIVE.addresses.account(XPUB) == KNOWN.account(XPUB)
    assert LIVE.space == CHAIN.space == "eip155"


def test_other_branches_of_an_account_have_other_addresses() -> None:
    receive, other = [KNOWN.account(f"evm({XPUB}/{branch}/*)").descriptor for branch in (0, 5)]
    assert KNOWN.derive(receive, 0) != KNOWN.derive(other, 0)


@pytest.mark.parametrize(
    "secret",
    [
        MNEMONICS[0],
        "0x" + "1f" * 32,
        "1f" * 32,
        str(bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONICS[0])).derive("m/44h/60h/0h").to_base58()),
    ],
)
def test_what_can_spend_is_refused_and_not_repeated(secret: str) -> None:
    for text in (secret, f"evm({secret}/0/*)", f"  {secret} "):
        message = faults(text)
        assert not any(part in message for part in (secret[:24], secret[-20:]))
    assert "PRIVATE" in faults(secret)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "extended public key"),
        ("0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "extended public key"),
        (XPUB[:-1], "mistyped"),
        (f"wpkh({XPUB}/0/*)", "evm(KEY/0/*)"),
        (f"evm({XPUB})", "must end in /*"),
        (f"evm({XPUB}/0h/*)", "hardened"),
        (f"evm({XPUB}/0/*)#qqqqqqqq", "checksum"),
        (f"evm({XPUB}/2147483648/*)", "2147483648"),
        (key(MNEMONICS[0], "m/44h/60h/0h/0"), "below an account"),
        (XPUB + "é", "ASCII"),
    ],
)
def test_what_is_no_account_is_told_what_it_lacks(text: str, words: str) -> None:
    assert words in faults(text)


def test_a_live_account_of_another_coin_is_refused() -> None:
    with pytest.raises(Invalid, match="coin type 0"):
        LIVE.addresses.account(f"evm([73c5da0a/44h/0h/0h]{XPUB}/0/*)")


@pytest.mark.parametrize(  # EIP-55's own examples
    "text",
    [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_the_same_address_in_any_valid_writing_is_the_same_bytes(text: str) -> None:  # B29
    digits = text[2:]
    written = ("0x" + digits, "0x" + digits.lower(), "0x" + digits.upper(), "0X" + digits.upper())
    assert {KNOWN.parse(one) for one in written} == {bytes.fromhex(digits)}
    assert checksummed(bytes.fromhex(digits)) == text


@given(st.binary(min_size=20, max_size=20), st.integers(0, 39))
def test_a_wrong_capital_is_a_mistyped_address(address: bytes, place: int) -> None:  # B29
    text = checksummed(address)
    wrong = text[: place + 2] + text[place + 2].swapcase() + text[place + 3 :]
    if wrong == text or wrong[2:] in (wrong[2:].lower(), wrong[2:].upper()):
        return
    with pytest.raises(Invalid, match="address"):
        KNOWN.parse(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        " 0x52908400098527886E0F7030069857D2E4169EE7",
        "0x52908400098527886E0F7030069857D2E4169EE7\n",
        "0x52908400098527886E0F7030069857D2E4169EE",
        "0x52908400098527886E0F7030069857D2E4169EE77",
        "52908400098527886E0F7030069857D2E4169EE7",
        "0x52908400098527886E0F7030069857D2E4169EEg",
        "0x5290840009852788６E0F7030069857D2E4169EE7",
        "XE7338O073KYGTWWZN0F2WZ0R8PX5ZPPZS",  # ICAP
        "vitalik.eth",
        "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:  # A25, B29
    with pytest.raises(Invalid, match="address"):
        KNOWN.parse(text)


def test_payment_links_name_the_chain_the_contract_and_whole_units() -> None:
    to = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    ether, usdc = CHAIN.assets
    assert KNOWN.payment_uri(to, ether, 10**18, "ignored") == f"ethereum:{to}@31337?value=1000000000000000000"
    assert KNOWN.payment_uri(to, usdc, 2_500_000, None) == (
        f"ethereum:{USDC}@31337/transfer?address={to}&uint256=2500000"
    )
    assert ether == Asset("ETH", "anvil", 18)
    assert KNOWN.payment_uri(to, ether, 2**200, None).endswith(f"={2**200}")  # C11


def test_an_index_beyond_the_unhardened_ones_is_refused() -> None:
    descriptor = KNOWN.account(XPUB).descriptor
    for index in (-1, 2**31):
        with pytest.raises(Invalid, match="index"):
            KNOWN.derive(descriptor, index)
    assert KNOWN.derive(descriptor, 2**31 - 1).text.startswith("0x")
