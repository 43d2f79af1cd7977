"""The real program while its PostgreSQL goes down and comes back, with somebody asking all the time."""

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path

import aiohttp

from kassa.chains.bitcoin.devnode import DevNode
from kassa.db import embedded
from tests.e2e.program import Program, installed

ORDER = {"amount": "49.90", "currency": "EUR"}
CLIENTS, RESTARTS = 6, 3


def restart(folder: Path, how: str) -> None:
    account = embedded._account()
    embedded._run("pg_ctl", "stop", "-m", how, "-w", "-s", "-D", str(folder), account=account)
    embedded._serve(folder, account)


async def ask(kassa: Program, number: int, said: Counter[int], bare: list[str], over: asyncio.Event) -> None:
    """Order and read until it is over; count what was answered, and keep each 503 that does not say when to come."""
    limit, turn = aiohttp.ClientTimeout(total=20), 0
    auth = {"authorization": f"Bearer {kassa.key}"}
    async with aiohttp.ClientSession(kassa.url, timeout=limit, headers=auth) as session:
        while not over.is_set():
            turn += 1
            again = {"idempotency-key": f"{number}-{turn}"} if turn % 3 == 0 else {}
            method, body = ("POST", ORDER) if turn % 2 else ("GET", None)
            async with session.request(method, "/v1/invoices", json=body, headers=again) as answer:
                said[answer.status] += 1
                if answer.status == 503 and "retry-after" not in answer.headers:
                    bare.append(await answer.text())
            if answer.status == 503:
                await asyncio.sleep(0.01)


async def test_no_request_is_a_500_while_postgresql_restarts(bitcoind: DevNode, tmp_path: Path) -> None:
    server = await asyncio.to_thread(embedded.start, tmp_path / "database")
    folder = tmp_path / "database/postgres"
    said: Counter[int] = Counter()
    bare: list[str] = []
    over = asyncio.Event()
    try:
        async with installed(tmp_path / "kassa", bitcoind, server.url) as kassa:
            await kassa.start("up")
            await kassa.ready()
            await kassa.open_store()
            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(ask(kassa, number, said, bare, over))
                for turn in range(RESTARTS):
                    await asyncio.sleep(0.5)
                    await asyncio.to_thread(restart, folder, ("immediate", "fast")[turn % 2])
                before = said[201]
                async with asyncio.timeout(30):
                    while said[201] < before + 20:  # noqa: ASYNC110  # it heals by itself
                        await asyncio.sleep(0.05)
                over.set()
    finally:
        with suppress(Exception):
            await asyncio.to_thread(server.close)
    assert set(said) == {200, 201, 503}, said
    assert not bare
