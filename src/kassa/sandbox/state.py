"""The sandbox's data folder: what is in it, who holds it, and the note by which other terminals find a running one."""

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kassa.core.errors import SandboxError

DEFAULT = Path(".kassa/sandbox")
END_SECONDS = 30
_OURS = ("node", "anvil", "kassa", "kassa.toml", "sandbox.log", "sandbox.json", "sandbox.lock")


@dataclass(frozen=True, slots=True)
class NodeNote:
    """Where a node is reached, the height at which the demo store began, and the contracts of its tokens by symbol.

    No reorganisation may reach below that height, because the node's own money was made there.
    """

    url: str
    base_height: int
    tokens: dict[str, str]


@dataclass(frozen=True, slots=True)
class State:
    """What a sandbox is made of. Carries keys and passwords: it is kept in a file that only its owner may read.

    `nodes` are its nodes by the name of their networks.
    """

    pid: int
    api_url: str
    api_key: str
    store_id: str
    webhook_id: str
    webhook_secret: str
    receiver_url: str
    nodes: dict[str, NodeNote]


class Folder:
    """One sandbox's data folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.node = self.path / "node"
        self.anvil = self.path / "anvil"
        self.kassa = self.path / "kassa"
        self.settings = self.path / "kassa.toml"
        self.log = self.path / "sandbox.log"
        self._state = self.path / "sandbox.json"
        self._lock = self.path / "sandbox.lock"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other sandbox out of this folder; raises `SandboxError` if one is in."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as fault:
            raise SandboxError(f"cannot write to {self.path} ({fault.strerror}); name another by --data-dir") from None
        try:
            # The kernel lets go of it however this process ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SandboxError(f"a sandbox is running in {self.path} already; end it with Ctrl-C first") from None
        else:
            yield
        finally:
            os.close(lock)

    @property
    def exists(self) -> bool:
        """Tell whether there ever was a sandbox here."""
        return self._lock.exists()

    @property
    def is_held(self) -> bool:
        """Tell whether a sandbox runs here."""
        try:
            lock = os.open(self._lock, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def read(self) -> State | None:
        """Return what an earlier or a running sandbox wrote; raises `SandboxError` if that cannot be read."""
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=State)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as fault:
            raise SandboxError(f"{self._state} cannot be read ({fault}); `kassa sandbox reset` begins anew") from None

    def running(self) -> State:
        """Return the running sandbox's state; raises `SandboxError` saying how to start one."""
        if not self.is_held:
            raise SandboxError(f"no sandbox is running in {self.path}: start one in another terminal")
        state = self.read()
        if state is None or not _is_alive(state.pid):
            raise SandboxError("the sandbox is still starting: try again when it has printed its addresses")
        return state

    def write(self, state: State) -> None:
        """Replace the note, readable by its owner alone."""
        self._replace(self._state, msgspec.json.format(msgspec.json.encode(state), indent=2))

    def write_settings(self, text: str) -> None:
        """Replace kassa.toml, readable by its owner alone: the node's password stands in it."""
        self._replace(self.settings, text.encode())

    def end_leftover_nodes(self) -> bool:
        """End the nodes of a sandbox that was killed; tell whether there were any. Only while the folder is held."""
        # Found by what they serve: a number in a file may belong to anyone by now.
        marks = (f"-datadir={self.node}".encode(), str(self.anvil / "chain.json").encode())
        left = [pid for pid, words in _processes() if not set(marks).isdisjoint(words)]
        for pid in left:
            _end(pid)
        return bool(left)

    def remove(self) -> None:
        """Delete what a sandbox made here and nothing else. Only while the folder is held."""
        for name in _OURS:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _replace(self, path: Path, text: bytes) -> None:
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
        new.rename(path)


def _processes() -> Iterator[tuple[int, list[bytes]]]:
    """List the processes of this machine with the words of their command lines."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            yield int(path.parent.name), path.read_bytes().split(b"\0")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while _is_alive(pid):
        if time.monotonic() > deadline:
            raise SandboxError(f"the node that an earlier sandbox left (process {pid}) does not end: kill it")
        time.sleep(0.05)
