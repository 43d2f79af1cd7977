"""The short chaos run of every check (a long one: `make chaos`), and what its plan promises."""

import os
from pathlib import Path

import pytest

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from tests.chaos.plan import PROCESSES, plan
from tests.chaos.run import chaos
from tests.chaos.stage import staged

SECONDS = 40


def test_a_seed_gives_the_same_plan_again() -> None:
    assert plan(7, 600) == plan(7, 600) != plan(8, 600)


def test_a_long_plan_breaks_everything() -> None:
    acts = plan(1, 1_800)
    assert {act.kind for act in acts} == {"kill", "end", "freeze", "database", "wire", "receiver", "fork"}
    assert {act.target for act in acts if act.kind == "kill"} == set(PROCESSES)


@pytest.mark.timeout(900)
async def test_d20_every_invariant_holds_after_everything_was_broken(
    bitcoind: DevNode, anvil: AnvilNode, tmp_path: Path
) -> None:
    seed = int(os.environ.get("KASSA_CHAOS_SEED", "1"))
    async with staged(tmp_path / "kassa", bitcoind, anvil) as stage:
        told = await chaos(stage, seed, SECONDS, print)
    assert told.invoices > 10
    assert told.starts > len(PROCESSES)
