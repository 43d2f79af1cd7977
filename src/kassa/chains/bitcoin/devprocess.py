"""The process of a private regtest node: its options, its ports, its start and its end."""

import asyncio
import secrets
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kassa.chains.base import Program
from kassa.core.errors import SandboxError

STOP_SECONDS = 30

_OPTIONS = (
    "-regtest",
    "-server",
    "-rest",
    "-txindex",
    "-rpcallowip=127.0.0.1",
    "-rpcbind=127.0.0.1",
    "-rpcthreads=8",
    "-rpcworkqueue=256",
    "-dbcache=16",
    "-keypool=100",
    "-fallbackfee=0.0002",
    "-maxtipage=3153600000",  # an old tip is no sign of being behind, where blocks come on demand
    "-walletrbf",
    "-checkmempool=0",  # regtest's default makes every send cost the whole mempool
    # `fund_each` makes thousands of payments from the outputs of one unconfirmed transaction.
    "-limitdescendantcount=10000",
    "-limitdescendantsize=5000",
    "-listenonion=0",
    "-discover=0",
    "-dnsseed=0",
    "-printtoconsole=0",
    "-nodebuglogfile",
)
_BITCOIN = ("-unsafesqlitesync",)  # a wallet of play money need not survive a power cut
_LITECOIN = (
    "-mempoolreplacement=1",
    # Mining stops at height 432, where MWEB begins, unless someone pegs in: let it never begin.
    "-vbparams=mweb:9223372036854775800:9223372036854775801",
)
_TOPICS = ("rawtx", "hashtx", "rawblock", "hashblock", "sequence")


@dataclass(frozen=True, slots=True)
class Ports:
    """The loopback ports of one node; a port that is None is not opened."""

    rpc: int
    zmq: int | None
    peers: int | None


class NodeProcess:
    """One running node program and its data directory."""

    def __init__(self, program: Program, datadir: Path, chain: str, *, zmq: bool, peers: bool) -> None:
        self._program = program
        self._datadir = datadir
        self._chain = chain
        # Litecoin Core as Debian builds it knows no ZMQ.
        self.ports = Ports(
            free_port(), free_port() if zmq and chain.startswith("bitcoin") else None, free_port() if peers else None
        )
        self.user, self.password = "kassa", secrets.token_hex(16)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The id of the running process; raise `SandboxError` when there is none."""
        if self._process is None:
            raise SandboxError(f"the {self._program.name} in {self._datadir} is not running; call restart()")
        return self._process.pid

    async def launch(self, arguments: Sequence[str] = ()) -> None:
        """Start the program; it answers calls a little later."""
        self._write_credentials()
        command = [*self._program.argv, *self._options(), *arguments]
        with self._output.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)

    def check(self) -> None:
        """Raise `SandboxError` with the program's last words if it has ended."""
        if self._process is None or self._process.returncode is not None:
            words = self._output.read_text(errors="replace").strip()[-500:]
            raise SandboxError(f"{self._program.name} ended instead of serving {self._datadir}: {words}")

    async def stop(self) -> None:
        """Ask the process to end and wait for it; kill it if it does not."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End the process at once, as a power cut would."""
        await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(how)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    def _write_credentials(self) -> None:
        self._datadir.mkdir(parents=True, exist_ok=True)
        # In a file, because every user of the machine can read a command line.
        self._credentials.touch(mode=0o600)
        self._credentials.write_text(f"rpcuser={self.user}\nrpcpassword={self.password}\n")

    @property
    def _credentials(self) -> Path:
        return self._datadir / "kassa.conf"

    @property
    def _output(self) -> Path:
        return self._datadir / "output.log"

    def _options(self) -> list[str]:
        options = [*_OPTIONS, f"-datadir={self._datadir}", f"-conf={self._credentials}", f"-rpcport={self.ports.rpc}"]
        if self.ports.zmq is not None:
            options += [f"-zmqpub{topic}=tcp://127.0.0.1:{self.ports.zmq}" for topic in _TOPICS]
        if self.ports.peers is None:
            options.append("-listen=0")
        else:
            options += [f"-bind=127.0.0.1:{self.ports.peers}", "-listen", "-whitelist=noban,relay@127.0.0.1"]
        options += _LITECOIN if self._chain.startswith("litecoin") else _BITCOIN
        if "Knots" in self._program.version:
            options.append("-corepolicy")  # Knots refuses by default much of what the network relays
        return options


def free_port() -> int:
    """Return a loopback port nobody listens on, below the range from which outgoing connections draw theirs."""
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
