"""What `kassa doctor` finds out about a node by looking closer than a port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kassa.chains.bitcoin.devnode import DevNode
from kassa.doctor import Finding, Verdict, examine
from kassa.settings import Settings
from tests.house import BITCOIN, regtest
from tests.tools.hints import Hints
from tests.tools.liar import Liar


async def findings(database_url: str, folder: Path, rpc_url: str, zmq: tuple[str, ...] = ()) -> dict[str, Finding]:
    network = regtest(rpc_url=rpc_url, zmq=zmq)
    settings = Settings(database_url=database_url, data_dir=folder, networks={BITCOIN: network})
    return {finding.check.removeprefix(f"{BITCOIN} "): finding for finding in await examine(settings)}


@asynccontextmanager
async def busy(node: DevNode) -> AsyncIterator[None]:
    """Let the node see payments, as on any real network."""

    async def pay() -> None:
        while True:
            await node.fund(await node.address(), 10_000)

    paying = asyncio.create_task(pay())
    try:
        yield
    finally:
        paying.cancel()
        await asyncio.wait([paying])


async def test_pushed_messages_must_arrive_not_only_find_an_open_port(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    at = urlsplit(bitcoind.rpc_url)
    no_publisher = f"tcp://{at.hostname}:{at.port}"
    async with Hints(bitcoind.push[0]) as lost, Hints(bitcoind.push[0]) as whole, busy(bitcoind):
        lost.lose = True
        found = await findings(database_url, tmp_path, bitcoind.rpc_url, (lost.url, whole.url, no_publisher))
    assert found[f"push {whole.url}"].verdict is Verdict.OK
    for silent in (lost.url, no_publisher):
        assert found[f"push {silent}"].verdict is Verdict.WARN
        assert "no message came within 5 s" in found[f"push {silent}"].detail
        assert f"-zmqpubrawtx={silent}" in found[f"push {silent}"].remedy


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0, Verdict.OK), (50, Verdict.OK), (70, Verdict.WARN), (-70, Verdict.WARN)]
)
async def test_a36_a_node_whose_clock_differs_is_named(
    bitcoind: DevNode, database_url: str, tmp_path: Path, seconds: int, verdict: Verdict
) -> None:
    async with Liar(bitcoind.rpc_url) as liar:
        if seconds:
            liar.on("getnettotals").mutate(lambda said: {**said, "timemillis": said["timemillis"] + seconds * 1000})
        found = await findings(database_url, tmp_path, liar.url)
    assert found["node clock"].verdict is verdict
    assert "NTP" in found["node clock"].remedy or verdict is Verdict.OK


async def test_a36_the_node_clock_is_not_its_block_time(bitcoind: DevNode, database_url: str, tmp_path: Path) -> None:
    await bitcoind.set_mock_time(4_000_000_000)
    await bitcoind.mine()
    found = await findings(database_url, tmp_path, bitcoind.rpc_url)
    assert found["node clock"].verdict is Verdict.OK
    assert found["node block time"].verdict is Verdict.FAIL
