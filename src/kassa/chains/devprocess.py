"""The process of a private node under command: its start and its end, whatever program it is."""

import asyncio
import secrets
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from kassa.chains.base import Program
from kassa.core.errors import SandboxError

STOP_SECONDS = 30


class Process:
    """One running node program and its folder."""

    def __init__(self, program: Program, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The id of the running process; raise `SandboxError` when there is none."""
        if self._process is None:
            raise SandboxError(f"the {self._program.name} in {self._folder} is not running; call restart()")
        return self._process.pid

    async def launch(self, arguments: Sequence[str]) -> None:
        """Start the program with these arguments; it answers calls a little later."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._output.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._program.argv, *arguments, stdout=output, stderr=output
            )

    def check(self) -> None:
        """Raise `SandboxError` with the program's last words if it has ended."""
        if self._process is None or self._process.returncode is not None:
            words = self._output.read_text(errors="replace").strip()[-500:]
            raise SandboxError(f"{self._program.name} ended instead of serving {self._folder}: {words}")

    def has_said(self, words: str) -> bool:
        """Tell whether these words stand in what the program printed since its start."""
        return words in self._output.read_text(errors="replace")

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
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    @property
    def _output(self) -> Path:
        return self._folder / "output.log"


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
