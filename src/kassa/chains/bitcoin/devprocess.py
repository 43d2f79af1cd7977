"""The process of a private regtest node: its options, its ports, its start and its end."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kassa.chains.base import Program
from kassa.chains.devprocess import Process, free_port

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
        self._process = Process(program, datadir)

    @property
    def pid(self) -> int:
        """The id of the running process; raise `SandboxError` when there is none."""
        return self._process.pid

    async def launch(self, arguments: Sequence[str] = ()) -> None:
        """Start the program; it answers calls a little later."""
        self._write_credentials()
        await self._process.launch([*self._options(), *arguments])

    def check(self) -> None:
        """Raise `SandboxError` with the program's last words if it has ended."""
        self._process.check()

    async def stop(self) -> None:
        """Ask the process to end and wait for it; kill it if it does not."""
        await self._process.stop()

    async def kill(self) -> None:
        """End the process at once, as a power cut would."""
        await self._process.kill()

    def _write_credentials(self) -> None:
        self._datadir.mkdir(parents=True, exist_ok=True)
        # In a file, because every user of the machine can read a command line.
        self._credentials.touch(mode=0o600)
        self._credentials.write_text(f"rpcuser={self.user}\nrpcpassword={self.password}\n")

    @property
    def _credentials(self) -> Path:
        return self._datadir / "kassa.conf"

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
