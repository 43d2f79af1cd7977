"""The short chaos run of every check (a long one: `make chaos`), and what its plan promises."""

import os
from pathlib import Path

import pytest

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from tests.chaos.plan import PROCESSES, RECEIVER_FAULTS, WIRE_FAULTS, plan
from tests.chaos.run import chaos
from tests.chaos.stage import staged

SECONDS = 60
SEED = 760_011
"""Every check plays one plan, so that it fails for what was changed; `make chaos` draws another each time.

This one restarts PostgreSQL while webhooks are sent, and found that their loop could end without a word.
"""


def test_a_seed_gives_the_same_plan_again() -> None:
    assert plan(7, 600) == plan(7, 600) != plan(8, 600)


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_breaks_everything(seed: int) -> None:
    short = {(act.kind, act.how) for act in plan(seed, 60)}
    assert short >= {("database", "immediate"), ("fork", "keep"), ("fork", "drop"), ("kill", ""), ("freeze", "")}
    assert {how for kind, how in short if kind == "wire"} == set(WIRE_FAULTS)
    long = plan(seed, 1_800)
    assert {act.how for act in long if act.kind == "receiver"} == set(RECEIVER_FAULTS)
    assert {act.target for act in long if act.kind == "kill"} == set(PROCESSES)


@pytest.mark.timeout(900)
async def test_d20_every_invariant_holds_after_everything_was_broken(
    bitcoind: DevNode, anvil: AnvilNode, tmp_path: Path
) -> None:
    seed = int(os.environ.get("CHAOS_SEED", SEED))
    async with staged(tmp_path / "kassa", bitcoind, anvil) as stage:
        told = await chaos(stage, seed, SECONDS, print)
    assert told.invoices > 10
    assert told.starts > len(PROCESSES)
