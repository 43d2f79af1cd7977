"""The server that pip installed: durable, private, adopted after a kill, stopped by whoever leaves last."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from kassa.core.errors import DatabaseError
from kassa.db import embedded
from kassa.db.server import open_database, weak_settings

HOLD = "import sys; from pathlib import Path; from kassa.db.embedded import start; from kassa import logs;"
HOLD += "logs.configure(); print(start(Path(sys.argv[1])).url, flush=True); sys.stdin.read()"


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: every start of pytest closes its folders to other users, such as a root's database server.
    with tempfile.TemporaryDirectory(prefix="kassa-test-") as folder:
        yield Path(folder)


@pytest.fixture
def data_dir(folder: Path) -> Iterator[Path]:
    yield folder / "data"
    embedded.start(folder / "data").close()


def server_pid(data_dir: Path) -> int | None:
    try:
        return int((data_dir / "postgres" / "postmaster.pid").read_text().split("\n")[0])
    except FileNotFoundError:
        return None


async def test_the_server_is_durable_and_reached_by_its_socket_alone(data_dir: Path) -> None:
    with closing(embedded.start(data_dir)) as server:
        connection = await asyncpg.connect(server.url)
        assert await weak_settings(connection) == []
        assert await connection.fetchval("show listen_addresses") == ""
        assert await connection.fetchval("show data_checksums") == "on"
        assert await connection.fetchval("select current_database()") == "kassa"
        await connection.close()
        folder = data_dir / "postgres"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / ".s.PGSQL.5432").stat().st_mode) == 0o700


async def test_it_has_our_settings_also_after_its_own_file_lost_them(data_dir: Path) -> None:
    embedded.start(data_dir).close()
    own = data_dir / "postgres" / "postgresql.conf"
    lines = own.read_text().splitlines(keepends=True)
    own.write_text("".join(line for line in lines if "kassa.conf" not in line) + "work_mem = '5MB'\n")
    for _ in range(2):
        with closing(embedded.start(data_dir)) as server:
            connection = await asyncpg.connect(server.url)
            assert await connection.fetchval("show listen_addresses") == ""
            assert await connection.fetchval("show work_mem") == "5MB"
            await connection.close()
    assert own.read_text().count("kassa.conf") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes users")
def test_first_starts_at_one_moment_make_the_servers_user_once(tmp_path: Path) -> None:
    name, program, called = f"kassa-test-{os.getpid()}", tmp_path / "bin" / "useradd", tmp_path / "called"
    program.parent.mkdir()
    called.mkdir()
    # Nobody makes the user before all have found that there is none.
    waiting = f'touch {called}/$$; while [ "$(ls {called} | wc -l)" -lt 3 ]; do sleep 0.05; done'
    program.write_text(f'#!/bin/sh\n{waiting}\nexec flock {called} {shutil.which("useradd")} "$@"\n')
    program.chmod(0o755)
    script = "import sys; from kassa.db import embedded; embedded.SYSTEM_USER = sys.argv[1]; print(embedded._account())"
    named = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", script, name]
    starts = [subprocess.Popen(command, env=named, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        assert [each.communicate(timeout=60)[0] for each in starts] == [f"{name}\n"] * 3
    finally:
        for each in starts:
            each.kill()
            each.wait()
        subprocess.run(["userdel", name], check=False, capture_output=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_a_name_is_told_what_to_do(data_dir: Path) -> None:
    script = "import os, sys; from pathlib import Path; from kassa.db import embedded; os.setuid(54321);"
    command = [sys.executable, "-c", f"{script} embedded.start(Path(sys.argv[1]))", str(data_dir)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert "54321 has none: add it to /etc/passwd" in done.stderr.splitlines()[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_local_user_cannot_reach_the_socket(data_dir: Path) -> None:
    with closing(embedded.start(data_dir)):
        connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        command = ["/usr/bin/python3", "-c", connect, str(data_dir / "postgres" / ".s.PGSQL.5432")]
        as_nobody = subprocess.run(command, user="nobody", capture_output=True, text=True, check=False)
        as_root = subprocess.run(command, capture_output=True, check=False)
    assert "PermissionError" in as_nobody.stderr
    assert as_root.returncode == 0


async def test_a_killed_kassa_leaves_a_server_that_the_next_one_adopts(data_dir: Path) -> None:
    with subprocess.Popen(  # noqa: ASYNC220 (its first line is what we wait for)
        [sys.executable, "-c", HOLD, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        url = first.stdout.readline().strip()
        connection = await asyncpg.connect(url)
        await connection.execute("create table kept (id int); insert into kept values (1)")
        await connection.close()
        first.kill()
    survivor = server_pid(data_dir)

    with closing(embedded.start(data_dir)) as server:
        assert server_pid(data_dir) == survivor
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("select id from kept") == 1
        await connection.close()
    assert server_pid(data_dir) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces")
def test_a_server_of_another_container_is_left_alone(data_dir: Path) -> None:
    container = ["unshare", "--pid", "--ipc", "--mount-proc", "--fork", "--kill-child"]
    with subprocess.Popen(
        [*container, sys.executable, "-c", HOLD, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        noted = server_pid(data_dir)
        with pytest.raises(DatabaseError, match="another container"):
            embedded.start(data_dir)
        assert server_pid(data_dir) == noted is not None
        other.communicate()  # with whoever is the first there, all of it ends


async def test_a_killed_server_recovers_what_was_committed(data_dir: Path) -> None:
    with closing(embedded.start(data_dir)) as server:
        connection = await asyncpg.connect(server.url)
        await connection.execute("create table kept (id int); insert into kept values (1)")
        killed = server_pid(data_dir)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        connection.terminate()
    with closing(embedded.start(data_dir)) as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("select id from kept") == 1
        await connection.close()


def test_the_last_to_leave_stops_the_server(data_dir: Path) -> None:
    one, two = embedded.start(data_dir), embedded.start(data_dir)
    one.close()
    assert server_pid(data_dir) is not None
    two.close()
    assert server_pid(data_dir) is None
    two.close()


def test_a_process_number_that_now_belongs_to_another_program_is_forgotten(data_dir: Path) -> None:
    embedded.start(data_dir).close()
    (data_dir / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{data_dir}\n1\n5432\n/tmp\n\n1 1\nready\n")
    with closing(embedded.start(data_dir)):
        assert server_pid(data_dir) != os.getpid()


def test_a_socket_lock_that_a_killed_server_left_stops_nobody(data_dir: Path) -> None:
    with closing(embedded.start(data_dir)) as server:
        lock = Path(server.url.partition("host=")[2]) / ".s.PGSQL.5432.lock"
        left = lock.read_text()
    # Its process is not reaped yet, or its number is another's: the number means somebody of its account who lives.
    with subprocess.Popen(["sleep", "60"], user=lock.parent.stat().st_uid) as living:
        lock.write_text("\n".join([str(living.pid), *left.split("\n")[1:]]))
        with closing(embedded.start(data_dir)):
            assert server_pid(data_dir) is not None
        living.kill()


async def test_a_path_too_long_for_a_socket_gets_a_private_folder(folder: Path) -> None:
    with closing(embedded.start(folder / ("long" * 20) / "data")) as server:
        short = Path(server.url.partition("host=")[2])
        connection = await asyncpg.connect(server.url)
        await connection.close()
        assert stat.S_IMODE(short.stat().st_mode) == 0o700  # noqa: ASYNC240
    short.rmdir()  # noqa: ASYNC240


async def test_a_long_path_for_temporary_files_is_not_the_private_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = folder / ("temporary" * 12)
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))  # as TMPDIR names it at the start of a process
    with closing(embedded.start(temporary / "data")) as server:
        short = Path(server.url.partition("host=")[2])
        connection = await asyncpg.connect(server.url)
        await connection.close()
    short.rmdir()  # noqa: ASYNC240


@pytest.mark.parametrize("name", ["ü ß", "it's 100%41", "#x?y&z;", "co:lon@[x]"])
async def test_a_folder_may_have_any_usual_name(folder: Path, name: str) -> None:
    with closing(embedded.start(folder / name)) as server:
        connection = await asyncpg.connect(server.url)
        await connection.close()


@pytest.mark.parametrize("name", ["a,b", 'a"b', "$HOME", "`id`", "back\\slash", "new\nline"])
def test_a_folder_whose_name_the_servers_programs_misread_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(DatabaseError, match="name another as data_dir"):
        embedded.start(folder / name)
    assert not (folder / name).exists()


def test_why_a_first_start_fails_is_said_and_not_what_was_cleared_up(data_dir: Path) -> None:
    script = "import resource as r, sys; from pathlib import Path; from kassa.db.embedded import start;"
    script += "r.setrlimit(r.RLIMIT_NOFILE, (20, 20)); start(Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", script, str(data_dir)], stderr=subprocess.PIPE, text=True, check=False)
    assert "insufficient file descriptors" in done.stderr.splitlines()[-1]


def test_data_of_another_version_is_refused_with_the_way_out(data_dir: Path) -> None:
    embedded.start(data_dir).close()
    version = data_dir / "postgres" / "PG_VERSION"
    original = version.read_text()
    version.write_text("12\n")
    with pytest.raises(DatabaseError, match=r"written by PostgreSQL 12 .* restore the dump"):
        embedded.start(data_dir)
    version.write_text(original)


async def test_a_setting_that_loses_commits_is_named(data_dir: Path) -> None:
    with closing(embedded.start(data_dir)) as server:
        connection = await asyncpg.connect(server.url)
        await connection.execute("set synchronous_commit = off")
        assert await weak_settings(connection) == ["synchronous_commit = off"]
        await connection.close()


@pytest.mark.parametrize(
    "url", ["postgresql://u:hunter2@127.0.0.1:1/x", "postgresql://u:hunter2@127.0.0.1:99999/x", "postgresql://[::1/x"]
)
async def test_an_unreachable_database_is_one_clear_error_without_the_password(url: str) -> None:
    with pytest.raises(DatabaseError, match="database_url") as caught:
        await open_database(url)
    assert "hunter2" not in str(caught.value)
