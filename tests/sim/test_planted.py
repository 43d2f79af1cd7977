"""G2: what random histories are good for: each planted fault is found by them within five minutes."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.sim.planted import PLANTED, SOURCE, Planted
from tests.sizes import FULL

FIVE_MINUTES = 300


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name.replace(" ", "-"))
def test_a_planted_fault_fits_the_program(planted: Planted, tmp_path: Path) -> None:
    copy = tmp_path / "kassa" / planted.file
    copy.parent.mkdir(parents=True)
    shutil.copy(SOURCE / "kassa" / planted.file, copy)

    planted.into(tmp_path)

    compile(copy.read_text(), planted.file, "exec")


@pytest.mark.catalogue
@pytest.mark.skipif(not FULL, reason="takes half an hour: make catalogue ARGS=tests/sim")
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name.replace(" ", "-"))
async def test_g2_random_histories_find_a_planted_fault(planted: Planted, tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    planted.into(tmp_path / "src")

    code, said = await _histories(tmp_path / "src")

    assert code == 1, said
    assert "state = Run()" in said, said  # a history that shows it, and no other error


async def _histories(source: Path) -> tuple[int | None, str]:
    """Run the histories of every day, as many as it takes, on a program; return what pytest returned and said."""
    # The same histories each time: CI. Found, and not made smaller: FAST.
    told = {"PYTHONPATH": str(source), "CI": "1", "KASSA_SIM_FAST": "1", "KASSA_SIM_EXAMPLES": "1000"}
    arguments = [
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "--show-capture=no",
        "tests/sim/test_histories.py",
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=SOURCE.parent,
        env=os.environ | told,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(FIVE_MINUTES):
            said = await process.stdout.read()
    finally:
        if process.returncode is None and not process.stdout.at_eof():
            process.kill()
    return await process.wait(), said.decode(errors="replace")
