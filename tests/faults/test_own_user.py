"""E15: what other processes learn from a running Kassa, be they our own user's, and what files it does not trust."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from kassa.chains.bitcoin.devnode import DevNode
from kassa.cli import app
from tests.e2e.program import Program, installed

SECRET = "whsec_" + "c2VjcmV0" * 4
PLAIN = ("setpriv", "--bounding-set=-sys_ptrace,-sys_admin,-perfmon") if os.getuid() == 0 else ()
"""What makes a process of root one like any other user's; the program and who looks at it are alike."""
KEPT = ("environ", "mem", "maps", "auxv")


@pytest.fixture
async def kassa(bitcoind: DevNode, database_url: str, tmp_path: Path) -> AsyncIterator[Program]:
    async with installed(tmp_path / "kassa", bitcoind, database_url) as program:
        yield program


def read(pid: int, name: str) -> int:
    """Read a file of a process as another process of its user; return 0 if it could be read."""
    return subprocess.run([*PLAIN, "head", "-c1", f"/proc/{pid}/{name}"], capture_output=True, check=False).returncode


def read_of_somebody() -> int:
    """Do the same to a shell, which does not care."""
    return subprocess.run(
        [*PLAIN, "sh", "-c", "head -c1 /proc/$$/environ; exit $?"], capture_output=True, check=False
    ).returncode


def most_core(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4:6] for line in lines if line.startswith("Max core"))


@pytest.mark.skipif(not Path("/proc/self/environ").exists() or shutil.which("setpriv") is None, reason="needs Linux")
async def test_e15_our_own_user_reads_neither_memory_nor_environment_of_the_program(kassa: Program) -> None:
    given = {"KASSA_ALERTS__WEBHOOK_URL": "http://127.0.0.1:9/", "KASSA_ALERTS__WEBHOOK_SECRET": SECRET}
    await kassa.start("up", environment=given, before=PLAIN)
    await kassa.ready()
    assert read_of_somebody() == 0
    pid = kassa.pid("up")
    assert {name: read(pid, name) for name in KEPT} == dict.fromkeys(KEPT, 1)
    assert most_core(pid) == ["0", "0"]
    assert await kassa.stop(signalled=signal.SIGABRT) == [-signal.SIGABRT]
    assert list(kassa.folder.glob("core*")) == []


async def test_e15_what_others_can_change_stops_the_start_and_says_what_to_do(kassa: Program) -> None:
    await kassa.start("up")
    await kassa.ready()
    assert "open to others" in kassa.log("up")
    assert f"chmod o-rwx {kassa.config}" in kassa.log("up")
    assert await kassa.stop() == [0]
    data = kassa.folder / "data"
    key = data / "address-key"
    for path, mode, remedy in (
        (key, 0o604, f"chmod 600 {key}"),
        (data, 0o707, f"chmod o-w {data}"),
        (kassa.config, 0o606, f"chmod o-w {kassa.config}"),
    ):
        was = path.stat().st_mode
        path.chmod(mode)
        code, told = await kassa.run("up")
        assert (code, remedy in told, "Traceback" in told) == (1, True, False), told
        path.chmod(was)
    for path, mode, remedy in ((key, 0o640, f"chmod 600 {key}"), (data, 0o770, f"chmod g-w {data}")):
        was = path.stat().st_mode
        path.chmod(mode)
        _, told = await kassa.run("doctor", "--json")
        assert remedy in told
        path.chmod(was)
    kassa.config.chmod(0o600)
    _, told = await kassa.run("doctor")
    assert "settings and keys are open to nobody else" in told


def test_e15_no_secret_need_stand_on_a_command_line() -> None:
    """Everybody on the machine reads by `ps` what does."""
    secret = re.compile(r"^(key|.*(secret|passw|token|seed|mnemonic).*)$")
    found = {option.name: option.envvar for option in options(get_command(app)) if secret.match(option.name or "")}
    assert found == {"key": "KASSA_AUDIT_KEY"}


def options(command: Any) -> Iterator[Any]:  # typer's own commands
    """Yield the options of a command and of those below it."""
    yield from command.params
    for below in getattr(command, "commands", {}).values():
        yield from options(below)
