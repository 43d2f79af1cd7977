"""The API while its database misbehaves, and what it writes to its log then."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from kassa.api.health import KEPT_SECONDS
from kassa.api.serving import ANSWER_SECONDS
from kassa.db.pool import Database
from kassa.measures import LOST_TRANSACTIONS
from tests.api.conftest import follow
from tests.api.served import ORDER, Served, serve, until
from tests.house import BITCOIN, TPUB, add_store, build_house

TPRV = "tprv8ZgxMBicQKsPeDgjzdC36fs6bMjGApWDNLR9erAXMs5skhMv36j9MV5ecvfavji5khqjWaWSFhN3YcCUUdiKH6isR4Pwy3U5y5egddBr16m"


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Served]:
    """A served house with a store that takes bitcoin."""
    house = await build_house(database, tmp_path)
    await follow(house)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store) as running:
        yield running
    await house.marks.close()


@pytest.mark.parametrize(
    ("table", "keyed", "lost", "least"),
    [("customers", True, 0.3, 30), ("invoices", False, 0.05, 3), ("invoices", True, 0.05, 3)],
    ids=["each by itself", "many by one statement", "many by one statement, with their answers"],
)
async def test_d8_lost_transactions_are_tried_again_out_of_the_callers_sight(
    served: Served, table: str, keyed: bool, lost: float, least: int
) -> None:
    # Of the commits of one of these this share fails as a serialisation failure would, at the very end.
    await served.house.database.pool.execute(
        f"""
        create function lose() returns trigger language plpgsql as $$
        begin
            if random() < {lost} then
                raise exception 'lost' using errcode = case when random() < 0.5 then '40001' else '40P01' end;
            end if;
            return null;
        end $$;
        create constraint trigger lose after insert on {table} deferrable initially deferred
            for each row execute function lose();
        """
    )
    before = await served.house.database.pool.fetchval(
        "select xact_rollback from pg_stat_database where datname = current_database()"
    )

    had, asked = _counted_as_lost(), 0

    body = ORDER if table == "invoices" else {}

    async def buy(number: int) -> int:
        nonlocal asked
        while True:  # one in 15,000 loses eight times and is told to come back: the key makes that safe
            asked += 1
            key = {"idempotency-key": f"order-{number}"} if keyed else {}
            answer = await served.all.post(f"/v1/{table}", body, headers=key)
            if answer.status != 503:
                return answer.status

    statuses = [
        status for batch in range(4) for status in await asyncio.gather(*(buy(50 * batch + n) for n in range(50)))
    ]

    pool = served.house.database.pool
    assert set(statuses) == {201}
    assert asked <= 203
    assert await pool.fetchval(f"select count(*) from {table}") == 200
    assert await pool.fetchval("select count(*) from idempotency_keys") == (200 if keyed else 0)
    if table == "invoices":
        assert await pool.fetchval("select count(*) from events") == 200
        assert await pool.fetchval("select next_index from keychains") == asked
    await until(lambda: _rolled_back(pool, before + least))
    assert _counted_as_lost() > had


def _counted_as_lost() -> float:
    samples = [sample for family in LOST_TRANSACTIONS.collect() for sample in family.samples]
    return sum(each.value for each in samples if each.name == "kassa_db_lost_transactions_total")


async def _rolled_back(pool: "asyncpg.Pool[asyncpg.Record]", before: int) -> bool:
    now = await pool.fetchval("select xact_rollback from pg_stat_database where datname = current_database()")
    return int(now) > before


class Wire:
    """A wire between us and the database that can be cut: connections are reset, new ones refused."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        folder = parse_qs(parts.query).get("host", [""])[0]
        self._socket = f"{folder}/.s.PGSQL.5432" if folder.startswith("/") else None
        self._address = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._port = 0
        self._user = parts.username or "postgres"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def url(self, name: str) -> str:
        return f"postgresql://{self._user}@127.0.0.1:{self._port}/{name}"

    async def _carry(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        far_in, far_out = await (
            asyncio.open_unix_connection(self._socket) if self._socket else asyncio.open_connection(*self._address)
        )
        self._writers += [near_out, far_out]
        await asyncio.gather(_pump(near_in, far_out), _pump(far_in, near_out))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    sink.close()


async def test_a_database_that_is_away_is_a_503_in_bounded_time_and_heals_by_itself(
    database_url: str, postgres_url: str, tmp_path: Path
) -> None:
    wire = Wire(postgres_url)
    await wire.mend()
    database = await Database.open(wire.url(urlsplit(database_url).path[1:]))
    house = await build_house(database, tmp_path)
    await follow(house)
    async with database.transaction() as tx:
        store = await add_store(tx, house)

    async with serve(house, store) as served:
        before = await served.all.post("/v1/invoices", ORDER)
        await wire.cut()
        start = monotonic()
        away = [
            await served.all.get("/v1/invoices"),
            await served.all.post("/v1/invoices", ORDER),
            await served.caller(None).get("/health/ready"),
            await served.caller(None).get("/health/live"),
        ]
        elapsed = monotonic() - start
        await wire.mend()
        healed = await served.all.post("/v1/invoices", ORDER)

    await house.marks.close()
    await database.close()
    await wire.cut()
    assert [answer.status for answer in away] == [503, 503, 503, 200]
    assert [answer.code for answer in away[:2]] == ["unavailable", "unavailable"]
    assert b"database" not in away[0].body
    assert elapsed < ANSWER_SECONDS  # none of them waited for the end of its time
    assert (before.status, healed.status) == (201, 201)


async def test_a_database_that_hangs_is_a_503_in_bounded_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kassa.api.serving.ANSWER_SECONDS", 0.5)
    async with served.house.database.transaction() as tx:
        await tx.execute("lock table api_keys in access exclusive mode")
        start = monotonic()
        answers = await asyncio.gather(*(served.all.get("/v1/invoices") for _ in range(30)))
        elapsed = monotonic() - start

    assert {answer.status for answer in answers} == {503}
    assert elapsed < 30  # half as long as a statement may take
    assert (await served.all.get("/v1/invoices")).status == 200


async def test_a_database_that_hangs_is_not_ready(served: Served) -> None:
    assert (await served.all.get("/health/ready")).status == 200
    async with served.house.database.transaction() as tx:
        await tx.execute("lock table migrations in access exclusive mode")
        await asyncio.sleep(KEPT_SECONDS)
        start = monotonic()
        answer = await served.all.get("/health/ready")

    assert answer.status == 503
    assert monotonic() - start < 30


@asynccontextmanager
async def _without(served: Served, table: str, column: str) -> AsyncIterator[None]:
    pool = served.house.database.pool
    await pool.execute(f"alter table {table} rename column {column} to elsewhere")
    yield
    await pool.execute(f"alter table {table} rename column elsewhere to {column}")


async def test_a_failure_nobody_expected_is_logged_and_told_to_nobody(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    # A column that is not there: an error of ours, with table names in it.
    async with _without(served, "invoices", "reference"):
        answer = await served.all.post("/v1/invoices", ORDER)

    assert (answer.status, answer.code) == (500, "internal_error")
    for word in (b"Traceback", b"column", b"asyncpg", b"reference", b"select", b"/work", b".py"):
        assert word not in answer.body
    assert "UndefinedColumnError" in "".join(capfd.readouterr())


async def test_e27_no_secret_reaches_the_log_or_an_answer(
    served: Served, capfd: pytest.CaptureFixture[str], postgres_url: str
) -> None:
    hook = (await served.all.post("/v1/webhooks", {"url": "https://shop.example/hook"})).json
    forged = '\r\n\x1b[31m{"level":"info","event":"paid"}'
    assert served.all.key is not None
    answers = [
        await served.all.get("/v1/invoices"),
        await served.all.post("/v1/wallets", {"network": BITCOIN, "descriptor": TPRV}),
        await served.all.post("/v1/wallets", {"network": BITCOIN, "descriptor": TPUB}),
        await served.all.post("/v1/invoices", ORDER | {"reference": forged}),
        await served.all.get("/v1/invoices?reference=%0d%0a%1b[31m"),
        await served.caller(served.all.key[:-1] + "!").get("/v1/invoices"),
        await served.all.get(f"/v1/webhooks/{hook['id']}"),
    ]
    async with _without(served, "invoices", "reference"):
        answers.append(await served.all.post("/v1/invoices", ORDER | {"description": "canary-description"}))
        async with _without(served, "api_keys", "scopes"):
            answers.append(await served.all.get("/v1/invoices"))

    logged = "".join(capfd.readouterr())
    assert [answers[-2].status, answers[-1].status] == [500, 500]
    assert "UndefinedColumnError" in logged
    for secret in (served.all.key, served.all.key.removeprefix("kassa_test_"), TPRV, hook["secret"], postgres_url):
        assert secret not in logged
        assert not any(secret.encode() in answer.body for answer in answers)
    assert served.store.webhook_secret.reveal() not in logged
    assert "\x1b[31m{" not in logged
    assert "canary-description" not in logged
