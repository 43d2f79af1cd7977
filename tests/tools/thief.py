"""Becomes a program once a rival serves on the port that it was told: what happens when two draw one free port.

`thief.py NOTE PREFIX RIVAL PROGRAM ARGUMENTS…`: the port stands behind PREFIX in the arguments' text; RIVAL is a
command as JSON, with {port} in it. Only the first time: its process id is left in the file NOTE.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kassa.chains.base import Program


@contextmanager
def robbed(program: Program, prefix: str, rival: list[str], folder: Path) -> Iterator[Program]:
    """Give a program whose first start finds its port taken by `rival`, which is ended afterwards."""
    note = folder / "rival.pid"
    argv = (sys.executable, __file__, str(note), prefix, json.dumps(rival), *program.argv)
    try:
        yield replace(program, argv=argv)
    finally:
        os.kill(int(note.read_text()), signal.SIGKILL)


def _rob(note: Path, prefix: str, rival: list[str], argv: list[str]) -> None:
    if not note.exists():
        found = re.search(re.escape(prefix) + r"(\d+)", " ".join(argv))
        assert found is not None
        port = found[1]
        started = subprocess.Popen(
            [word.replace("{port}", port) for word in rival], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        note.write_text(str(started.pid))
        while not _is_taken(int(port)):
            time.sleep(0.01)
    os.execv(argv[0], argv)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    _rob(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:])
