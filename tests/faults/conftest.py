"""A shop on a fresh regtest node for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kassa.chains.bitcoin.devnode import DevNode
from kassa.db.pool import Database
from tests.shop import Shop, open_shop


@pytest.fixture
async def shop(bitcoind: DevNode, database: Database, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(bitcoind, database, tmp_path) as opened:
        yield opened
