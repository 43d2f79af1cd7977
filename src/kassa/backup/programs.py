"""pg_dump and pg_restore: found, fitted to the server, and run without a secret in their arguments."""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from kassa.backup.rules import chosen
from kassa.core.errors import DatabaseError
from kassa.db.embedded import BINARIES

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_OTHERS = Path("/usr/lib/postgresql")  # where Debian keeps several versions


def find(name: str, server: int) -> str:
    """Return the path of a program for a server of a major version; raises `DatabaseError` saying what to install."""
    places = [str(BINARIES / name), shutil.which(name), *map(str, _OTHERS.glob(f"*/bin/{name}"))]
    known = {path: major for path in places if path and (major := _major(path)) is not None}
    if (path := chosen(server, known)) is not None:
        return path
    have = ", ".join(f"{path} is {major}" for path, major in known.items()) or "none was found"
    raise DatabaseError(
        f"the database is PostgreSQL {server} and needs a {name} of that version or newer ({have}): install"
        f" postgresql-client-{server}"
    )


def start(path: str, url: str, *arguments: str, reads: bool = False, called: str = "") -> "subprocess.Popen[bytes]":
    """Start a program on a database. It writes to a pipe, or `reads` from one; what it says goes to another.

    `called`: the name of its connections, if it is not to be its own.

    The password travels in the environment, which other users cannot see, and not in the arguments, which they can.
    """
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    said = [(unquote(each.partition("=")[0]), each) for each in parts.query.split("&") if each]
    password = password or next((each.partition("=")[2] for key, each in said if key == "password"), "")
    query = "&".join(each for key, each in said if key != "password")
    plain = urlunsplit(parts._replace(netloc=f"{name}{at}{host}", query=query))
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": os.environ.get("HOME", "/")}
    if password:
        environment["PGPASSWORD"] = unquote(password)
    if called:
        environment["PGAPPNAME"] = called
    return subprocess.Popen(
        [path, f"--dbname={plain}", *arguments],
        stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )


def check(path: str) -> "subprocess.Popen[bytes]":
    """Start a pg_restore that reads a whole dump from a pipe, unpacks everything in it and writes it nowhere."""
    return subprocess.Popen(
        [path, "--file=/dev/null"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )  # fmt: skip


def finish(program: "subprocess.Popen[bytes]", doing: str) -> None:
    """Wait for a program; raises `DatabaseError` when it failed, with the reason that it gave, or its last words."""
    words = _end(program)
    if program.returncode != 0:
        lines = [line for line in words.splitlines() if line.strip()]
        # A statement that was refused is repeated in lines after the reason.
        said = next((line for line in lines if "error:" in line), lines[-1] if lines else "no word")
        raise DatabaseError(f"{doing} failed: {said[:400]}")


def abandon(program: "subprocess.Popen[bytes]") -> None:
    """End a program whose work is no longer wanted."""
    program.kill()
    _end(program)


def _end(program: "subprocess.Popen[bytes]") -> str:
    for pipe in (program.stdin, program.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    words = b""
    if program.stderr is not None:
        words = program.stderr.read()
        program.stderr.close()
    program.wait()
    return words.decode(errors="replace")


def _major(path: str) -> int | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(said)
    return int(match[1]) if match else None
