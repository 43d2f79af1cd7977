"""A private Ethereum node for each test: anvil, mining each transaction as it comes, asked over plain JSON-RPC."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kassa.chains.base import Program
from kassa.chains.evm.devnode import AnvilNode, AnvilOptions
from kassa.chains.rpc import JsonRpc


@pytest.fixture
async def node(anvil_program: Program, tmp_path: Path) -> AsyncIterator[JsonRpc]:
    """A client of an anvil of this test alone."""
    anvil = await AnvilNode.start(anvil_program, tmp_path / "anvil", AnvilOptions(automine=True))
    try:
        async with JsonRpc(anvil.rpc_url) as rpc:
            yield rpc
    finally:
        await anvil.kill()


@pytest.fixture
async def accounts(node: JsonRpc) -> list[str]:
    """The accounts that the node signs for, all of them rich."""
    return await node.call(list[str], "eth_accounts")
