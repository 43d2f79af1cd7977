"""The bill of materials is complete, and its audit finds what it is there to find."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

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
