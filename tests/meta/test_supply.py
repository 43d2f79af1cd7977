"""The bill of materials is complete, and its audit finds what it is there to find."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # litestar brings it, without types

from ops import sbom

ROOT = Path(__file__).parent.parent.parent
HASH = "    --hash=sha256:" + "0" * 64
GOOD = f"aiohttp==3.1 \\\n{HASH}\n"


@pytest.fixture(scope="module")
def pins() -> list[sbom.Pin]:
    found, strange = sbom.read_lock((ROOT / "requirements.lock").read_text("utf-8"))
    assert strange == []
    return found


def found(lock: str, licences: dict[str, str], bad: str = "") -> Iterator[str]:
    return sbom.faults(*sbom.read_lock(lock), licences, bad)


def test_everything_that_is_installed_with_kassa_is_in_the_bill(pins: list[sbom.Pin]) -> None:
    licences = {pin.name: sbom.licence(pin.name) for pin in pins if pin.is_for_us}
    made = sbom.document(pins, licences, "1")
    assert len(pins) > 50
    assert len(made["components"]) == len(licences)
    assert list(sbom.faults(pins, [], licences, "")) == []


@pytest.mark.parametrize(
    ("lock", "bad", "said"),
    [
        ("aiohttp==3.1\n", "", "has no hash"),
        ("aiohttp>=3\n" + HASH, "", "pins nothing"),
        ("git+https://host/x.git\n", "", "pins nothing"),
        (GOOD, "aiohttp<3.10.2  GHSA-1\n", "known to be bad: GHSA-1"),
        (GOOD, "AIOHTTP >=3,<4\n", "known to be bad"),
        (GOOD, "what is this\n", "cannot be read"),
        (GOOD, "", "the lock says 3.1"),
        (f"nowhere==1 \\\n{HASH}\n", "", "not installed"),
    ],
)
def test_what_is_wrong_with_a_lock_is_said(lock: str, bad: str, said: str) -> None:
    assert any(said in line for line in found(lock, {"aiohttp": "MIT"}, bad))


@pytest.mark.parametrize(
    ("tools", "bad", "said"),
    [
        (GOOD, "", ""),
        ("pytest==9 \\\n", "", "has no hash"),
        (f"pytest>=9 \\\n{HASH}\n", "", "pins nothing"),
        (f"pytest==9 \\\n{HASH}\n", "pytest<9.1  GHSA-2\n", "known to be bad: GHSA-2"),
    ],
)
def test_e45_what_builds_and_tests_is_audited_as_well(
    tools: str, bad: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tools.lock").write_text(tools)
    (tmp_path / "bad").write_text(bad)
    given = ["--lock", str(ROOT / "requirements.lock"), "--tools", str(tmp_path / "tools.lock")]
    places = ["--out", str(tmp_path / "sbom.json"), "--bad", str(tmp_path / "bad")]
    monkeypatch.setattr(sys, "argv", ["sbom", *given, *places])
    assert sbom.main() == (1 if said else 0)
    assert said in capsys.readouterr().err


def test_a_licence_that_is_not_on_the_list_is_named(pins: list[sbom.Pin]) -> None:
    aiohttp = next(pin for pin in pins if pin.name == "aiohttp")
    wrong = list(sbom.faults([aiohttp], [], {"aiohttp": "MIT AND GPL-3.0-only"}, ""))
    assert wrong == ["aiohttp has a licence that is not on the list: MIT AND GPL-3.0-only"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
@pytest.mark.parametrize("unit", sorted((ROOT / "ops" / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_the_units_leave_little_open(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(unit)]
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout[-300:] + rated.stderr


@pytest.mark.parametrize(
    ("unit", "denied", "allowed"),
    [
        ("kassa@.service", "link-local multicast", ""),
        ("kassa@api.service.d/egress.conf", "any", "localhost"),
        ("kassa@watch.service.d/egress.conf", "any", "localhost"),
        ("kassa-backup.service", "any", "localhost"),
    ],
)
def test_e45_no_unit_reaches_more_than_its_role_asks(unit: str, denied: str, allowed: str) -> None:
    lines = (ROOT / "ops" / "systemd" / unit).read_text("utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines if line.startswith("IPAddress"))
    assert (found["IPAddressDeny"], found.get("IPAddressAllow", "")) == (denied, allowed)


@pytest.mark.parametrize("unit", ["kassa@.service", "kassa-backup.service"])
def test_no_unit_starts_before_the_clock_is_set_where_something_sets_it(unit: str) -> None:
    lines = (ROOT / "ops" / "systemd" / unit).read_text("utf-8").splitlines()
    assert any(line.startswith("After=") and "time-sync.target" in line.split("=")[1].split() for line in lines)


def test_the_backup_unit_writes_where_systemd_makes_a_folder() -> None:
    lines = (ROOT / "ops" / "systemd" / "kassa-backup.service").read_text("utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    to = found["ExecStart"].split("--to ")[1].split()[0]
    assert to in {f"/var/lib/{name}" for name in found["StateDirectory"].split()}
    assert "ReadWritePaths" not in found  # a folder named there has to exist, or the unit fails


def test_e45_no_container_reaches_more_than_its_role_asks() -> None:
    composed = yaml.safe_load((ROOT / "ops" / "compose.yaml").read_text("utf-8"))
    ways = {name: set(each["networks"]) for name, each in composed["services"].items()}
    shut = {"inside"}
    assert ways == {
        "migrate": shut, "backup": shut, "postgres": shut, "watch": shut, "api": shut | {"front"},
        "work": shut | {"outside"},
    }  # fmt: skip
    assert composed["networks"]["inside"] == {"internal": True}
    assert composed["networks"]["front"]["driver_opts"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"
    assert [name for name, each in composed["services"].items() if "ports" in each] == ["api"]


def test_e45_the_same_source_is_the_same_bytes_wherever_it_is_built(tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "another"):
        folder = tmp_path / name
        ignored = shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__")
        shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
        for part in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
            shutil.copy(ROOT / part, folder / part)
        program = "from setuptools import build_meta; print(build_meta.build_wheel('out'))"
        built = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests.add(sha256((folder / "out" / built.stdout.splitlines()[-1]).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_e45_the_image_takes_nothing_that_is_not_pinned() -> None:
    text = (ROOT / "ops" / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    installs = [line.partition("pip install")[2] for line in text.splitlines() if "pip install" in line]
    assert installs != []
    for each in installs:
        assert "--require-hashes" in each or ("--no-deps" in each and "--no-build-isolation" in each), each
