"""A dashboard for each test, on a database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kassa.db.pool import Database
from tests.dashboard.visitor import Premises, open_premises


@pytest.fixture
async def premises(database: Database, tmp_path: Path) -> AsyncIterator[Premises]:
    async with open_premises(database, tmp_path) as opened:
        yield opened
