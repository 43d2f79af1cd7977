"""The suite is the same list in every process, or the processes that share it refuse to begin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
SEEDS = ("1", "2", "3")
"""Sets are walked in an order that depends on this; what takes its cases from one differs in most pairs of seeds."""


@pytest.mark.timeout(1_200)  # three at once read the whole suite, beside another worker of it
def test_every_process_collects_the_same_tests_in_the_same_order() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    asked = [
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTEST_ADDOPTS": ""},
            text=True,
            stdout=subprocess.PIPE,
        )
        for seed in SEEDS
    ]
    first, *others = [[line for line in each.communicate()[0].splitlines() if "::" in line] for each in asked]
    assert len(first) > 1_000
    for other in others:
        assert [(one, two) for one, two in zip(first, other, strict=True) if one != two] == []
