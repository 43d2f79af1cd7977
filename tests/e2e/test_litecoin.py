"""A second network is data and nothing else: the same job on Litecoin, whose node pushes nothing."""

from pathlib import Path

from kassa.chains.bitcoin.devnode import DevNode
from kassa.db.pool import Database
from tests.shop import address, open_shop


async def test_an_invoice_in_litecoin_settles_and_survives_a_reorganisation(
    litecoind: DevNode, database: Database, tmp_path: Path
) -> None:
    async with open_shop(litecoind, database, tmp_path, network="litecoin-regtest") as shop:
        invoice = await shop.invoice("8.00")
        option = invoice["payment_options"][0]
        assert (option["asset"], option["amount"]) == ("LTC@litecoin-regtest", "0.10000000")
        assert option["uri"].startswith("litecoin:rltc1q")
        txid = await litecoind.fund(address(invoice), 10_000_000)
        await shop.until(invoice, status="processing", payments=["detected"])
        await litecoind.mine()
        await shop.until(invoice, status="settled")
        await litecoind.fork(1, drop={txid})
        await shop.until(invoice, status="processing", flags=["reversed"])
        await litecoind.mine()
        await shop.until(invoice, status="settled", flags=[])
