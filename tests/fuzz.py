"""G8: throw random input at every parser for some minutes, each round with another seed (`make fuzz MINUTES=60`)."""

import argparse
import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from time import monotonic

from tests.conftest import ROOT

PARSERS = ("bitcoin_blocks", "bitcoin_addresses", "evm_reading", "evm_addresses", "money", "parsers")
TIMES = 10
"""Examples in a round, as a multiple of those of `make test`."""


def main() -> int:
    """Run rounds until the time is over or a property fails; print the seed of each, which makes it come again."""
    options = argparse.ArgumentParser(prog="make fuzz")
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--seed", type=int, help="of one round, to see it again")
    asked = options.parse_args()
    end = monotonic() + 60 * asked.minutes
    rounds = 0
    while monotonic() < end and not (asked.seed is not None and rounds):
        seed = secrets.randbelow(2**32) if asked.seed is None else asked.seed
        rounds += 1
        print(f"fuzz: round {rounds}, seed {seed}", flush=True)
        if fuzz(seed, None if asked.seed is not None else end - monotonic()):
            print(f"fuzz: a property does not hold; see it again by `python -m tests.fuzz --seed {seed}`")
            return 1
    print(f"fuzz: {rounds} rounds, nothing found")
    return 0


def fuzz(seed: int, seconds: float | None) -> bool:
    """Play one round, or as much of it as there is time for; return whether something was found."""
    files = [f"tests/rules/test_{name}.py" for name in PARSERS]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "2", f"--hypothesis-seed={seed}", *files]
    # A session of its own, so that pytest's helpers end with it.
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "KASSA_FUZZ": str(TIMES)}, start_new_session=True)
    try:
        return process.wait(seconds) != 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
