"""One invoice, several ways to pay, on three real chains: parts in different assets settle it by their shares."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from tests.e2e.program import Json, Program, installed
from tests.house import TPUB, XPUB
from tests.tools.sink import Sink

LITECOIN = "litecoin-regtest"


@pytest.fixture
async def kassa(
    bitcoind: DevNode, litecoind: DevNode, anvil: AnvilNode, database_url: str, tmp_path: Path
) -> AsyncIterator[Program]:
    """The program on all three chains, with a store that accepts BTC, LTC, ETH and USDC."""
    async with installed(tmp_path / "kassa", bitcoind, database_url) as program:
        common = "poll_seconds = 1\ndrop_after_seconds = 2\nconfirmations = [{ blocks = 1 }]"
        token = f'{{ symbol = "USDC", contract = "{anvil.tokens["USDC"]}", decimals = 6 }}'
        program.add(
            f'[networks.{LITECOIN}]\nfamily = "bitcoin"\nchain = "{LITECOIN}"\nrpc_url = "{litecoind.rpc_url}"',
            common,
            f'[networks.anvil]\nfamily = "evm"\nchain_id = 31337\nrpc_url = "{anvil.websocket_url}"',
            f"tokens = [{token}]",
            common,
        )
        await program.start("up")
        await program.ready()
        await program.open_store(**{LITECOIN: TPUB, "anvil": XPUB})
        yield program


def to(invoice: Json, symbol: str) -> str:
    return next(str(option["address"]) for option in invoice["payment_options"] if option["symbol"] == symbol)


async def test_parts_in_different_assets_settle_an_invoice_by_their_shares(
    kassa: Program, bitcoind: DevNode, litecoind: DevNode, anvil: AnvilNode
) -> None:
    async with Sink() as sink:
        _, endpoint = await kassa.call("POST", "/v1/webhooks", {"url": f"{sink.url}/hook", "events": ["*"]})
        invoice = await kassa.invoice(amount="100.00")
        due = {option["symbol"]: option["amount_due"] for option in invoice["payment_options"]}
        assert due == {"BTC": "0.00200000", "LTC": "1.25000000", "ETH": "0.040000000000000000", "USDC": "100.000000"}
        assert to(invoice, "ETH") == to(invoice, "USDC")

        await bitcoind.fund(to(invoice, "BTC"), 50_000)  # 25 EUR
        await litecoind.fund(to(invoice, "LTC"), 31_250_000)  # 25 EUR
        await anvil.fund(to(invoice, "ETH"), 10**16)  # 25 EUR
        await anvil.fund(to(invoice, "USDC"), 24_999_999, "USDC")
        for node in (bitcoind, litecoind, anvil):
            await node.mine()
        short = await kassa.until_invoice(invoice, status="new", payments=["settled"] * 4)
        rest = {option["symbol"]: option["amount_due"] for option in short["payment_options"]}
        # A millionth of a euro is missing: each asset's rest is rounded up to its own smallest unit.
        assert rest == {"BTC": "0.00000001", "LTC": "0.00000002", "ETH": "0.000000000400000000", "USDC": "0.000001"}
        assert (short["amount_paid"], short["amount_due"]) == ("99.99", "0.01")

        await anvil.fund(to(invoice, "USDC"), 1, "USDC")
        await anvil.mine()
        paid = await kassa.until_invoice(invoice, status="settled", is_final=True, flags=[], amount_over="0.00")
        assert sorted(payment["asset"] for payment in paid["payments"]) == [
            "BTC@bitcoin-regtest", "ETH@anvil", "LTC@litecoin-regtest", "USDC@anvil", "USDC@anvil",
        ]  # fmt: skip
        await sink.until(lambda: any(json.loads(got.body)["type"] == "invoice.settled" for got in sink.got))
        for got in sink.got:
            Webhook(endpoint["secret"]).verify(got.body, got.headers)


async def test_a_reorganisation_on_one_chain_takes_back_that_part_alone(
    kassa: Program, bitcoind: DevNode, anvil: AnvilNode
) -> None:
    invoice = await kassa.invoice(amount="50.00")
    await bitcoind.fund(to(invoice, "BTC"), 50_000)
    token = await anvil.fund(to(invoice, "USDC"), 25 * 10**6, "USDC")
    await bitcoind.mine()
    await anvil.mine()
    await kassa.until_invoice(invoice, status="settled", amount_settled="50.00")
    await anvil.fork(1, drop={token})
    await kassa.until_invoice(invoice, status="new", flags=["reversed"], amount_paid="25.00", amount_settled="25.00")
    await anvil.fund(to(invoice, "ETH"), 10**16)
    await anvil.mine()
    await kassa.until_invoice(invoice, status="settled", amount_settled="50.00")


async def test_an_address_is_the_same_on_every_evm_network_and_belongs_to_one_invoice(kassa: Program) -> None:
    one, two = await kassa.invoice(), await kassa.invoice()
    assert to(one, "ETH") != to(two, "ETH")
    _, assets = await kassa.call("GET", "/v1/assets")
    named = {asset["id"]: asset["caip19"] for asset in assets["data"]}
    assert named["ETH@anvil"] == "eip155:31337/slip44:60"
    assert named["USDC@anvil"].startswith("eip155:31337/erc20:0x")
    uris = {option["symbol"]: option["uri"] for option in one["payment_options"]}
    assert uris["ETH"] == f"ethereum:{to(one, 'ETH')}@31337?value=20000000000000000"
    assert uris["USDC"].endswith(f"@31337/transfer?address={to(one, 'USDC')}&uint256=50000000")
