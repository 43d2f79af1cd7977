"""Download Debian packages with everything they depend on, by a private apt that leaves the system's own alone."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kassa.core.errors import SandboxError

Say = Callable[[str], None]

# The machine's apt.conf.d is read as well: proxies and mirrors that need settings keep working.
_CONFIGURATION = """\
Dir::Etc::sourcelist "{work}/debian.sources";
Dir::Etc::sourceparts "-";
Dir::Etc::preferencesparts "-";
Dir::State "{work}/state";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "2";
APT::Update::Error-Mode "any";
Debug::NoLocking "true";
"""
_DEBIAN = re.compile(r"/debian(\.list)?/?$")  # cloud images name a file of mirrors
_ONE_LINE = re.compile(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)")


def closure(suite: str, packages: Sequence[str], work: Path, say: Say) -> Sequence[Path]:
    """Download `packages` of a Debian suite and all they depend on, as if nothing were installed; return the files.

    The mirror is the one that this machine's own sources name. Raises `SandboxError` saying what is missing.
    """
    if shutil.which("apt-get") is None:
        raise SandboxError("apt-get is missing: this is not a Debian machine")
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()  # empty, so that the C library counts as missing too
    (work / "debian.sources").write_text(source(Path("/etc/apt"), suite))
    (work / "apt.conf").write_text(_CONFIGURATION.format(work=work))
    say(f"reading the package list of Debian {suite}")
    _apt(work, "update")
    say(f"downloading {packages[0]} and what it depends on")
    _apt(work, "install", "--download-only", "--yes", *packages)
    return sorted((work / "cache/archives").glob("*.deb"))


def source(etc: Path, suite: str) -> str:
    """Return the machine's first entry for its Debian mirror, as deb822, pointing at another suite."""
    for entry in _entries(etc):
        fields = dict(re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", entry))
        named = fields.get("URIs", "").split()
        # Security and third parties have mirrors of their own, which do not carry the suite.
        if "deb" in fields.get("Types", "").split() and any(_DEBIAN.search(uri) for uri in named):
            kept = [f"{key}: {fields[key]}" for key in ("Signed-By", "Trusted") if key in fields]
            return "\n".join(["Types: deb", f"URIs: {named[0]}", f"Suites: {suite}", "Components: main", *kept, ""])
    raise SandboxError(f"no Debian mirror is named in {etc}/sources.list or {etc}/sources.list.d")


def _entries(etc: Path) -> Iterator[str]:
    parts = etc / "sources.list.d"
    for path in (parts / "debian.sources", *sorted(parts.glob("*.sources"))):
        if path.is_file():
            yield from re.split(r"\n\s*\n", _without_comments(path))
    for path in (etc / "sources.list", *sorted(parts.glob("*.list"))):
        if path.is_file():
            yield from filter(None, map(_deb822, _without_comments(path).splitlines()))


def _without_comments(path: Path) -> str:
    return "\n".join(line for line in path.read_text(errors="replace").splitlines() if not line.startswith("#"))


def _deb822(line: str) -> str | None:
    match = _ONE_LINE.match(line.strip())
    if match is None:
        return None
    options = dict(option.split("=", 1) for option in (match[1] or "").split() if "=" in option)
    extra = [f"Signed-By: {options['signed-by']}"] if "signed-by" in options else []
    extra += [f"Trusted: {options['trusted']}"] if "trusted" in options else []
    return "\n".join(["Types: deb", f"URIs: {match[2]}", f"Suites: {match[3]}", f"Components: {match[4]}", *extra])


def _apt(work: Path, *words: str) -> None:
    environment = os.environ | {
        "APT_CONFIG": str(work / "apt.conf"),
        "LC_ALL": "C",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    command = ["apt-get", "-qq", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)  # noqa: S603, PLW1510 judged below
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"apt-get {words[0]} did not finish: {error}") from error
    # An update that reached nobody ends with warnings and status 0; the install after it then names no package.
    if done.returncode != 0:
        complaints = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
        raise SandboxError(f"apt-get {words[0]} failed: {' '.join(complaints)[-400:] or done.stderr.strip()[-400:]}")
