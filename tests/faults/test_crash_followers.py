"""D6: two followers of one network; the one that froze wakes up and can write nothing."""

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from kassa.chains.bitcoin.devnode import DevNode
from tests.faults.crashing import (
    Databases,
    Run,
    caught_up,
    follow_once,
    invoice,
    open_shop,
    opened,
    running,
    story,
    until,
)
from tests.faults.runner import LOST
from tests.oracle import Oracle, check_chain
from tests.truth import truth

LEASE = {"RUNNER_LEASE": "1", "RUNNER_IDLE": "2"}
PATIENT = {"RUNNER_LEASE": "60", "RUNNER_IDLE": "60"}
"""Of who must not lose the lease, or a transaction, when a busy machine lets it wait for seconds."""
# A statement's trigger fires also where no row was changed: when the lease was asked for, and another one holds it.
_COUNT_ASKERS = """
create table askers (pid int);
create function note_asker() returns trigger language plpgsql as $$
begin
    if current_query() like '%fence = fence + 1%' then insert into askers values (pg_backend_pid()); end if;
    return null;
end $$;
create trigger note_asker after update on networks for each statement execute function note_asker();
"""
PAID = [
    "invoice.created", "payment.detected", "invoice.processing", "payment.settled", "invoice.settled",
]  # fmt: skip


@dataclass
class Shop:
    """A shop with one invoice, and the node that it follows."""

    url: str
    folder: Path
    node: DevNode
    address: str
    due: int

    def follower(self, name: str, **environment: str) -> "AsyncIterator[Run]":
        return running(self.url, self.folder / name, self.node.rpc_url, **LEASE | environment)  # type: ignore[return-value]

    async def ask(self, query: str) -> object:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def count_askers(self) -> None:
        """Let the database write down whoever asks for the lease from now on."""
        connection = await asyncpg.connect(self.url)
        await connection.execute(_COUNT_ASKERS)
        await connection.close()

    async def fence(self) -> object:
        return await self.ask("select fence from networks")

    async def check(self) -> None:
        """O3, O11, and one event for each thing that happened."""
        async with opened(self.url, self.folder / "after", self.node.rpc_url) as house:
            await Oracle(house).check()
            await check_chain(house, await truth(house, self.node.rpc_url), looked=True)
            assert [line[1] for line in await story(house)] == PAID
            assert await house.database.pool.fetchval("select count(*) from entries") == 1


@pytest.fixture
async def shop(bitcoind: DevNode, postgres_url: str, template: str, tmp_path: Path) -> AsyncIterator[Shop]:
    databases = Databases(postgres_url, template, [])
    url = await databases.copy()
    async with opened(url, tmp_path / "shop", bitcoind.rpc_url) as house:
        store = await open_shop(house)
        await follow_once(house, bitcoind.rpc_url)
        address, due = await invoice(house, store)
    yield Shop(url, tmp_path, bitcoind, address, due)
    await databases.drop()


async def frozen(run: Run) -> None:
    """Wait until the process has stopped itself."""

    async def holds() -> bool:
        return Path(f"/proc/{run.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"  # noqa: ASYNC240

    await until(holds, "the process froze")


async def pay_and_mine(shop: Shop) -> None:
    await shop.node.fund(shop.address, shop.due)

    async def seen() -> object:
        return await shop.ask("select count(*) from payments")

    await until(seen, "the payment was seen")
    await shop.node.mine()


async def test_d6_the_second_follower_stands_by(shop: Shop) -> None:
    async with shop.follower("first", **PATIENT):
        await caught_up(shop.url, shop.node)
        fence = await shop.fence()
        await shop.count_askers()
        async with shop.follower("second", **PATIENT):
            await until(lambda: shop.ask("select count(*) > 1 from askers"), "the second asked for the lease twice")
            await pay_and_mine(shop)
            await shop.node.mine(2)
            await caught_up(shop.url, shop.node)
            assert await shop.fence() == fence
    await shop.check()


async def test_d6_a_follower_that_froze_before_its_transaction_has_lost_the_lease(shop: Shop) -> None:
    # Its clock's gate sleeps: frozen within a transaction it would end by another error, its connection being closed.
    async with shop.follower("first", RUNNER_FREEZE="read", RUNNER_TICK="60") as first:
        await pay_and_mine(shop)
        await frozen(first)
        fence = await shop.fence()
        async with shop.follower("second", **PATIENT):
            await caught_up(shop.url, shop.node)
            await shop.node.mine()
            await caught_up(shop.url, shop.node)
            assert await shop.fence() == fence + 1
            os.kill(first.pid, signal.SIGCONT)
            assert await first.ended() == LOST
            await caught_up(shop.url, shop.node)
            assert await shop.fence() == fence + 1
    await shop.check()


@pytest.mark.parametrize("point", ["chain.held", "chain.commit"])
async def test_d6_a_follower_that_froze_within_its_transaction_blocks_nobody_for_long(shop: Shop, point: str) -> None:
    """The database itself ends the transaction of a silent process, and with it the locks that it holds."""
    async with shop.follower("first", RUNNER_FREEZE=point) as first:
        await pay_and_mine(shop)
        await frozen(first)
        async with shop.follower("second", **PATIENT):
            await caught_up(shop.url, shop.node)
            os.kill(first.pid, signal.SIGCONT)
            assert await first.ended() != 0
            await caught_up(shop.url, shop.node)
    await shop.check()
