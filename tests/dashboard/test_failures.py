"""A failure is framed like any page: the guards, a plain sentence, a number that the log has, a way back, no detail."""

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from kassa.api.app import create_app
from kassa.checkout import pages as checkout
from kassa.dashboard import app as dashboard
from kassa.db import embedded
from kassa.db.migrate import migrate
from kassa.db.pool import Database
from kassa.people.model import Role
from tests.api.served import listening
from tests.dashboard.test_roles import made
from tests.dashboard.visitor import Premises, Seen, Visitor, open_premises

GUARDS = (
    "cache-control", "content-security-policy", "content-type", "cross-origin-opener-policy",
    "cross-origin-resource-policy", "permissions-policy", "referrer-policy", "x-content-type-options",
    "x-frame-options",
)  # fmt: skip
DETAILS = ("asyncpg", "traceback", "postgres", "sql", "relation", "column", "invoices_were", ".py", "socket")


@dataclass
class Town:
    """A dashboard and a checkout on a PostgreSQL that can be stopped, an owner, and the pages that all of them open."""

    premises: Premises
    owner: Visitor
    server: embedded.EmbeddedServer
    folder: Path
    pages: tuple[str, ...]


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    with closing(embedded.start(tmp_path / "data")) as server:
        connection = await asyncpg.connect(server.url)
        await migrate(connection)
        await connection.close()
        database = await Database.open(server.url)
        async with open_premises(database, tmp_path) as premises:
            house = premises.house
            pages = [*dashboard.handlers(house), *checkout.handlers(house)]
            async with listening(create_app(house, pages)) as port:
                premises.base = f"http://127.0.0.1:{port}"
                owner = await premises.member(Role.OWNER)
                invoice = (await made(premises, owner))["inv"]
                await owner.open(premises.at("links/new"))
                await owner.submit("links/new", title="Tea", amount="2.00", currency="EUR")
                link = owner.seen.url.partition("?")[0].rpartition("/")[2]
                here = (premises.at("overview"), premises.at(f"invoices/{invoice}"), f"/i/{invoice}", f"/l/{link}")
                yield Town(premises, owner, server, tmp_path / "data", here)
        database.pool.terminate()


def framed(good: Seen, bad: Seen, path: str) -> None:
    for name in GUARDS:
        told = bad.headers.get(name)
        if name == "content-security-policy" and "form-action 'self'" not in (told or ""):
            # A notice sends no form.
            assert told == good.headers[name].replace("form-action 'self'", "form-action 'none'"), path
        else:
            assert told == good.headers.get(name), (path, name)
    number = bad.headers["x-request-id"]
    assert len(number) == 32
    assert number in bad.words, (path, bad.words)
    assert [detail for detail in DETAILS if detail in bad.text.lower()] == [], (path, bad.words)
    back = 'href="/dashboard"' if path.startswith("/dashboard") else '<a href="">Please load the page again</a>'
    assert back in bad.text, path


async def test_a_table_that_cannot_be_read_is_told_as_a_failure_of_ours(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {path: await town.owner.open(path) for path in town.pages}
    new = await town.owner.open(town.premises.at("invoices/new"))
    for table in ("invoices", "payment_links"):
        await town.premises.house.database.pool.execute(f"alter table {table} rename to {table}_were")
    for path in town.pages:
        capsys.readouterr()
        bad = await town.owner.open(path)
        assert bad.status == 500, (path, bad.words)
        framed(good[path], bad, path)
        assert "a request failed unexpectedly" in capsys.readouterr().out
    town.owner.seen = new
    bad = await town.owner.submit("invoices/new", amount="5")
    assert bad.status == 500
    framed(new, bad, town.premises.at("invoices/new"))


async def test_a_database_that_is_stopped_is_told_as_not_possible_now(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {path: await town.owner.open(path) for path in town.pages}
    new = await town.owner.open(town.premises.at("invoices/new"))
    town.server.close()
    for path in town.pages:
        capsys.readouterr()
        bad = await town.owner.open(path)
        assert bad.status == 503, (path, bad.words)
        framed(good[path], bad, path)
        assert "cannot be" in capsys.readouterr().out, path  # said in the log, too
    town.owner.seen = new
    bad = await town.owner.submit("invoices/new", amount="5")
    assert bad.status == 503
    framed(new, bad, town.premises.at("invoices/new"))
    with closing(embedded.start(town.folder)):  # and the same form does it once the database is there again
        town.owner.seen = new
        await town.owner.submit("invoices/new", amount="5")
        assert "The invoice was created." in town.owner.seen.words
