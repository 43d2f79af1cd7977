"""What other processes of this machine can find out from us, or change under us: as little as can be."""

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kassa.core.files import others_may
from kassa.settings import Settings
from kassa.wallets.seal import FILE as KEY_FILE

DEBUGGABLE = "KASSA_DEBUGGABLE"
_PR_SET_DUMPABLE = 4


@dataclass(frozen=True, slots=True)
class Exposure:
    """A file of ours that is open to more than our own user; `refused`: so far that nothing starts with it."""

    path: Path
    words: str
    remedy: str
    refused: bool


def keep_memory_private() -> None:
    """Let no other process of our user read our memory and environment, and leave no core file: all hold secrets.

    Root still can. Elsewhere than on Linux there is only no core file. See prctl(2), PR_SET_DUMPABLE; it ends with
    `exec`, so programs that we start get no secret but their own. Whoever must debug Kassa sets `KASSA_DEBUGGABLE`.
    """
    if os.environ.get(DEBUGGABLE, "") not in ("", "0"):
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def exposures(settings: Settings, file: Path | None) -> Iterator[Exposure]:
    """Yield what is open wider than it need be."""
    if file is not None and others_may(file):
        words = "every user of this machine may read it, and passwords for nodes and database may stand there"
        yield Exposure(file, words, f"chmod o-rwx {file}", refused=False)
    key, folder = settings.data_dir / KEY_FILE, settings.data_dir
    if key.exists() and others_may(key, group=True):
        everybody = bool(others_may(key))
        yield Exposure(key, f"{_who(everybody)} may use it to seal addresses", f"chmod 600 {key}", everybody)
    if folder.exists() and others_may(folder, group=True) == "change":
        everybody = others_may(folder) == "change"
        words = f"{_who(everybody)} may put other keys and counters in place of ours"
        yield Exposure(folder, words, f"chmod go-w {folder}", everybody)


def _who(everybody: bool) -> str:
    return "every user of this machine" if everybody else "its group"
