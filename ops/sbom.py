"""What this program is made of: an SBOM (CycloneDX 1.5), the licences in it, and an audit that needs no network.

    python ops/sbom.py [--lock requirements.lock] [--tools requirements-dev.lock] [--out build/sbom.json] [--bad FILE]

Names, versions and hashes come from the lock, licences from the metadata of what is installed. Fails for what is not
pinned, has no hash, is installed in another version, has a licence that is not on the list, or stands in the file of
`--bad` (lines such as `aiohttp<3.10.2  GHSA-…`, as you take them from an advisory). What tests and builds Kassa, the
lock of `--tools`, is no part of the bill and is not given to anybody, so its licences are its own affair; but it runs
where Kassa is made, and has to be pinned and free of known-bad versions all the same. The audit cannot know of
advisories that nobody gave it: without a network there are none, and it says so.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

ALLOWED = frozenset(
    "0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause CC0-1.0 ISC MIT MIT-0 MPL-2.0 PSF-2.0 PostgreSQL Zlib".split()
)
"""SPDX ids that an Apache-2.0 program may be distributed with."""
SAID = {
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "PSFL (Keccak: CC0 1.0 Universal)": "PSF-2.0 AND CC0-1.0",
}
"""What packages call their licence, where they do not use its SPDX id."""
READ = {"pyrage": "MIT"}
"""Licences that were read in the package's own file, because its metadata name none."""
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\]+?))?\s*\\?$")
_BAD = re.compile(r"([A-Za-z0-9._-]+)\s*((?:[<>=!~]=?|===)\S+(?:,\S+)*)\s*(.*)")


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of the lock: a package at a version, for which machines, with the hashes of its files."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def is_for_us(self) -> bool:
        return not self.marker or Marker(self.marker).evaluate()


def read_lock(text: str) -> tuple[list[Pin], list[str]]:
    """Return the pins of a lock, and the lines in it that are none."""
    pins, strange = [], []
    for block in re.split(r"\n(?=\S)", text):
        first, *rest = [line.strip() for line in block.splitlines() if line.strip()] or [""]
        if not first or first.startswith("#"):
            continue
        if match := _PIN.match(first):
            hashes = re.findall(r"--hash=(sha256:[0-9a-f]{64})", " ".join(rest))
            pins.append(Pin(match[1].lower().replace("_", "-"), match[2], (match[3] or "").strip(), tuple(hashes)))
        else:
            strange.append(first)
    return pins, strange


def licence(name: str) -> str:
    """Return a package's licence as an SPDX expression; what it says itself where that is none that we know."""
    about = metadata.metadata(name)
    if expression := about.get("License-Expression"):
        return str(expression)
    classes = [line.rpartition("::")[2].strip() for line in about.get_all("Classifier", []) if line[:7] == "License"]
    lines = [line.strip() for line in (about.get("License") or "").splitlines() if line.strip()]
    for said in (*lines[:1], *classes, READ.get(name, "")):
        if set(re.split(r" (?:AND|OR) ", known := SAID.get(said, said))) <= ALLOWED:
            return known
    return " / ".join([*lines[:1], *classes]) or "unknown"


def faults(pins: Sequence[Pin], strange: Sequence[str], licences: Mapping[str, str], bad: str) -> Iterator[str]:
    """Yield what is wrong, a line each."""
    yield from loose(pins, strange, bad)
    for pin in pins:
        if not pin.is_for_us:
            continue
        if pin.name not in licences:
            yield f"{pin.name} is in the lock and not installed"
        elif metadata.version(pin.name) != pin.version:
            yield f"{pin.name} is installed as {metadata.version(pin.name)}, the lock says {pin.version}"
        elif not set(re.split(r" (?:AND|OR) ", licences[pin.name])) <= ALLOWED:
            yield f"{pin.name} has a licence that is not on the list: {licences[pin.name]}"


def loose(pins: Sequence[Pin], strange: Sequence[str], bad: str) -> Iterator[str]:
    """Yield what in a lock is not pinned, has no hash or is known to be bad, a line each."""
    yield from (f"the lock has a line that pins nothing: {line}" for line in strange)
    yield from (f"{pin.name} {pin.version} has no hash" for pin in pins if not pin.hashes)
    for line in filter(None, (line.partition("#")[0].strip() for line in bad.splitlines())):
        match = _BAD.match(line)
        if match is None:
            yield f"the list of known-bad versions has a line that cannot be read: {line}"
            continue
        for pin in pins:
            if pin.name == match[1].lower().replace("_", "-") and pin.version in SpecifierSet(match[2]):
                yield f"{pin.name} {pin.version} is known to be bad: {match[3] or match[2]}"


def document(pins: Sequence[Pin], licences: Mapping[str, str], version: str) -> dict[str, Any]:
    """Return the bill of materials, the same for the same lock."""
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{pin.name}@{pin.version}",
            "name": pin.name,
            "version": pin.version,
            "purl": f"pkg:pypi/{pin.name}@{pin.version}",
            "licenses": [{"expression": licences[pin.name]}],
            # A package has a file for each kind of machine; every one that may be installed is named.
            "properties": [{"name": "kassa:hash", "value": each} for each in pin.hashes],
        }
        for pin in pins
        if pin.is_for_us and pin.name in licences
    ]
    ours = {"type": "application", "name": "kassa", "version": version, "licenses": [{"expression": "Apache-2.0"}]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": ours | {"bom-ref": "kassa"}},
        "components": components,
        "dependencies": [{"ref": "kassa", "dependsOn": [each["bom-ref"] for each in components]}],
    }


def main() -> int:
    """Write the bill, print what is wrong, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lock", type=Path, default=Path("requirements.lock"))
    parser.add_argument("--tools", type=Path, default=Path("requirements-dev.lock"))
    parser.add_argument("--out", type=Path, default=Path("build/sbom.json"))
    parser.add_argument("--bad", type=Path)
    asked = parser.parse_args()
    pins, strange = read_lock(asked.lock.read_text("utf-8"))
    installed = {dist.metadata["Name"].lower().replace("_", "-").replace(".", "-") for dist in metadata.distributions()}
    licences = {pin.name: licence(pin.name) for pin in pins if pin.is_for_us and pin.name in installed}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    made = document(pins, licences, metadata.version("kassa"))
    asked.out.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    bad = asked.bad.read_text("utf-8") if asked.bad else ""
    tools = read_lock(asked.tools.read_text("utf-8"))
    wrong = list(dict.fromkeys([*faults(pins, strange, licences, bad), *loose(*tools, bad)]))
    for line in wrong:
        print(f"sbom: {line}", file=sys.stderr)
    print(f"sbom: {asked.out}: {len(made['components'])} packages, {len(set(licences.values()))} licences")
    print(f"sbom: {asked.tools}: {len(tools[0])} packages, looked at as well")
    if asked.bad is None:
        print("sbom: not checked: whether any of these versions has an advisory (give a list by --bad)")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
