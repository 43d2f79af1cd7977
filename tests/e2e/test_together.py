"""D12, D23: the same and different orders at the same moment, at several processes of one installation."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from kassa.chains.bitcoin.devnode import DevNode
from kassa.db.pool import Database
from tests.e2e.program import Json, Program, installed
from tests.locks import WAITING
from tests.sizes import size
from tests.tools.ports import free_port

pytestmark = pytest.mark.catalogue
ORDER = {"amount": "50.00", "currency": "EUR"}
Answer = tuple[int, bytes]


@pytest.fixture
async def kassa(bitcoind: DevNode, database_url: str, tmp_path: Path) -> AsyncIterator[Program]:
    async with installed(tmp_path / "kassa", bitcoind, database_url) as program:
        await program.start("watch", "api")
        await program.ready()
        await program.open_store()
        yield program


@asynccontextmanager
async def serving(kassa: Program, count: int) -> AsyncIterator[Sequence[aiohttp.ClientSession]]:
    """Let so many processes serve the API; return a client of each."""
    ports = [kassa.port, *(free_port() for _ in range(count - 1))]
    for number, port in enumerate(ports[1:]):
        listen = {"KASSA_HTTP__LISTEN": f"127.0.0.1:{port}", "KASSA_HTTP__OPS_LISTEN": f"127.0.0.1:{free_port()}"}
        await kassa.start("api", environment=listen, name=f"api-{number}")
    headers = {"Authorization": f"Bearer {kassa.key}"}
    sessions = [aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) for port in ports]

    async def listening() -> bool:
        try:
            for session in sessions:
                await session.get("/health/live")
        except aiohttp.ClientError:
            return False
        return True

    try:
        await kassa.until(listening, seconds=30 * count)  # they start at once
        yield sessions
    finally:
        for session in sessions:
            await session.close()


async def order(session: aiohttp.ClientSession, body: Json, **headers: str) -> Answer:
    async with session.post("/v1/invoices", json=body, headers=headers) as answer:
        return answer.status, await answer.read()


async def test_d23_d12_several_processes_give_each_order_its_own_address_and_take_a_repeated_one_once(
    kassa: Program, database: Database
) -> None:
    processes, orders, repeats = size(2, 8), size(100, 500), size(40, 100)
    bodies = [{**ORDER, "reference": f"order-{n}"} for n in range(orders)]
    key = {"Idempotency-Key": "repeated"}

    async def are_writing() -> bool:
        return bool(await database.pool.fetchval(WAITING) >= processes)

    async with serving(kassa, processes) as sessions, database.pool.acquire() as connection:
        made = await asyncio.gather(*(order(sessions[n % processes], body) for n, body in enumerate(bodies)))
        indexes = await connection.fetchval("select array_agg(index order by index) from addresses")
        async with connection.transaction():
            # Each process finds no answer yet and does the work: let go when all of them are about to write theirs.
            await connection.execute("lock table idempotency_keys in share mode")
            asked = asyncio.gather(*(order(sessions[n % processes], ORDER, **key) for n in range(repeats)))
            await kassa.until(are_writing)
        answers = await asked
        # Who was told that it is still running asks again, as the answer says.
        again = {answer if answer[0] == 201 else await order(sessions[0], ORDER, **key) for answer in answers}
    assert {status for status, _ in made} == {201}
    assert indexes == list(range(orders))
    assert {status for status, _ in answers} <= {201, 409}
    assert [status for status, _ in again] == [201]  # one and the same body
    counted = "select (select count(*) from invoices), (select count(*) from events), count(distinct script)"
    assert tuple(await database.pool.fetchrow(f"{counted} from addresses")) == (orders + 1,) * 3
