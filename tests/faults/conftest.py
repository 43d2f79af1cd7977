"""A shop on a fresh node for each test, and the judgement of what each test leaves behind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from kassa.db.pool import Database
from tests.evmshop import EvmShop, open_evm_shop
from tests.faults.crashing import Databases
from tests.judging import judged
from tests.shop import Shop, open_shop

__all__ = ["judged"]


@pytest.fixture
async def shop(bitcoind: DevNode, database: Database, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(bitcoind, database, tmp_path) as opened:
        yield opened


@pytest.fixture
async def evm(anvil: AnvilNode, database: Database, tmp_path: Path) -> AsyncIterator[EvmShop]:
    """A shop that accepts ether and the demo token on an anvil that mines when told."""
    async with open_evm_shop(anvil, database, tmp_path) as opened:
        yield opened


@pytest.fixture
async def empty(postgres_url: str, template: str) -> AsyncIterator[Database]:
    """A second database beside `database`: for a Kassa that scans anew what another one lived through."""
    made = Databases(postgres_url, template, [])
    opened = await Database.open(await made.copy())
    yield opened
    await opened.close()
    await made.drop()
