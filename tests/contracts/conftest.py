"""A private Ethereum node for each test: anvil, mining each transaction as it comes."""

import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kassa.chains.base import Program
from kassa.chains.rpc import JsonRpc

START_SECONDS = 20
_LISTENING = re.compile(r"Listening on (127\.0\.0\.1:[0-9]+)")


@pytest.fixture
def node_url(anvil_program: Program, tmp_path: Path) -> Iterator[str]:
    """The URL of an anvil of this test alone."""
    said = tmp_path / "anvil.log"
    with said.open("wb") as log:
        process = subprocess.Popen([*anvil_program.argv, "--port", "0"], stdout=log, stderr=log)
    try:
        yield f"http://{_listening(process, said)}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
async def node(node_url: str) -> AsyncIterator[JsonRpc]:
    """A client of that anvil."""
    async with JsonRpc(node_url) as rpc:
        yield rpc


@pytest.fixture
async def accounts(node: JsonRpc) -> list[str]:
    """The accounts that the node signs for, each with 10,000 ether."""
    return await node.call(list[str], "eth_accounts")


def _listening(process: subprocess.Popen[bytes], said: Path) -> str:
    limit = time.monotonic() + START_SECONDS
    while (found := _LISTENING.search(said.read_text())) is None:
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < limit, "anvil does not listen"
        time.sleep(0.02)
    return found[1]
