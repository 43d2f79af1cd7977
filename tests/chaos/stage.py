"""What a chaos run is played on: one PostgreSQL, two nodes, six processes of the real program, and wires to break.

Two sides, `a` and `b`, each with its own way to the database and to the nodes; on each an API, a watcher and a worker.
A process that ends is started again at once, as systemd would.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from kassa.db import embedded
from tests.chaos.plan import PROCESSES, SIDES, Act
from tests.house import BITCOIN
from tests.tools import sink as answers
from tests.tools.ports import free_port
from tests.tools.sink import Sink
from tests.tools.tcp import Tcp

KASSA = str(Path(sys.executable).parent / "kassa")
RESTART_SECONDS = 0.3
ANVIL = "anvil"
_RECEIVING = {
    "503": answers.status(503),
    "500": answers.status(500),
    "slow": answers.status(200, delay=3),
    "reset": answers.reset,
    "redirect": answers.redirect(302, "http://127.0.0.1:1/"),
    "junk": answers.junk,
}
_CONFIG = """
database_url = "{database}"
data_dir = "{data}"
[http]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
ops_listen = "127.0.0.1:{ops}"
[networks.bitcoin-regtest]
family = "bitcoin"
chain = "bitcoin-regtest"
rpc_url = "{bitcoin}"
zmq = {push}
confirmations = [{{ up_to = "60 EUR", blocks = 1 }}, {{ blocks = 2 }}]
poll_seconds = 1
drop_after_seconds = 2
[networks.anvil]
family = "evm"
chain_id = 31337
rpc_url = "{anvil}"
tokens = [{{ symbol = "USDC", contract = "{usdc}", decimals = 6 }}]
confirmations = [{{ blocks = 2 }}]
poll_seconds = 1
drop_after_seconds = 2
[rates]
fixed = {{ "BTC/EUR" = "50000", "ETH/EUR" = "2500", "USDC/EUR" = "1" }}
[webhooks]
allow_private_addresses = true
"""


@dataclass
class Stage:
    """Everything that a run is played on. `direct` is a configuration past every wire, for the verdict."""

    folder: Path
    server: embedded.EmbeddedServer
    bitcoin: DevNode
    anvil: AnvilNode
    sink: Sink
    wires: dict[str, Tcp]
    ports: dict[str, int] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    exits: list[tuple[str, int]] = field(default_factory=list)
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    locks: dict[str, asyncio.Lock] = field(default_factory=lambda: {"bitcoin": asyncio.Lock(), "anvil": asyncio.Lock()})
    ending: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def direct(self) -> Path:
        return self.folder / "direct.toml"

    @property
    def urls(self) -> list[str]:
        """Return where the two APIs listen."""
        return [f"http://127.0.0.1:{self.ports[f'api-{side}']}" for side in SIDES]

    def configure(self) -> None:
        """Write a configuration for each process, and one that goes past the wires."""
        for name in (*PROCESSES, "direct"):
            side = name[-1] if name != "direct" else None
            self.ports[name] = free_port()
            (self.folder / f"{name}.toml").write_text(self._config(name, side))

    def _config(self, name: str, side: str | None) -> str:
        def through(what: str, url: str) -> str:
            if side is None:
                return url
            parts = urlsplit(url)
            words = f"{parts.username}:{parts.password}@" if parts.password else ""
            return f"{parts.scheme}://{words}127.0.0.1:{self.wires[f'{what}-{side}'].port}{parts.path}"

        database = self.server.url
        if side is not None:
            port = self.wires[f"database-{side}"].port
            database = f"postgresql://{embedded.ROLE}@127.0.0.1:{port}/kassa?sslmode=disable"
        # One side is told of new blocks over WebSocket, the other one only asks.
        anvil = self.anvil.websocket_url if side == "a" else self.anvil.rpc_url
        return _CONFIG.format(
            database=database,
            data=self.folder / "data",
            port=self.ports[name],
            ops=free_port(),
            bitcoin=through("bitcoin", self.bitcoin.rpc_url),
            push=str(list(self.bitcoin.push)).replace("'", '"'),
            anvil=through("anvil", anvil),
            usdc=self.anvil.tokens["USDC"],
        )

    def start(self) -> None:
        """Start every process, and again whenever it ends, until `end`."""
        for name in PROCESSES:
            self._spawn(self._keep(name))

    async def end(self) -> list[int]:
        """End every process by SIGTERM; return their exit codes."""
        self.ending = True
        processes = list(self.running.values())
        for process in processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
        codes = [await asyncio.wait_for(process.wait(), 30) for process in processes]
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return codes

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command past every wire; return its exit code and what it said."""
        process = await asyncio.create_subprocess_exec(
            KASSA, *arguments, "--config", str(self.direct),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(process.communicate(), 120)
        return process.returncode or 0, said.decode()

    async def act(self, act: Act) -> None:
        """Do what the plan says; what lasts is taken back later, without being waited for."""
        match act.kind:
            case "kill":
                self._signal(act.target, signal.SIGKILL)
            case "end":
                self._signal(act.target, signal.SIGTERM)
            case "freeze":
                self._signal(act.target, signal.SIGSTOP)
                self._later(act.seconds, lambda: self._signal(act.target, signal.SIGCONT))
            case "database":
                await asyncio.to_thread(self._restart_database if act.how == "immediate" else self._end_backends)
            case "wire":
                self._break(self.wires[act.target], act.how)
                self._later(act.seconds, self.wires[act.target].heal)
            case "receiver":
                self.sink.default = _RECEIVING[act.how]
                self._later(act.seconds, self.receive)
            case "fork":
                await self._fork(act)

    def receive(self) -> None:
        """Let the receiver of webhooks take everything."""
        self.sink.default = answers.status(200)

    def heal(self) -> None:
        """Take back every fault that lasts."""
        self.receive()
        for wire in self.wires.values():
            wire.heal()
        for name in PROCESSES:
            self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: int) -> None:
        process = self.running.get(name)
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    def _break(self, wire: Tcp, how: str) -> None:
        match how:
            case "reset":
                wire.reset()
            case "refuse":
                wire.refuse = True
                wire.reset()
            case "blackhole":
                wire.blackhole = True
            case "latency":
                wire.latency_seconds = 0.3
            case "slices":
                wire.piece = 7
            case "cut":
                wire.reset_after = 3_000

    async def _fork(self, act: Act) -> None:
        node = self.bitcoin if act.target == "bitcoin" else self.anvil
        async with self.locks[act.target]:
            depth = int(act.seconds)
            dropped: frozenset[str] = frozenset()
            if act.how == "drop":
                dropped = frozenset(await self._mined(act.target, depth))
            await node.fork(depth, drop=dropped)

    async def _mined(self, network: str, depth: int) -> list[str]:
        """Return the transactions of the topmost blocks but the rewards."""
        if network == "bitcoin":
            top = (await self.bitcoin.tip()).height
            found = [
                (await self.bitcoin.rpc.call("getblock", await self.bitcoin.block_hash(height)))["tx"][1:]
                for height in range(top - depth + 1, top + 1)
            ]
            return [txid for txids in found for txid in txids]
        top = (await self.anvil.tip()).height
        blocks = [
            await self.anvil.rpc.call("eth_getBlockByNumber", hex(height), False)
            for height in range(top - depth + 1, top + 1)
        ]
        return [txid for block in blocks for txid in block["transactions"]]

    def _restart_database(self) -> None:
        folder, account = self.folder / "database/postgres", embedded._account()
        embedded._run("pg_ctl", "stop", "-m", "immediate", "-w", "-s", "-D", str(folder), account=account)
        embedded._serve(folder, account)

    def _end_backends(self) -> None:
        end = (
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where usename = 'kassa' and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
        command = ["-X", "-q", "-c", end]
        socket = unquote(urlsplit(self.server.url).query.partition("=")[2])
        account = embedded._account()
        embedded._run("psql", *command, "-h", socket, "-U", embedded.ROLE, "-d", "kassa", account=account)

    async def _keep(self, name: str) -> None:
        role = name.partition("-")[0]
        while not self.ending:
            with (self.folder / f"{name}.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    KASSA, role, "--config", str(self.folder / f"{name}.toml"), stdout=log, stderr=log,
                    env=dict(os.environ),
                )  # fmt: skip
            self.running[name] = process
            self.starts[name] = self.starts.get(name, 0) + 1
            self.exits.append((name, await process.wait()))
            await asyncio.sleep(RESTART_SECONDS)

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            work()

        self._spawn(wait())

    def _spawn(self, work: "AsyncIterator[None] | object") -> None:
        task = asyncio.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Kill what still runs."""
        self.ending = True
        for process in self.running.values():
            if process.returncode is None:
                process.kill()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in self.running.values():
            await process.wait()


@asynccontextmanager
async def staged(folder: Path, bitcoin: DevNode, anvil: AnvilNode) -> AsyncIterator[Stage]:
    """Set a stage up, with the processes not yet started."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    server = await asyncio.to_thread(embedded.start, folder / "database")
    try:
        async with AsyncExitStack() as stack:
            sink = await stack.enter_async_context(Sink())
            socket = Path(unquote(urlsplit(server.url).query.partition("=")[2])) / ".s.PGSQL.5432"
            ports = {"bitcoin": urlsplit(bitcoin.rpc_url).port, "anvil": urlsplit(anvil.rpc_url).port}
            wires = {"receiver": await stack.enter_async_context(Tcp("127.0.0.1", sink.port))}
            for side in SIDES:
                wires[f"database-{side}"] = await stack.enter_async_context(Tcp(str(socket)))
                for network, port in ports.items():
                    wires[f"{network}-{side}"] = await stack.enter_async_context(Tcp("127.0.0.1", port))
            stage = Stage(folder, server, bitcoin, anvil, sink, wires)
            stage.configure()
            try:
                yield stage
            finally:
                await stage.close()
    finally:
        await asyncio.to_thread(server.close)


__all__ = ["ANVIL", "BITCOIN", "Stage", "staged"]
