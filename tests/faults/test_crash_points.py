"""D1, G4: killed at every named point, twice over, Kassa ends where it would have ended without."""

import ast
import json
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest

from kassa.chains.bitcoin.devnode import DevNode
from tests.faults.crashing import (
    ROOT,
    Databases,
    caught_up,
    follow_once,
    free_lease,
    invoice,
    open_shop,
    opened,
    running,
    story,
)
from tests.oracle import Oracle, check_chain
from tests.rescan import compare, copy_terms, projection, stand_on_first
from tests.sizes import FULL
from tests.truth import truth

FORWARD = (
    "chain.read", "chain.held", "chain.linked", "chain.blocks", "payment.put", "chain.payments", "chain.conflicts",
    "chain.voids", "chain.unowned", "flow.locked", "flow.announced", "flow.payments", "flow.events", "flow.credited",
    "flow.posted", "chain.commit", "chain.committed", "mempool.read", "mempool.payments", "mempool.ancestors",
    "mempool.commit",
)  # fmt: skip
"""In the order in which they are passed."""
REORGANISATION = (*FORWARD[:2], "chain.undone", *FORWARD[2:])
OPENING = ("invoice.written", "invoice.commit")
# Points that are passed again after the first: by the next block, or by the look into the mempool.
AGAIN = ("chain.held", "chain.commit", "flow.announced", "flow.events")
ELSEWHERE = {
    "webhook.": ROOT / "tests" / "faults" / "test_webhook_crashes.py",
    "final.": ROOT / "tests" / "faults" / "test_evm_crashes.py",
    "spend.": ROOT / "tests" / "faults" / "test_credit.py",
}


@dataclass
class Scene:
    """A node, and a database from before the node's last news; `golden` was caught up with by nobody who died."""

    node: DevNode
    before: str
    golden: str


@pytest.fixture
async def databases(postgres_url: str, template: str) -> AsyncIterator[Databases]:
    made = Databases(postgres_url, template, [])
    yield made
    await made.drop()


def test_every_crash_point_is_killed_at() -> None:
    named = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crashpoint":
                assert isinstance(node.args[0], ast.Constant), f"{file}: a crash point has a literal name"
                named.add(node.args[0].value)
    assert named >= {*REORGANISATION, *OPENING}
    for name in named - {*FORWARD, *REORGANISATION, *OPENING}:
        covering = [file for prefix, file in ELSEWHERE.items() if name.startswith(prefix)]
        assert covering, f"no test kills the process at {name!r}"
        assert f'"{name}' in covering[0].read_text(), f"{covering[0].name} does not kill at {name!r}"


