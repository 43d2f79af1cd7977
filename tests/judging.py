"""When a test is over, every database that it filled is judged: by the oracle, by its nodes, and by a stranger.

`tests/faults` and `tests/e2e` take the fixture `judged` for every test. One that tampers with rows, or lets a node or a
token lie about money for good, says so: `@pytest.mark.tampers("what")`.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from kassa.db.pool import Database
from kassa.house import House
from tests import checker, evmchecker
from tests.house import PLACES, Place, build_house
from tests.oracle import Oracle, check_chain
from tests.strangers import check_strangers
from tests.truth import truth

NODES = {"bitcoind": "bitcoin-regtest", "litecoind": "litecoin-regtest", "anvil": "anvil"}
"""Which network a fixture is the node of; a proxy may have stood before it."""


@pytest.fixture(autouse=True)
def judged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Judge what the test left behind, before its nodes and its database go and after everything else has ended."""
    if "database_url" not in request.fixturenames:
        yield  # whoever makes databases of their own has them judged
        return
    server = request.getfixturevalue("postgres_url")
    request.getfixturevalue("database_url")  # asked for here, it ends after us; so do the nodes
    asked_for = [name for name in NODES if name in request.fixturenames]
    running = {NODES[name]: request.getfixturevalue(name) for name in asked_for}
    PLACES.clear()
    yield
    places = dict(PLACES)
    if places and request.node.get_closest_marker("tampers") is None:
        asyncio.run(_judge_each(server, places, {network: node.rpc_url for network, node in running.items()}))


async def _judge_each(server: str, places: Mapping[str, Place], nodes: Mapping[str, str]) -> None:
    for name, place in places.items():
        parts = urlsplit(server)
        with suppress(asyncpg.InvalidCatalogNameError):  # already dropped: whoever made it had it judged
            database = await Database.open(urlunsplit((*parts[:2], "/" + name, *parts[3:])), connections=4)
            try:
                await _judge(database, place, nodes)
            finally:
                await database.close()


async def _judge(database: Database, place: Place, nodes: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        house = await build_house(database, Path(folder), place.networks, place.clock)
        try:
            await Oracle(house).check()
            for row in await database.pool.fetch("select id, state, hash from networks where id = any($1)", [*nodes]):
                with suppress(URLError):  # the node is down
                    if row["id"] in house.chains and row["state"] == "ok":
                        await _judge_chain(house, row["id"], row["hash"], nodes[row["id"]])
            await check_strangers(house)
        finally:
            await house.marks.close()


async def _judge_chain(house: House, network: str, ours: str, rpc_url: str) -> None:
    """Compare with the node where we stand on its tip, and so may say what it holds."""
    if house.settings.networks[network].family == "evm":
        if await asyncio.to_thread(evmchecker.tip, rpc_url) == ours:
            await evmchecker.check(house, network, rpc_url)
    elif await asyncio.to_thread(checker.tip, rpc_url) == ours:
        await check_chain(house, await truth(house, rpc_url, network), looked=False)
