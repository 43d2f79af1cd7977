"""Files of pages, of another version too: who may have them served, how long they stay, and what a stranger costs."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from kassa.db.pool import Database
from kassa.files import shelf as shelves
from kassa.files.model import File, file_of, make_file
from kassa.files.shelf import Shelf, share
from tests.house import SEAL

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STYLE, SCRIPT = make_file("checkout", "css", b"a{color:red}"), make_file("checkout", "js", b"'use strict';")
OTHER = make_file("checkout", "css", b"a{color:blue}")


@pytest.fixture
async def own(database_url: str) -> AsyncIterator[Database]:
    """A pool of the test's own, which it may close."""
    opened = await Database.open(database_url)
    yield opened
    await opened.close()


async def found(database: Database, *files: File) -> list[bool]:
    shelf = Shelf(database, SEAL)
    return [await shelf.find(file.name) == file for file in files]


def test_a_file_has_the_name_of_what_it_holds() -> None:
    assert file_of(STYLE.name, STYLE.body) == STYLE
    for name, body in ((STYLE.name, OTHER.body), ("x.css", b"")):
        assert file_of(name, body) is None


async def test_files_stay_for_thirty_days_after_a_version_without_them_began(database: Database) -> None:
    await share(database, SEAL, [STYLE, SCRIPT], NOW)
    upgraded = NOW + timedelta(days=400)  # however long the former one ran

    await share(database, SEAL, [OTHER, SCRIPT], upgraded)
    assert await found(database, STYLE, OTHER, SCRIPT) == [True, True, True]
    await share(database, SEAL, [OTHER, SCRIPT], upgraded + timedelta(days=30))
    assert await found(database, STYLE, OTHER, SCRIPT) == [True, True, True]
    await share(database, SEAL, [OTHER, SCRIPT], upgraded + timedelta(days=30, seconds=1))
    assert await found(database, STYLE, OTHER, SCRIPT) == [False, True, True]


async def test_a_version_that_comes_back_has_its_files_again(database: Database) -> None:
    for days, style in enumerate([STYLE, OTHER, STYLE]):
        await share(database, SEAL, [style], NOW + timedelta(days=days))

    await share(database, SEAL, [STYLE], NOW + timedelta(days=40))

    assert await found(database, STYLE, OTHER) == [True, False]


async def test_whoever_writes_to_the_database_can_have_nothing_served(database: Database) -> None:
    await share(database, SEAL, [STYLE, SCRIPT], NOW)
    evil = make_file("checkout", "js", b"alert(1)")
    seal = await database.pool.fetchval("select seal from page_files where name = $1", SCRIPT.name)
    await database.pool.execute("insert into page_files values ($1, 'alert(1)', $2)", evil.name, seal)
    await database.pool.execute("update page_files set body = 'alert(1)' where name = $1", SCRIPT.name)

    # Of what a name says, all but the ending follows from what it holds.
    ran = make_file("checkout", "js", STYLE.body)
    await database.pool.execute(
        "insert into page_files select $1, body, seal from page_files where name = $2", ran.name, STYLE.name
    )

    assert await found(database, STYLE, SCRIPT, evil, ran) == [True, False, False, False]

    await share(database, SEAL, [STYLE, SCRIPT], NOW)
    assert await found(database, STYLE, SCRIPT, evil) == [True, True, False]


async def test_what_is_no_name_of_ours_and_what_was_just_missed_is_not_asked_for_again(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelves, "REMEMBERED_SECONDS", 600)
    shelf = Shelf(own, SEAL)
    assert await shelf.find(STYLE.name) is None
    await own.close()

    for nonsense in ("", "x", "checkout.css", STYLE.name.upper(), STYLE.name + "\n", "../" + STYLE.name, "é" * 9_000):
        assert await shelf.find(nonsense) is None
    assert await shelf.find(STYLE.name) is None
    with pytest.raises(Exception, match="pool is clos"):
        await shelf.find(OTHER.name)


async def test_what_is_remembered_is_bounded_and_soon_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(database, SEAL)
    for number in range(2_100):
        assert await shelf.find(f"checkout.{number:016x}.css") is None
    assert len(shelf._known) <= 1_000
    monkeypatch.setattr(shelves, "REMEMBERED_SECONDS", 0)
    assert await shelf.find(STYLE.name) is None

    await share(database, SEAL, [STYLE], NOW)

    assert await shelf.find(STYLE.name) == STYLE
