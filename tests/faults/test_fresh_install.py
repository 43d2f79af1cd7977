"""E15, E40: a fresh installation listens where it says, and tells nobody anything without a key."""

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic

import aiohttp
import msgspec
import pytest

from kassa.api.document import document
from kassa.api.routes import ENDPOINTS
from kassa.chains.bitcoin.devnode import DevNode
from kassa.limits.limiter import FLUSH_SECONDS
from tests.e2e.program import Program, installed

PATHS = msgspec.json.decode(document(ENDPOINTS, "http://kassa.test"))["paths"]
GUESSES = (
    "/", "/metrics", "/admin", "/docs", "/redoc", "/schema", "/schema/openapi.json", "/openapi.json", "/v1", "/v1/keys",
    "/v1/users", "/debug", "/env", "/.env", "/.git/config", "/kassa.toml", "/server-status", "/config", "/console",
)  # fmt: skip
SECRETS = ("etc/passwd", "kassa.toml", "data/address-key", "proc/self/environ")
CLIMBS = ("..", "%2e%2e", "..%2f..%2f..%2f..", "%252e%252e", "....//", "..%5c..%5c", "%c0%ae%c0%ae", "..;")
REFUSED = {401, 404}
PROBED = {
    "/health/live": {200}, "/health/ready": {200, 503}, "/health/networks": {200, 503},
    "/v1/invoices": REFUSED, "/v1/openapi.json": REFUSED,
    "/v1/audit": REFUSED, "/metrics": REFUSED, "/admin": REFUSED, "/dashboard": {200}, "/dashboard/stores": REFUSED,
}  # fmt: skip
"""What a stranger asks for, and what they may be told at whatever moment."""
GUESSED, GUESSES_A_MINUTE = "/v1/store", 20
GUESS = {"authorization": "Bearer kassa_test_" + "A" * 43, "x-forwarded-for": "198.51.100.7"}
ROOTS = ("/i", "/l", "/dashboard/static", "/static", "/checkout", "/v1/invoices", "")


def listening(pids: set[int]) -> set[tuple[str, int]]:
    """Return the TCP addresses and ports on which processes accept connections, as the kernel knows them."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(os.readlink(link))
            except FileNotFoundError:
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                host, port = fields[1].split(":")
                found.add((host, int(port, 16)))
    return found


def family(pid: int) -> set[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = set(), [pid]
    while todo:
        found.add(one := todo.pop())
        todo += children.get(one, [])
    return found


async def answers(program: Program, method: str, path: str) -> tuple[int, str]:
    """Ask for a path exactly as it is written: a client would tidy it up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", program.port)
    writer.write(f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
    told = (await asyncio.wait_for(reader.read(), 20)).decode("utf-8", "replace")
    writer.close()
    return int(told.split(" ", 2)[1]), told


class Prober:
    """Asks for everything without a key, or with one that it guessed, all the time."""

    def __init__(self, program: Program) -> None:
        self.seen: dict[str, Counter[int]] = {path: Counter() for path in (*PROBED, GUESSED)}
        self.listening: set[tuple[str, int]] = set()
        self._program = program

    async def probe(self) -> None:
        limit = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(self._program.url, timeout=limit) as session:
            while True:
                with suppress(aiohttp.ClientError, TimeoutError):
                    while await self._ask(session, GUESSED, GUESS) == 401:
                        pass  # as many as it takes, before anybody remembers
                for path in PROBED:
                    with suppress(aiohttp.ClientError, TimeoutError):
                        await self._ask(session, path, {})
                with suppress(KeyError, ProcessLookupError, FileNotFoundError):
                    self.listening |= listening(family(self._program.pid("up")))
                await asyncio.sleep(0.1)

    async def _ask(self, session: aiohttp.ClientSession, path: str, headers: dict[str, str]) -> int:
        async with session.get(path, headers=headers) as answer:
            self.seen[path][answer.status] += 1
            return answer.status


async def test_e40_no_restart_opens_a_window_or_forgets_who_guesses(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    given = {"KASSA_DEBUGGABLE": "1", "KASSA_HTTP__TRUSTED_PROXIES": '["127.0.0.1"]'}
    given["KASSA_LIMITS__REFUSALS_PER_ADDRESS"] = str(GUESSES_A_MINUTE)
    async with installed(tmp_path / "kassa", bitcoind, database_url) as program:
        prober, began = Prober(program), monotonic()
        probing = asyncio.create_task(prober.probe())
        for signalled in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            await program.start("up", environment=given)
            await program.ready()
            await program.until(partial(refused_since, prober, prober.seen[GUESSED][429]))
            await program.stop(signalled=signalled)
        probing.cancel()
        await asyncio.wait([probing])
    for path, allowed in PROBED.items():
        assert set(prober.seen[path]) <= allowed, path
    minutes = (monotonic() - began) / 60
    assert prober.seen[GUESSED][401] <= (1.5 + minutes) * GUESSES_A_MINUTE  # and not as many again after each start
    assert set(prober.seen[GUESSED]) == {401, 429}
    assert prober.listening == {("0100007F", program.port), ("0100007F", program.ops_port)}


async def refused_since(prober: Prober, before: int) -> bool:
    """Wait until guesses were refused for longer than it takes to write down that they were made."""
    await asyncio.sleep(1.5 * FLUSH_SECONDS)
    return prober.seen[GUESSED][429] > before


@pytest.mark.timeout(240)
async def test_e15_e40_a_fresh_installation_opens_two_local_ports_and_says_nothing(
    bitcoind: DevNode, tmp_path: Path
) -> None:
    program = Program(tmp_path / "shop", bitcoind, "embedded")
    try:
        await program.start("up", environment={"KASSA_DEBUGGABLE": "1"})  # else only root sees what it listens on
        await program.ready()
        pids = family(program._processes["up"].pid)
        assert listening(pids) == {("0100007F", program.port), ("0100007F", program.ops_port)}
        database = list((program.folder / "data" / "postgres").rglob("postmaster.pid"))
        assert database != []  # it runs, on a socket of the file system alone
        assert listening({int(database[0].read_text().split()[0])}) == set()
        secrets = {path.name: path.stat().st_mode & 0o077 for path in (program.folder / "data").glob("address*")}
        assert set(secrets.values()) == {0}

        for path, item in PATHS.items():
            for method in item:
                status, _ = await answers(program, method.upper(), path.replace("{id}", "x"))
                assert status == 401, (method, path)
        assert (await answers(program, "GET", "/v1/openapi.json"))[0] == 401
        for path in GUESSES:
            status, _ = await answers(program, "GET", path)
            assert status in (401, 404), path
        for root in ROOTS:
            for climb in CLIMBS:
                for secret in SECRETS:
                    status, told = await answers(program, "GET", f"{root}/{'/'.join([climb] * 6)}/{secret}")
                    assert status in (301, 302, 307, 400, 401, 404, 422), (root, climb, secret)
                    assert not any(each in told for each in ("root:", "rpc_url", "PATH=")), (root, climb, secret)
        async with aiohttp.ClientSession() as session:
            for path in ("/", "/v1/invoices", "/debug", "/config"):
                async with session.get(f"http://127.0.0.1:{program.ops_port}{path}") as answer:
                    assert answer.status == 404, path
    finally:
        await program.stop()
        await program.close()
