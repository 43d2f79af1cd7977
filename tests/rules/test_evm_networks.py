"""The records of the EVM networks, and what the settings may say about their tokens."""

import re

import pytest

from kassa.chains.evm.addresses import read_address
from kassa.chains.evm.keccak import checksummed
from kassa.chains.evm.networks import NETWORKS
from kassa.chains.registry import FAMILIES
from kassa.core.errors import SettingsError
from kassa.core.money import Token

FAMILY = FAMILIES["evm"]
OTHER = checksummed(b"\x12" * 20)
USDC = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"


def refusal(chain: str, *tokens: Token) -> str:
    with pytest.raises(SettingsError) as error:
        FAMILY.chain(chain, "here", tokens)
    return str(error.value)


def test_what_only_a_balance_showed_is_looked_at_in_its_block() -> None:
    chain = FAMILY.chain("1", "ethereum", ())
    assert chain.explorer_url("0xab", "value") == "https://etherscan.io/tx/0xab"
    assert chain.explorer_url("0xab", "balance:0x12") == "https://etherscan.io/block/0xab"
    assert FAMILY.chain("31337", "anvil", ()).explorer_url("0xab", "value") is None


@pytest.mark.parametrize("chain_id", NETWORKS)
def test_every_record_is_whole(chain_id: str) -> None:
    network = NETWORKS[chain_id]
    assert str(network.chain_id) == chain_id
    assert network.decimals == 18
    assert network.block_seconds > 0
    assert network.livemode is (chain_id not in ("11155111", "31337"))
    if network.livemode:
        assert network.genesis is not None
    assert network.genesis is None or re.fullmatch("0x[0-9a-f]{64}", network.genesis)
    symbols = [token.symbol for token in network.tokens]
    assert len(set(symbols)) == len(symbols)
    for token in network.tokens:
        address = read_address(token.contract)
        assert address is not None
        assert checksummed(address) == token.contract


def test_no_two_public_networks_have_the_same_first_block() -> None:
    known = [network.genesis for network in NETWORKS.values() if network.genesis is not None]
    assert len(set(known)) == len(known) == 7


def test_stablecoins_have_the_decimals_of_their_chain() -> None:
    decimals = {
        (network.chain_id, token.symbol): token.decimals for network in NETWORKS.values() for token in network.tokens
    }
    assert {decimals[56, symbol] for symbol in ("USDC", "USDT")} == {18}
    assert {found for (chain, symbol), found in decimals.items() if chain != 56 and symbol != "DAI"} == {6}
    assert {found for (_, symbol), found in decimals.items() if symbol == "DAI"} == {18}


def test_assets_and_their_public_names() -> None:
    chain = FAMILY.chain("1", "ethereum", (Token("USDC"), Token("X", OTHER, 0)))
    assert [asset.id for asset in chain.assets] == ["ETH@ethereum", "USDC@ethereum", "X@ethereum"]
    assert [asset.decimals for asset in chain.assets] == [18, 6, 0]
    assert chain.caip19 == {
        "ETH@ethereum": "eip155:1/slip44:60",
        "USDC@ethereum": f"eip155:1/erc20:{USDC}",
        "X@ethereum": f"eip155:1/erc20:{OTHER}",
    }
    assert (chain.name, chain.livemode, chain.block_seconds) == ("1", True, 12)


def test_an_unknown_chain_id_is_told_the_known_ones() -> None:
    message = refusal("2")
    assert "2 is not known" in message
    assert all(f"{chain_id} (" in message for chain_id in NETWORKS)


@pytest.mark.parametrize(
    ("chain", "tokens", "words"),
    [
        ("31337", [Token("USDC")], "not known on anvil"),
        ("1", [Token("PEPE")], "USDC, USDT, DAI"),
        ("1", [Token("USDC", OTHER, 6)], "give another contract another symbol"),
        ("1", [Token("USDC", USDC, 18)], "has 6 decimals"),
        ("1", [Token("USDC", None, 18)], "has 6 decimals"),
        ("1", [Token("X", OTHER)], "decimals"),
        ("1", [Token("X", OTHER, 37)], "from 0 to 36"),
        ("1", [Token("X", OTHER, -1)], "from 0 to 36"),
        ("1", [Token("X", OTHER[:-1] + "G", 6)], "address"),
        ("1", [Token("X", USDC.swapcase().replace("0X", "0x"), 6)], "EIP-55"),
        ("1", [Token("ETH", OTHER, 18)], "the chain's own coin"),
        ("137", [Token("POL", OTHER, 18)], "the chain's own coin"),
        ("1", [Token("USDC"), Token("USDC")], "USDC"),
        ("1", [Token("X", OTHER, 6), Token("Y", OTHER.lower(), 6)], "that of X already"),
        ("1", [Token("USDC"), Token("Y", USDC.lower(), 6)], "that of USDC already"),
    ],
)
def test_tokens_that_cannot_be_meant_are_refused(chain: str, tokens: list[Token], words: str) -> None:
    message = refusal(chain, *tokens)
    assert words in message
    assert message.startswith(f"networks.here.tokens[{len(tokens) - 1}]")


def test_a_test_network_may_call_its_own_token_usdc() -> None:
    chain = FAMILY.chain("11155111", "sepolia", (Token("USDC", OTHER, 6),))
    assert chain.caip19["USDC@sepolia"] == f"eip155:11155111/erc20:{OTHER}"


def test_a_tokens_contract_is_named_and_leads_to_the_networks_explorer() -> None:
    base = FAMILIES["evm"].chain("8453", "base", (Token("USDC"),))
    contract = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
    assert base.contracts == {"USDC@base": contract}
    assert base.contract_url("USDC@base") == f"https://basescan.org/token/{contract}"
    assert base.contract_url("ETH@base") is None
    private = FAMILIES["evm"].chain("31337", "anvil", (Token("USDC", contract, 6),))
    assert private.contract_url("USDC@anvil") is None  # it has no explorer
