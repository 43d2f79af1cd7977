"""The real program in processes of its own, seen only from outside: the command line, HTTP in, webhooks out."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from kassa.chains.bitcoin.devnode import DevNode
from kassa.core.clock import SystemClock
from kassa.settings.read import read_settings
from tests.house import BITCOIN, PLACES, TPUB, Place
from tests.tools.ports import free_port

Json = dict[str, Any]
LIMIT_SECONDS = 40
KASSA = str(Path(sys.executable).parent / "kassa")


class Program:
    """One installation of Kassa: its configuration, its processes and a client of its API."""

    def __init__(self, folder: Path, node: DevNode, database_url: str, confirmations: str = "[{ blocks = 1 }]") -> None:
        self.folder, self.node = folder, node
        self.port, self.ops_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "kassa.toml"
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._session = aiohttp.ClientSession(self.url)
        self._browsers: list[aiohttp.ClientSession] = []
        self.key = ""
        self.store = ""
        folder.mkdir(exist_ok=True)
        self.config.write_text(
            f"""
database_url = "{database_url}"
data_dir = "{folder / "data"}"
[http]
listen = "127.0.0.1:{self.port}"
public_url = "{self.url}"
ops_listen = "127.0.0.1:{self.ops_port}"
[networks.{BITCOIN}]
family = "bitcoin"
chain = "bitcoin-regtest"
rpc_url = "{node.rpc_url}"
zmq = {json.dumps(node.push)}
confirmations = {confirmations}
poll_seconds = 1
drop_after_seconds = 2
[rates]
fixed = {{ "BTC/EUR" = "50000", "LTC/EUR" = "80", "ETH/EUR" = "2500", "USDC/EUR" = "1" }}
[webhooks]
allow_private_addresses = true
"""
        )

    async def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command to its end; return its exit code and all that it printed."""
        process = await asyncio.create_subprocess_exec(
            KASSA,
            *arguments,
            "--config",
            str(self.config),
            stdout=PIPE,
            stderr=PIPE,
            env=self._environment(environment),
        )
        out, err = await asyncio.wait_for(process.communicate(), 3 * LIMIT_SECONDS)
        return process.returncode or 0, (out + err).decode()

    async def start(
        self, *roles: str, environment: Mapping[str, str] | None = None, name: str = "", before: Sequence[str] = ()
    ) -> None:
        """Start roles ("up", or "api", "watch", "work" apart), each in a process; their output goes to files.

        `name`: what else to call the process of one role, where there are several. `before`: a program that becomes it.
        """
        for role in roles:
            with (self.folder / f"{name or role}.log").open("ab") as log:
                self._processes[name or role] = await asyncio.create_subprocess_exec(
                    *before,
                    KASSA,
                    role,
                    "--config",
                    str(self.config),
                    stdout=log,
                    stderr=log,
                    env=self._environment(environment),
                )

    async def stop(self, *roles: str, signalled: int = signal.SIGTERM) -> list[int]:
        """End roles (all without a name) by a signal; return their exit codes."""
        codes = []
        for role in roles or list(self._processes):
            process = self._processes.pop(role)
            if process.returncode is None:
                process.send_signal(signalled)
            codes.append(await asyncio.wait_for(process.wait(), LIMIT_SECONDS))
        return codes

    async def died(self, role: str) -> int:
        """Wait until a role's process ended by itself; return its exit code."""
        return await asyncio.wait_for(self._processes.pop(role).wait(), LIMIT_SECONDS)

    def pid(self, role: str) -> int:
        """Return the id of a role's process."""
        return self._processes[role].pid

    async def lives(self, role: str, seconds: float) -> bool:
        """Tell whether a role's process still runs after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._processes[role].wait()
        except TimeoutError:
            return True
        return False

    async def ready(self) -> None:
        """Wait until the program says that it is ready."""

        async def look() -> bool:
            for role, process in self._processes.items():
                if process.returncode is not None:
                    raise AssertionError(f"kassa {role} ended:\n{self.log(role)}")
            try:
                async with self._session.get("/health/ready") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await self.until(look, seconds=3 * LIMIT_SECONDS)  # several processes may be starting at once

    def log(self, role: str) -> str:
        """Return what a role printed so far."""
        return (self.folder / f"{role}.log").read_text(errors="replace")

    def add(self, *sections: str) -> None:
        """Write further sections into the settings; to be done before the start."""
        with self.config.open("a") as file:
            file.write("\n".join(sections))

    async def open_store(self, **wallets: str) -> None:
        """Make a test store with a wallet and a key, by the command line; `wallets`: further ones, by network."""
        code, told = await self.run("store", "create", "--name", "Shop", "--currency", "EUR", "--test", "--json")
        assert code == 0, told
        made = json.loads(told.splitlines()[-1])
        self.store, self.key = made["store_id"], made["api_key"]
        for network, key in {BITCOIN: TPUB, **wallets}.items():
            wallet = ("wallet", "add", "--store", self.store, "--network", network, "--descriptor", key, "--json")
            code, told = await self.run(*wallet)
            assert code == 0, told

    async def call(self, method: str, path: str, body: Json | None = None, **headers: str) -> tuple[int, Json]:
        """Ask the API; return status and answer."""
        headers = {"Authorization": f"Bearer {self.key}", **headers}
        async with self._session.request(method, path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def metrics(self) -> str:
        """Return what the operations port tells."""
        async with self._session.get(f"http://127.0.0.1:{self.ops_port}/metrics") as answer:
            assert answer.status == 200
            return await answer.text()

    async def invoice(self, **body: object) -> Json:
        """Make an invoice over 50 EUR (0.001 BTC)."""
        status, made = await self.call("POST", "/v1/invoices", {"amount": "50.00", "currency": "EUR", **body})
        assert status == 201, made
        return made

    async def until_invoice(self, invoice: Json, **expected: object) -> Json:
        """Wait until the API shows all of this of an invoice; `payments` compares their statuses."""
        shown: Json = {}

        async def look() -> bool:
            nonlocal shown
            shown = (await self.call("GET", f"/v1/invoices/{invoice['id']}"))[1]
            part = {name: shown[name] for name in expected}
            if "payments" in expected:
                part["payments"] = [payment["status"] for payment in shown["payments"]]
            return part == expected

        try:
            await self.until(look)
        except TimeoutError:
            raise AssertionError(f"expected {expected}, still {shown}") from None
        return shown

    async def events(self) -> list[Json]:
        """Return the store's whole history."""
        found: list[Json] = []
        cursor = None
        while True:
            after = f"&after={cursor}" if cursor else ""
            _, page = await self.call("GET", f"/v1/events?limit=100{after}")
            found += page["data"]
            cursor = page["next_cursor"]
            if not cursor or not page["data"]:
                return found

    async def until(self, holds: Any, seconds: float = LIMIT_SECONDS) -> None:
        """Wait until an asynchronous condition holds."""
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110 another process tells nobody
                await asyncio.sleep(0.02)

    def browser(self) -> aiohttp.ClientSession:
        """Return a client that keeps cookies and has no key."""
        made = aiohttp.ClientSession(self.url, cookie_jar=aiohttp.CookieJar(unsafe=True))
        self._browsers.append(made)
        return made

    async def close(self) -> None:
        """Kill what still runs."""
        for browser in self._browsers:
            await browser.close()
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()
        await self._session.close()

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return {**os.environ, **(more or {})}


@asynccontextmanager
async def installed(folder: Path, node: DevNode, database_url: str, **settings: str) -> AsyncIterator[Program]:
    """Install Kassa in a folder, not started; whatever runs of it at the end is killed."""
    program = Program(folder, node, database_url, **settings)
    try:
        yield program
    finally:
        await program.close()
        if database_url != "embedded":
            networks = read_settings(program.config, {}).networks
            PLACES[urlsplit(database_url).path.lstrip("/")] = Place(networks, SystemClock())
