"""E15: what other processes learn from a running Kassa, be they our own user's, and what files it does not trust."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest
from typer.main import get_command

from kassa.chains.bitcoin.devnode import DevNode
from kassa.cli import app
from tests.e2e.program import KASSA, Program, installed

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
        for command in ("up", "doctor"):
            code, told = await kassa.run(command)
            assert (code, remedy.replace("o-w", "go-w") in told.replace(" o-w", " go-w")) == (1, True), told
            assert "Traceback" not in told
        path.chmod(was)
    key.rename(key.with_name("away"))  # also before the first key is made, in a folder that somebody else set up
    data.chmod(0o707)
    code, told = await kassa.run("up")
    assert (code, f"chmod o-w {data}" in told, key.exists()) == (1, True, False), told
    data.chmod(0o700)
    key.with_name("away").rename(key)
    for path, mode, remedy in ((key, 0o640, f"chmod 600 {key}"), (data, 0o770, f"chmod go-w {data}")):
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


NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
SETTINGS = """
[networks.bitcoin-regtest]
family = "bitcoin"
chain = "bitcoin-regtest"
rpc_url = "http://127.0.0.1:1"
confirmations = [{ blocks = 1 }]
[rates]
fixed = { "BTC/EUR" = "50000" }
"""
CREATE = ("store", "create", "--name", "Shop", "--currency", "EUR")
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become another user"
)


@pytest.fixture
def place() -> Iterator[Path]:
    """Yield a folder with settings whose data folder belongs to nobody; not tmp_path, which others cannot enter."""
    with tempfile.TemporaryDirectory(prefix="kassa-test-") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "kassa.toml").write_text(SETTINGS)
        for name in ("kassa-data", "backups"):
            (Path(folder) / name).mkdir(mode=0o700)
            os.chown(Path(folder) / name, NOBODY, NOBODY)
        yield Path(folder)


def tell(place: Path, *arguments: str, before: tuple[str, ...] = ()) -> tuple[int, str]:
    done = subprocess.run([*before, KASSA, *arguments], cwd=place, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def held(data: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_uid, path.read_bytes()) for path in data.iterdir() if path.is_file()}


@needs_root
def test_root_takes_no_file_of_the_user_that_kassa_runs_as(place: Path) -> None:
    data = place / "kassa-data"
    refused = f"{data} belongs to nobody", "sudo -u nobody kassa"
    code, told = tell(place, *CREATE, before=AS_NOBODY)
    assert code == 0, told
    before = held(data)
    assert {uid for uid, _ in before.values()} == {NOBODY}
    for command in (CREATE, ("migrate",), ("up",), ("reconcile",)):
        code, told = tell(place, *command)
        assert (code, [word in told for word in refused]) == (1, [True, True]), told
    assert held(data) == before
    # What root would make in a folder of somebody else's is the same; in one of its own it may do what it likes.
    made = {**os.environ, "KASSA_DATA_DIR": str(data / "below")}
    assert subprocess.run([KASSA, *CREATE], cwd=place, env=made, capture_output=True, check=False).returncode == 1
    made["KASSA_DATA_DIR"] = str(place / "of-root")
    assert subprocess.run([KASSA, *CREATE], cwd=place, env=made, capture_output=True, check=False).returncode == 0


@needs_root
def test_a_file_that_root_took_is_named_with_the_way_to_give_it_back(place: Path) -> None:
    data = place / "kassa-data"
    code, told = tell(place, *CREATE, before=AS_NOBODY)
    assert code == 0, told
    (data / "address-marks.json").write_text("{}")
    key = str(pyrage.x25519.Identity.generate().to_public())
    backup = ("backup", "--to", str(place / "backups"), "--recipient", key)
    accept = ("audit", "accept", "--reason", "tried")
    for name, command in (
        ("address-marks.json", CREATE),
        ("address-key", CREATE),
        ("audit-anchor.txt", CREATE),
        ("audit-anchor.lock", accept),
        ("address-key", backup),
    ):
        for path in data.iterdir():
            os.chown(path, *((0, 0) if path.name == name else (NOBODY, NOBODY))) if path.is_file() else None
        (data / name).chmod(0o600)
        code, told = tell(place, *command, before=AS_NOBODY)
        assert (code, f"`chown nobody {data / name}` as root" in told) == (1, True), (name, told)
        assert ("Traceback" in told, "remove" in told) == (False, False), told
