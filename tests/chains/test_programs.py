"""Node programs are found where they are, and what cannot be had is said with its remedy."""

import re
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
    with pytest.raises(SandboxError, match=re.escape("Put a bitcoind of version 25 or later on PATH")):
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


def test_an_unknown_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no recipe for 'gethd'"):
        nodes.find_or_install("gethd", tmp_path, print)
