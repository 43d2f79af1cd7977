"""Live rates, from outside: the real program beside a stand-in for the exchanges."""

import json
from pathlib import Path
from typing import Any

from kassa.chains.bitcoin.devnode import DevNode
from tests.e2e.program import installed
from tests.tools.exchanges import exchanges

SOURCES = ("kraken", "coinbase", "bitstamp")


async def test_an_invoice_is_priced_by_live_sources_and_the_doctor_knows_them(
    bitcoind: DevNode, tmp_path: Path, database_url: str
) -> None:
    async with exchanges() as market, installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        market.prices |= {"BTC/EUR": "60000", "BTC/USD": "70000", "kraken BTC/EUR": "59400"}
        environment = {
            "KASSA_RATES__SOURCES": json.dumps(SOURCES),
            "KASSA_RATES__FIXED": "{}",
            "KASSA_RATES__FETCH_SECONDS": "1",
            "KASSA_RATES__URLS": "{" + ", ".join(f'{n} = "{url}"' for n, url in market.urls(*SOURCES).items()) + "}",
        }
        await kassa.run("migrate", environment=environment)
        for role in ("api", "watch", "work"):
            await kassa.start(role, environment=environment)
        await kassa.ready()
        await kassa.open_store()
        await kassa.run("store", "spread", "--store", kassa.store, "1%")
        made: Any = {}

        async def all_three() -> bool:
            nonlocal made
            _, made = await kassa.call("POST", "/v1/invoices", {"amount": "60.00", "currency": "EUR"})
            return bool(made.get("payment_options", [{}])[0].get("rate_source") == f"median({','.join(SOURCES)})")

        await kassa.until(all_three)
        market.faults["bitstamp"] = "451"

        async def told() -> bool:
            return "451" in (await kassa.run("doctor", environment=environment))[1]

        await kassa.until(told)
        _, examined = await kassa.run("doctor", "--json", environment=environment)

    assert made["payment_options"][0]["rate"] == "59400.00"
    assert made["payment_options"][0]["amount"] == "0.00101011"
    found = {finding["check"]: finding for finding in json.loads(examined.splitlines()[-1])["findings"]}
    assert (found["rate BTC/EUR"]["verdict"], found["source bitstamp"]["verdict"]) == ("ok", "warn")
    assert "rates" not in found
    assert kassa.log("work").count("status 451") == 1
