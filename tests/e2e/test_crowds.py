"""E43: the real program while strangers begin payments of links that they never make, from everywhere at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_urlsafe
from statistics import median
from time import monotonic
from typing import Any

import asyncpg
import pytest

from kassa.chains.bitcoin.devnode import DevNode
from tests.e2e.program import Program, installed
from tests.e2e.test_floods import memory_kb
from tests.sizes import size

ATTEMPTS, ADDRESSES, CALLERS, LINKS = size(2_500, 100_000), 500, 200, 10
BOUND = 400
"""Of unpaid addresses in a row; strangers may have half."""
SLACK, ORDERS = 20, 300
"""What is being written while the count is read anew is not in it yet; half of the shop's first calls are orders."""
PAUSE_SECONDS = size(1, 20) / 4
"""Between the shop's orders, which are bounded as well."""
SHARE = 0.15
"""Of a stranger's wait is what the shop may wait, however busy the machine: in one queue with them it is a third."""
GROWTH_KB = 30_000


@pytest.fixture
async def kassa(bitcoind: DevNode, database_url: str, tmp_path: Path) -> AsyncIterator[Program]:
    given = {"KASSA_LIMITS__UNPAID_ADDRESSES": str(BOUND), "KASSA_HTTP__TRUSTED_PROXIES": '["127.0.0.1"]'}
    async with installed(tmp_path / "kassa", bitcoind, database_url) as program:
        await program.start("up", environment=given)
        await program.ready()
        await program.open_store()
        yield program


class Crowd:
    """Browsers that each begin one payment, with a cookie of their own, from the next of so many addresses."""

    def __init__(self, port: int, links: list[str]) -> None:
        self.answers, self.waits = Counter[int](), list[float]()
        self._port, self._links = port, links
        self._turns: Iterator[int] = iter(range(ATTEMPTS))

    async def come(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._begin_again_and_again())

    async def _begin_again_and_again(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for turn in self._turns:
                began = monotonic()
                writer.write(self._form(turn))
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                self.answers[int(head[9:12])] += 1
                self.waits.append(monotonic() - began)
                await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))
        finally:
            writer.transport.abort()

    def _form(self, turn: int) -> bytes:
        token, address = token_urlsafe(24), f"198.18.{turn % ADDRESSES // 250}.{turn % 250}"
        return (
            f"POST /l/{self._links[turn % LINKS]} HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {address}\r\n"
            f"cookie: kassa-payer={token}\r\ncontent-type: application/x-www-form-urlencoded\r\n"
            f"content-length: {len(token) + 6}\r\n\r\ntoken={token}"
        ).encode()


@asynccontextmanager
async def crowded(kassa: Program) -> AsyncIterator[tuple[Crowd, "asyncio.Task[None]"]]:
    """Let strangers come to links of the shop; at the end all of them have gone."""
    wanted = {"title": "Coffee", "amount": "9.90", "reusable": True}
    links = [(await kassa.call("POST", "/v1/payment-links", wanted))[1]["id"] for _ in range(LINKS)]
    crowd = Crowd(kassa.port, links)
    async with asyncio.TaskGroup() as group:
        yield crowd, group.create_task(crowd.come())


async def timed(answer: Any) -> float:  # a coroutine
    began = monotonic()
    await answer
    return monotonic() - began


@pytest.mark.catalogue
async def test_e43_a_crowd_that_never_pays_takes_neither_speed_nor_addresses_nor_memory_from_the_shop(
    kassa: Program, bitcoind: DevNode, database_url: str
) -> None:
    paying, waits = await kassa.invoice(), []
    before = memory_kb(kassa)
    async with crowded(kassa) as (crowd, coming):
        while not coming.done():
            waits.append(await timed(kassa.call("GET", f"/v1/invoices/{paying['id']}")))
            if len(waits) < ORDERS:
                waits.append(await timed(kassa.invoice()))
            await asyncio.sleep(PAUSE_SECONDS)
            if paying["status"] == "new":
                await bitcoind.fund(paying["payment_options"][0]["address"], 100_000)
                paying = await kassa.until_invoice(paying, status="processing")
    assert crowd.answers.total() == ATTEMPTS
    assert set(crowd.answers) <= {303, 429, 503}
    assert median(waits) < SHARE * median(crowd.waits)
    assert memory_kb(kassa) - before < GROWTH_KB

    connection = await asyncpg.connect(database_url)
    try:
        taken, attempts = await connection.fetchrow(
            "select (select count(*) from invoices where link_id is not null), (select count(*) from link_attempts)"
        )
        counted = await connection.fetchval("select count(*) / count(distinct start) from request_counts")
    finally:
        await connection.close()
    assert taken == attempts == crowd.answers[303] <= BOUND // 2 + SLACK
    assert counted <= ADDRESSES + 2  # of each window; the key and its store are counted as well
    await bitcoind.mine()
    await kassa.until_invoice(paying, status="settled")
