"""PostgreSQL fails over to a standby that lacks the last commits, beneath a running Kassa. Both are real."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from kassa.chains.bitcoin.devnode import DevNode
from kassa.db import embedded
from tests.e2e.program import Program, installed

ROLE, NAME = "shop", "shop"
UNTOLD = "revoke execute on function pg_walfile_name(pg_lsn) from public"
ORDERS = 6


class Pair:
    """A primary and its asynchronous standby; who connects is led to one of them by a symbolic link to its socket."""

    def __init__(self, folder: Path, way: Path) -> None:
        self._account = embedded._account()
        self._folders = folder / "one" / "postgres", folder / "two" / "postgres"
        self._way = way
        for each in self._folders:
            each.parent.mkdir()
        self._sockets = [embedded._serve(self._folders[0], self._account)]
        self._lead(0)
        self.url = f"postgresql://{ROLE}@/{NAME}?host={way}"

    def _lead(self, number: int) -> None:
        link = self._way / ".s.PGSQL.5432"
        link.unlink(missing_ok=True)
        link.symlink_to(self._sockets[number] / link.name)

    async def ask(self, number: int, statement: str, database: str = "kassa") -> object:
        connection = await asyncpg.connect(host=str(self._sockets[number]), user=embedded.ROLE, database=database)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def copy(self) -> None:
        """Make the standby, which follows the primary from here on."""
        two = self._folders[1]
        socket = str(self._sockets[0])
        options = ("-h", socket, "-U", embedded.ROLE, "-D", str(two), "-R", "-X", "stream", "-c", "fast")
        if self._account is not None:
            two.mkdir(mode=0o700)
            await asyncio.to_thread(shutil.chown, two, self._account, self._account)
            await asyncio.to_thread(embedded._open_the_way, two, self._account)
        await asyncio.to_thread(_run, "pg_basebackup", *options)
        self._sockets.append(await asyncio.to_thread(embedded._serve, two, self._account))

    async def until_caught_up(self) -> None:
        at = await self.ask(0, "select pg_current_wal_lsn()::text")
        async with asyncio.timeout(60):
            while not await self.ask(1, f"select pg_last_wal_replay_lsn() >= '{at}'"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def cut(self) -> None:
        """Let the standby hear of nothing more."""
        await self.ask(1, "alter system set primary_conninfo = ''")
        await self.ask(1, "select pg_reload_conf()")
        async with asyncio.timeout(60):
            while await self.ask(1, "select count(*) from pg_stat_wal_receiver"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def fail_over(self) -> None:
        """Lose the primary, and promote the standby in its place."""
        await asyncio.to_thread(_run, "pg_ctl", "stop", "-m", "immediate", "-w", "-s", "-D", str(self._folders[0]))
        assert await self.ask(1, "select pg_promote()")
        self._lead(1)

    def close(self) -> None:
        for folder in self._folders:
            with suppress(Exception):
                _run("pg_ctl", "stop", "-m", "immediate", "-w", "-s", "-D", str(folder))


def _run(program: str, *arguments: str) -> str:
    return embedded._run(program, *arguments, account=embedded._account())


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A primary; its standby is made when it is asked for."""
    with TemporaryDirectory() as way:  # a socket's path is short
        made = Pair(tmp_path, Path(way))
        yield made
        made.close()


async def order(kassa: Program, count: int) -> list[str]:
    """Make invoices and return their addresses; what is refused for the moment is asked for again."""
    addresses: list[str] = []
    async with asyncio.timeout(120):
        while len(addresses) < count:
            with suppress(OSError):
                status, made = await kassa.call("POST", "/v1/invoices", {"amount": "50.00", "currency": "EUR"})
                assert status in (201, 503), made
                if status == 201:
                    addresses.append(made["payment_options"][0]["address"])
                    continue
            await asyncio.sleep(0.1)
    return addresses


@pytest.mark.parametrize("told", [True, False], ids=["timeline", "no timeline"])
async def test_d26_a_failover_that_loses_commits_reissues_no_address(
    bitcoind: DevNode, tmp_path: Path, pair: Pair, told: bool
) -> None:
    await pair.ask(0, f"create role {ROLE} login")
    await pair.ask(0, f"create database {NAME} owner {ROLE}")
    if not told:
        await pair.ask(0, UNTOLD, NAME)
    async with installed(tmp_path / "kassa", bitcoind, pair.url) as kassa:
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store()
        kept = await order(kassa, ORDERS)
        await pair.copy()
        await pair.until_caught_up()
        await pair.cut()
        lost = await order(kassa, ORDERS)

        await pair.fail_over()
        if told:
            # Its first new connection finds another timeline; whatever keeps it running starts it again.
            assert await kassa.died("up") != 0
            assert "another server took over the database" in kassa.log("up")
            await kassa.start("up")
            await kassa.ready()
        later = await order(kassa, ORDERS)
        every = [*kept, *lost, *later]
        assert len(set(every)) == len(every) == 3 * ORDERS
        assert await kassa.lives("up", 0)
        assert "address counter moved" in kassa.log("up")
    assert await pair.ask(1, "select max(index) from addresses", NAME) >= 3 * ORDERS - 1
