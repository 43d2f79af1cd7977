"""`python -m tests.chaos --seed 7 --minutes 10`: a chaos run of any length, with its progress on the terminal."""

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from kassa.sandbox.nodes import find_or_install, nodes_dir
from tests.chaos.run import Told, chaos
from tests.chaos.stage import staged


async def play(seed: int, seconds: float, folder: Path) -> Told:
    """Start the nodes and play one run on them."""
    programs = [await asyncio.to_thread(find_or_install, name, nodes_dir(), print) for name in ("bitcoind", "anvil")]
    bitcoin = await DevNode.start(programs[0], folder / "bitcoind", "bitcoin-regtest")
    anvil = await AnvilNode.start(programs[1], folder / "anvil")
    began = time.monotonic()
    try:
        await anvil.deploy("USDC", 6)
        async with staged(folder / "kassa", bitcoin, anvil) as stage:
            return await chaos(
                stage, seed, seconds, lambda line: print(f"{time.monotonic() - began:7.1f}  {line}", flush=True)
            )
    finally:
        await bitcoin.kill()
        await anvil.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=5)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kassa-chaos-"))
    folder.chmod(0o755)
    print(f"chaos: seed {asked.seed}, {asked.minutes} minutes; logs in {folder}. The plan of faults follows from the"
          " seed; how the processes meet them does not.")  # fmt: skip
    told = asyncio.run(play(asked.seed, asked.minutes * 60, folder))
    print(f"every invariant holds: {told}")


if __name__ == "__main__":
    main()
