"""Node programs are found where they are, and what cannot be had is said with its remedy."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from kassa.chains.base import Program
from kassa.core.errors import SandboxError
from kassa.sandbox import apt, nodes

DEB822 = """\
# written by the installer
Types: deb deb-src
# URIs: http://old.example/debian
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
WANTED = """\
Types: deb
URIs: http://mirror.example/debian
Suites: sid
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_a_home_is_told_what_to_set() -> None:
    script = "import os; from kassa.sandbox import nodes; os.environ.clear(); os.setuid(54321); nodes.nodes_dir()"
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, check=False)
    assert "set KASSA_NODES_DIR" in done.stderr.splitlines()[-1]


def machine(folder: Path, **files: str) -> Path:
    """An /etc/apt with these files: `sources_list`, or `name` for sources.list.d/name.sources."""
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        path = folder / "sources.list" if name == "sources_list" else folder / f"sources.list.d/{name}.sources"
        path.write_text(text)
    return folder


def script(folder: Path, name: str, says: str) -> None:
    """A program that says this and nothing else."""
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)


def test_the_machine_s_own_debian_mirror_is_pointed_at_another_suite(tmp_path: Path) -> None:
    etc = machine(tmp_path, debian=DEB822)
    assert apt.source(etc, "sid") == WANTED


@pytest.mark.parametrize("options", ["[{key}]", "[ arch=amd64 {key} ]"])
def test_a_classic_list_serves_as_well(tmp_path: Path, options: str) -> None:
    wanted = options.format(key="signed-by=/usr/share/keyrings/debian-archive-keyring.gpg")
    text = (
        "# deb http://old.example/debian buster main\n"
        "deb-src http://mirror.example/debian bookworm main\n"
        f"deb {wanted} http://mirror.example/debian bookworm main contrib\n"
    )
    assert apt.source(machine(tmp_path, sources_list=text), "sid") == WANTED


def test_a_third_party_s_mirror_is_not_taken_for_debian_s(tmp_path: Path) -> None:
    other = "Types: deb\nURIs: http://other.example/apt\nSuites: stable\nComponents: main\n"
    etc = machine(tmp_path, aaa=other, zzz=DEB822)
    assert apt.source(etc, "sid") == WANTED


def test_a_machine_without_debian_is_told_so(tmp_path: Path) -> None:
    etc = machine(tmp_path, sources_list="deb http://other.example/ubuntu noble main\n")
    with pytest.raises(SandboxError, match="no Debian mirror is named"):
        apt.source(etc, "sid")


def test_a_program_on_path_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "bitcoind", "Bitcoin Core daemon version v27.1.0 bitcoind")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = nodes.find_or_install("bitcoind", tmp_path / "cache", print)
    assert found == Program("bitcoind", (str(tmp_path / "bitcoind"),), "Bitcoin Core 27.1.0")


def test_a_program_too_old_is_named_and_the_remedy_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "bitcoind", "Bitcoin Core version v0.21.2")
    monkeypatch.setenv("PATH", str(tmp_path))  # and so no apt-get
    said: list[str] = []
    with pytest.raises(SandboxError, match=re.escape("Put bitcoind (version 25 or later) on PATH")):
        nodes.find_or_install("bitcoind", tmp_path / "cache", said.append)
    assert "version Bitcoin Core 0.21.2, and 25 or later is needed" in said[0]
    assert list((tmp_path / "cache").iterdir()) == [tmp_path / "cache" / "bitcoind.lock"]


def test_an_installed_program_is_found_again(
    bitcoind_program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # nothing could be installed
    said: list[str] = []
    if len(bitcoind_program.argv) == 1:
        pytest.skip("this machine has a bitcoind of its own")
    assert nodes.find_or_install("bitcoind", nodes.nodes_dir(), said.append) == bitcoind_program
    assert said == []


def test_foundry_s_anvil_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "anvil", "anvil Version: 1.5.0-stable\nCommit SHA: 1ab2c")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = nodes.find_or_install("anvil", tmp_path / "cache", print)
    assert found == Program("anvil", (str(tmp_path / "anvil"),), "anvil 1.5.0-stable")


def npm_that_brings(says: str, folder: Path) -> str:
    """Put a program `npm` into a folder that packs an anvil saying this; return the archive's sha512 in base64."""
    program = folder / "npm"
    program.mkdir()
    (program / "package" / "bin").mkdir(parents=True)
    script(program / "package" / "bin", "anvil", says)
    archive = folder / "brought.tgz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(program / "package", "package")
    shutil.rmtree(program)
    program.write_text(f"#!/bin/sh\n{shutil.which('cp')} {archive} .\n")
    program.chmod(0o755)
    return base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()


def anvil_whose_package_has(sha512: str) -> nodes.Recipe:
    recipe = nodes.RECIPES["anvil"]
    assert isinstance(recipe.source, nodes.Npm)
    packages = {machine: replace(package, sha512=sha512) for machine, package in recipe.source.packages.items()}
    return replace(recipe, source=replace(recipe.source, packages=packages))


def test_one_file_of_an_npm_package_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha512 = npm_that_brings("anvil Version: 1.7.1", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nodes, "RECIPES", {"anvil": anvil_whose_package_has(sha512)})
    found = nodes.find_or_install("anvil", tmp_path / "cache", print)
    assert found == Program("anvil", (str(tmp_path / "cache" / "anvil" / "1.7.1" / "anvil"),), "anvil 1.7.1")
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"anvil", "anvil.lock"}


def test_another_npm_package_than_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha512 = npm_that_brings("anvil Version: 1.7.1", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match=re.escape(f"its sha512 is {sha512}). Put anvil (version 1 or later)")):
        nodes.find_or_install("anvil", tmp_path / "cache", print)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["anvil.lock"]


def test_without_npm_and_without_pypi_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SandboxError, match=r"npm is missing(.|\n)*Put anvil \(version 1 or later\) on PATH"):
        nodes.find_or_install("anvil", tmp_path / "cache", print)


def test_an_unknown_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no recipe for 'gethd'"):
        nodes.find_or_install("gethd", tmp_path, print)
