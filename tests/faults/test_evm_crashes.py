"""D1 on an EVM chain: killed while blocks, or the word on final ones, are written down, nothing is lost or doubled."""

import signal
from pathlib import Path

import asyncpg
import pytest

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from tests.e2e.program import Program, installed
from tests.house import XPUB


@pytest.mark.parametrize(
    "death", ["chain.held:3", "chain.blocks:3", "chain.payments:3", "flow.posted:1", "chain.commit:3", "final.commit:2"]
)
async def test_d1_a_killed_process_ends_where_it_would_have_ended(
    bitcoind: DevNode, anvil: AnvilNode, database_url: str, tmp_path: Path, death: str
) -> None:
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        _follow_by_finality(kassa, anvil)
        await kassa.start("up", environment={"KASSA_CRASH": "nowhere:1"})
        await kassa.ready()
        await kassa.open_store(anvil=XPUB)
        invoices = [await kassa.invoice(payment_options=[f"{symbol}@anvil"]) for symbol in ("ETH", "USDC")]
        await kassa.stop("up", signalled=signal.SIGKILL)

        await kassa.start("up", environment={"KASSA_CRASH": death})
        coin, token = [str(invoice["payment_options"][0]["address"]) for invoice in invoices]
        await anvil.fund(coin, 2 * 10**16)
        await anvil.fund(token, 50 * 10**6, "USDC")
        await anvil.mine()
        while await kassa.lives("up", 1.0):
            await anvil.mine()
        assert await kassa.died("up") == -signal.SIGKILL

        await kassa.start("up")
        await kassa.ready()
        await anvil.mine(4)
        for invoice in invoices:
            await kassa.until_invoice(invoice, status="settled", flags=[], payments=["settled"], amount_over="0.00")
        types = [event["type"] for event in await kassa.events()]
        for once in ("payment.settled", "invoice.settled"):
            assert types.count(once) == 2
        connection = await asyncpg.connect(database_url)
        books = await connection.fetch("select account, asset, sum(units) from postings group by 1, 2")
        await connection.close()
        assert {(account, asset): int(units) for account, asset, units in books if units} == {
            ("wallet:anvil", "ETH@anvil"): 2 * 10**16,
            ("sales", "ETH@anvil"): -2 * 10**16,
            ("wallet:anvil", "USDC@anvil"): 50 * 10**6,
            ("sales", "USDC@anvil"): -50 * 10**6,
        }


def _follow_by_finality(kassa: Program, anvil: AnvilNode) -> None:
    token = f'{{ symbol = "USDC", contract = "{anvil.tokens["USDC"]}", decimals = 6 }}'
    kassa.add(
        f'[networks.anvil]\nfamily = "evm"\nchain_id = 31337\nrpc_url = "{anvil.rpc_url}"\nfinality = "safe"',
        f"tokens = [{token}]\nconfirmations = [{{ blocks = 1 }}]\npoll_seconds = 1",
    )