async def _forward(node: DevNode, databases: Databases, folder: Path) -> Scene:
    """Leave Kassa behind three blocks with payments, and a mempool with another."""
    before = await databases.copy()
    async with opened(before, folder / "forward", node.rpc_url) as house:
        store = await open_shop(house)
        await follow_once(house, node.rpc_url)
        (one, due), (two, _), (three, _), (four, _) = [await invoice(house, store) for _ in range(4)]
        early = await node.fund(one, due)
        # One is known before the crash, the others come out of the blue.
        await follow_once(house, node.rpc_url)
    await node.send_many([(two, due // 2), (two, due // 4), (two, due - due // 2 - due // 4), (three, due // 2)])
    await node.mine()
    await node.fund(three, due)
    await node.mine(2)
    assert early not in await node.mempool()
    await node.fund(four, due)
    return Scene(node, before, await _caught_up_with(databases, before, folder, node, RUNNER_BLOCKS="1"))


async def _reorganisation(node: DevNode, databases: Databases, folder: Path) -> Scene:
    """Leave Kassa on a branch whose settled payments are double-spent, mined elsewhere, and back in the mempool."""
    before = await databases.copy()
    async with opened(before, folder / "reorganisation", node.rpc_url) as house:
        store = await open_shop(house)
        await node.mine()
        await follow_once(house, node.rpc_url)
        (one, due), (two, _), (three, _), (four, _) = [await invoice(house, store) for _ in range(4)]
        spent_twice = await node.send_many([(one, due), (two, due // 2)])
        conflict = await node.conflict(spent_twice, [(four, due)])
        await node.fund(two, due)
        pushed_back = await node.fund(three, due)
        await node.mine()
        await node.mine()
        await follow_once(house, node.rpc_url)
        assert await house.database.pool.fetchval("select count(*) from invoices where status = 'settled'") == 3
    await node.fork(2, drop={spent_twice, pushed_back}, transactions=[conflict])
    assert await node.mempool() == {pushed_back}
    return Scene(node, before, await _caught_up_with(databases, before, folder, node))


async def _caught_up_with(databases: Databases, before: str, folder: Path, node: DevNode, **environment: str) -> str:
    golden = await databases.copy(before)
    # The same variable, with a point that there is not: nobody dies.
    async with running(golden, folder / "golden", node.rpc_url, KASSA_CRASH="nowhere:1", **environment):
        await caught_up(golden, node)
    return golden


async def _check_killed(
    scene: Scene, databases: Databases, folder: Path, deaths: list[str], **environment: str
) -> None:
    """Kill the process at these points, one after the other; let it recover; compare with the one that never died."""
    url, node = await databases.copy(scene.before), scene.node
    for death in deaths:
        async with running(url, folder / "killed", node.rpc_url, KASSA_CRASH=death, **environment) as run:
            assert await run.ended() == -signal.SIGKILL, f"it did not die at {death}"
        await _check_consistent(url, folder, node)
        await free_lease(url)
    async with running(url, folder / "killed", node.rpc_url, **environment):
        await caught_up(url, node)
    async with (
        opened(url, folder / "killed", node.rpc_url) as house,
        opened(scene.golden, folder / "golden", node.rpc_url) as golden,
    ):
        await Oracle(house).check()
        await check_chain(house, await truth(house, node.rpc_url), looked=True)
        assert await projection(house) == await projection(golden)
        assert await story(house) == await story(golden)


async def _check_consistent(url: str, folder: Path, node: DevNode) -> None:
    async with opened(url, folder / "between", node.rpc_url) as house:
        await Oracle(house).check()


def _lives(points: Sequence[str]) -> list[list[str]]:
    """Return the deaths of each Kassa: one that dies at every point in turn; in full, one for each point.

    Every death but the first is during the recovery from the one before.
    """
    if not FULL:
        return [[f"{point}:1" for point in points]]
    return [[f"{point}:1", f"{after}:1"] for point, after in pairwise([*points, points[-1]])]


@pytest.mark.catalogue
@pytest.mark.timeout(900)
async def test_d1_killed_at_any_point_of_moving_forward(
    bitcoind: DevNode, databases: Databases, tmp_path: Path
) -> None:
    scene = await _forward(bitcoind, databases, tmp_path)
    for deaths in [*_lives(FORWARD), *([f"{point}:2"] * 2 for point in AGAIN)]:
        await _check_killed(scene, databases, tmp_path, deaths, RUNNER_BLOCKS="1")


@pytest.mark.catalogue
@pytest.mark.timeout(900)
async def test_d1_killed_at_any_point_of_a_reorganisation(
    bitcoind: DevNode, databases: Databases, tmp_path: Path
) -> None:
    scene = await _reorganisation(bitcoind, databases, tmp_path)
    for deaths in _lives(REORGANISATION):
        await _check_killed(scene, databases, tmp_path, deaths)


async def test_g6_what_a_rescan_gives_is_what_was_lived_through(
    bitcoind: DevNode, databases: Databases, tmp_path: Path
) -> None:
    """On a real node: after a reorganisation with a double spend."""
    scene = await _reorganisation(bitcoind, databases, tmp_path)
    empty = await databases.copy()
    async with (
        opened(scene.golden, tmp_path / "golden", bitcoind.rpc_url) as house,
        opened(empty, tmp_path / "empty", bitcoind.rpc_url) as fresh,
    ):
        await copy_terms(house, fresh)
        await stand_on_first(house, fresh)
        await follow_once(fresh, bitcoind.rpc_url, looks=2)
        await compare(house, fresh)


@pytest.mark.parametrize("point", OPENING)
async def test_an_invoice_that_died_half_written_never_was(
    bitcoind: DevNode, databases: Databases, tmp_path: Path, point: str
) -> None:
    url = await databases.copy()
    async with opened(url, tmp_path / "shop", bitcoind.rpc_url) as house:
        await open_shop(house)
        await follow_once(house, bitcoind.rpc_url)
    async with running(url, tmp_path / "shop", bitcoind.rpc_url, "invoice", KASSA_CRASH=f"{point}:1") as run:
        assert await run.ended() == -signal.SIGKILL
    connection = await asyncpg.connect(url)
    written = (
        "select (select count(*) from invoices) + (select count(*) from events) + (select count(*) from addresses)"
    )
    assert await connection.fetchval(written) == 0
    lost = await connection.fetchval("select next_index from keychains") - 1
    async with running(url, tmp_path / "shop", bitcoind.rpc_url, "invoice") as run:
        assert await run.ended() == 0
    made = json.loads(await connection.fetchval("select object from events"))
    assert made["status"] == "new"
    assert await connection.fetchval("select min(index) from addresses") > lost
    await connection.close()
    async with opened(url, tmp_path / "shop", bitcoind.rpc_url) as house:
        await Oracle(house).check()
