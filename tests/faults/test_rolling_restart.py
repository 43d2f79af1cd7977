"""Every process restarted in turn while orders are made and paid: nothing is lost, nothing is doubled (D6, D26)."""

import asyncio
from collections import Counter
from pathlib import Path
from socket import gethostname

import aiohttp
import asyncpg
import pytest

from kassa.chains.bitcoin.devnode import DevNode
from tests.e2e.program import Json, Program, installed
from tests.tools.ports import free_port
from tests.tools.sink import Sink

START_SECONDS = 150
"""For one of six processes on a busy machine."""
FLEET = ("watch-1", "watch-2", "work-1", "work-2", "api-1", "api-2")


class Fleet:
    """Two processes of each role of one installation."""

    def __init__(self, kassa: Program, database_url: str) -> None:
        self.kassa, self.database_url = kassa, database_url
        self.ports = {"api-1": kassa.port, "api-2": free_port()}
        self.keys: dict[str, str] = {}  # invoice ids by the key that asked for them
        self.kept: list[bool] = []

    async def start(self, name: str) -> None:
        role = name.partition("-")[0]
        environment = {"KASSA_HTTP__OPS_LISTEN": f"127.0.0.1:{free_port()}"}
        if name in self.ports:
            environment["KASSA_HTTP__LISTEN"] = f"127.0.0.1:{self.ports[name]}"
        running = "listening" if name in self.ports else "running"
        before = self.said(name, running)
        await self.kassa.start(role, environment=environment, name=name)

        async def runs() -> bool:
            return self.said(name, running) > before

        await self.kassa.until(runs, seconds=START_SECONDS)

    def said(self, name: str, event: str) -> int:
        path = self.kassa.folder / f"{name}.log"
        return path.read_text().count(f'"event": "{event}"') if path.exists() else 0

    async def restart_each(self) -> list[int]:
        """Restart one after the other, each only when the one before serves again; return the exit codes."""
        codes = []
        for name in FLEET:
            holder = f"{gethostname()}:{self.kassa.pid(name)}"
            followed = (await self.lease())[0] == holder
            codes += await self.kassa.stop(name)
            # It is given back, so that nobody waits for its end.
            self.kept += [await self.lease() == (holder, True)] if followed else []
            await asyncio.sleep(1)  # under load without it
            await self.start(name)
        return codes

    async def lease(self) -> tuple[str, bool]:
        """Return who follows the network, or did so last, and whether their lease still runs."""
        connection = await asyncpg.connect(self.database_url)
        try:
            holder, runs = await connection.fetchrow("select holder, lease_until > now() from networks")
            return holder, runs
        finally:
            await connection.close()

    async def order(self, number: int) -> Json:
        """Make an invoice at one of the two, and at the other one as long as there is no answer."""
        headers = {"Authorization": f"Bearer {self.kassa.key}", "Idempotency-Key": f"order-{number}"}
        body = {"amount": "50.00", "currency": "EUR", "reference": f"order-{number}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for attempt in range(1000):
                port = list(self.ports.values())[(number + attempt) % 2]
                try:
                    async with session.post(f"http://127.0.0.1:{port}/v1/invoices", json=body) as answer:
                        made: Json = await answer.json()
                        if answer.status == 201:
                            self.keys[headers["Idempotency-Key"]] = made["id"]
                            return made
                        assert answer.status in (409, 503), made  # "in progress", "try again"
                except aiohttp.ClientError:
                    pass  # refused, or cut off: the same request again is safe
                await asyncio.sleep(0.05)
        raise AssertionError("nobody ever answered")


async def load(fleet: Fleet, node: DevNode, end: asyncio.Event) -> None:
    """Order and pay until the end, and mine a block after every third payment."""
    number = 0
    while not end.is_set():
        made = await fleet.order(number)
        await node.fund(made["payment_options"][0]["address"], 100_000)
        number += 1
        if number % 3 == 0:
            await node.mine()
        await asyncio.sleep(0.2)
    await node.mine()


@pytest.mark.timeout(900)
async def test_a_rolling_restart_under_load_loses_and_doubles_nothing(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    async with Sink() as sink, installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        fleet = Fleet(kassa, database_url)
        for name in FLEET:
            await fleet.start(name)
        await kassa.ready()
        await kassa.open_store()
        await kassa.call("POST", "/v1/webhooks", {"url": f"{sink.url}/hook", "events": ["*"]})
        end = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(load(fleet, bitcoind, end))
            codes = await fleet.restart_each()
            end.set()
        for made in fleet.keys.values():
            await kassa.until_invoice({"id": made}, status="settled", payments=["settled"])
        history = await kassa.events()
        await sink.until(lambda: len({got.headers["webhook-id"] for got in sink.got}) >= len(history), seconds=40)
        await kassa.stop()

        assert codes == [0] * len(FLEET)
        made = await stored(database_url)
        assert len(fleet.keys) > len(FLEET)
        assert made == {f"order-{n}": 1 for n in range(len(fleet.keys))}
        assert [event["sequence"] for event in history] == list(range(1, len(history) + 1))
        once = Counter((event["type"], event["data"]["object"]["id"]) for event in history)
        assert {key: times for key, times in once.items() if times > 1} == {}
        received = Counter(got.headers["webhook-id"] for got in sink.got)
        assert received == Counter(event["id"] for event in history)
        assert set(fleet.kept) == {False}


async def stored(url: str) -> dict[str, int]:
    """Return how many invoices there are of each reference."""
    connection = await asyncpg.connect(url)
    try:
        return dict(await connection.fetch("select reference, count(*) from invoices group by 1"))
    finally:
        await connection.close()
