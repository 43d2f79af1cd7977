"""Real nodes for tests: a fresh, funded regtest node for each test that asks for one.

Each run prepares one data directory per program; a test gets a copy of it, which is serving in about 0.4 seconds.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from kassa.chains.base import Program
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from kassa.sandbox.nodes import find_or_install, nodes_dir


@pytest.fixture(scope="session")
def bitcoind_program() -> Program:
    """The bitcoind of this machine, installed if it has none."""
    return find_or_install("bitcoind", nodes_dir(), print)


@pytest.fixture(scope="session")
def litecoind_program() -> Program:
    """The litecoind of this machine, installed if it has none."""
    return find_or_install("litecoind", nodes_dir(), print)


@pytest.fixture(scope="session")
def anvil_program() -> Program:
    """The anvil of this machine, installed if it has none."""
    return find_or_install("anvil", nodes_dir(), print)


@pytest.fixture(scope="session")
def bitcoind_data(bitcoind_program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A funded data directory, to be copied."""
    return _prepare(bitcoind_program, "bitcoin-regtest", tmp_path_factory.mktemp("bitcoind") / "data")


@pytest.fixture(scope="session")
def litecoind_data(litecoind_program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A funded data directory, to be copied."""
    return _prepare(litecoind_program, "litecoin-regtest", tmp_path_factory.mktemp("litecoind") / "data")


@pytest.fixture
async def bitcoind(bitcoind_program: Program, bitcoind_data: Path, tmp_path: Path) -> AsyncIterator[DevNode]:
    """A Bitcoin regtest node with ZMQ and a funded wallet, of this test alone."""
    async with running(bitcoind_program, bitcoind_data, tmp_path / "bitcoind", "bitcoin-regtest") as node:
        yield node


@pytest.fixture
async def litecoind(litecoind_program: Program, litecoind_data: Path, tmp_path: Path) -> AsyncIterator[DevNode]:
    """A Litecoin regtest node with a funded wallet, of this test alone. It has no ZMQ."""
    async with running(litecoind_program, litecoind_data, tmp_path / "litecoind", "litecoin-regtest") as node:
        yield node


@pytest.fixture
async def bitcoind_pair(
    bitcoind_program: Program, bitcoind_data: Path, tmp_path: Path
) -> AsyncIterator[tuple[DevNode, DevNode]]:
    """Two nodes with the same history and the same coins, apart until `connect` and again after `partition`."""
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(
                running(bitcoind_program, bitcoind_data, tmp_path / name, "bitcoin-regtest", peers=True)
            )
            for name in ("first", "second")
        ]
        # The wallets are copies: without this both would mine the same block to the same "fresh" address.
        await second.rpc.each("getnewaddress", [()] * 50)
        yield first, second


@asynccontextmanager
async def running(
    program: Program, prepared: Path, datadir: Path, chain: str, *, peers: bool = False
) -> AsyncIterator[DevNode]:
    """Run a node on a copy of a prepared data directory; kill it and remove the copy afterwards."""
    await asyncio.to_thread(shutil.copytree, prepared, datadir)
    node = await DevNode.start(program, datadir, chain, peers=peers)
    try:
        yield node
    finally:
        await node.kill()
        await asyncio.to_thread(shutil.rmtree, datadir)


def _prepare(program: Program, chain: str, datadir: Path) -> Path:
    async def fill() -> None:
        node = await DevNode.start(program, datadir, chain)
        await node.stop()

    asyncio.run(fill())
    return datadir


@pytest.fixture
async def anvil(anvil_program: Program, tmp_path: Path) -> AsyncIterator[AnvilNode]:
    """An anvil of this test alone, which mines when told, with a token USDC of 6 decimals."""
    node = await AnvilNode.start(anvil_program, tmp_path / "anvil")
    try:
        await node.deploy("USDC", 6)
        yield node
    finally:
        await node.kill()
