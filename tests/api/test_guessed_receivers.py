"""Whoever made an invoice some seconds ago is believed to be able to make another, until the commit compares."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kassa.api import auth
from kassa.db.pool import Database
from kassa.stores import store as stores
from kassa.stores.rules import key_hash
from tests.api.served import ORDER, Caller, Served

STATE = "update networks set state = 'STATE'"
SHUT = [  # what shuts, what opens again, and how an invoice is refused meanwhile
    ("update wallets set retired_at = now()", "update wallets set retired_at = null", 422),
    (STATE.replace("STATE", "halted"), STATE.replace("STATE", "ok"), 503),
    ("update networks set lease_until = now() - interval '2 minutes'", "update networks set lease_until = now()", 503),
    ("update networks set node_behind = true", "update networks set node_behind = false", 503),
    ("update wallets set seal = sha256(seal)", "update wallets set seal = old from seals", 503),
    ("update api_keys set scopes = '{invoices:read}'", "update api_keys set scopes = '{invoices:write}'", 403),
]
MOVED = (
    "update networks set observed_at = observed_at + interval '1 second', height = height + 1",
    "update api_keys set last_used_at = now()",
)


@pytest.fixture
def asked(served: Served, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the joined questions that are put to the database, as they are."""
    names: list[str] = []
    ask = Database.ask

    async def noting(self: Database, question: Callable[..., Any], key: Any) -> Any:
        names.append(question.__name__)
        return await ask(self, question, key)

    monkeypatch.setattr(Database, "ask", noting)
    return names


async def known(served: Served, asked: list[str]) -> Caller:
    """Return somebody who has just made an invoice."""
    caller = await served.key()
    await caller.invoice()
    asked.clear()
    return caller


async def revoke(served: Served, caller: Caller) -> None:
    async with served.house.database.transaction() as tx:
        key_id = await tx.fetchval("select id from api_keys where hash = $1", key_hash(caller.key or ""))
        await stores.revoke_key(tx, key_id, served.house.clock.now())


async def invoices(served: Served) -> int:
    return int(await served.house.database.pool.fetchval("select count(*) from invoices"))


async def test_the_second_invoice_asks_nothing_before_it_is_written(served: Served, asked: list[str]) -> None:
    caller = await known(served, asked)
    for moved in MOVED:
        await served.house.database.pool.execute(moved)
        await caller.invoice()
    guessed = list(asked)
    asked.clear()
    served.house.clock.move(auth.GUESSED_FOR.seconds)  # type: ignore[attr-defined]
    await caller.invoice()

    assert (guessed, asked) == (["put_guessed"] * 2, ["read_receivers", "put_guessed"])


@pytest.mark.parametrize("order", [ORDER, ORDER | {"amount": "0"}])
async def test_a_key_that_was_revoked_a_moment_ago_learns_and_makes_nothing(
    served: Served, asked: list[str], order: dict[str, str]
) -> None:
    caller = await known(served, asked)
    await revoke(served, caller)

    refused = await caller.post("/v1/invoices", order)

    assert (refused.status, await invoices(served)) == (401, 1)
    assert asked == (["put_guessed", "read_receivers"] if order is ORDER else ["read_receivers"])


async def test_a_key_that_expired_since_makes_nothing(served: Served, asked: list[str]) -> None:
    caller = await known(served, asked)
    end = served.house.clock.now() + timedelta(seconds=2)
    await served.house.database.pool.execute("update api_keys set expires_at = $1", end)
    await caller.invoice()
    served.house.clock.move(3)  # type: ignore[attr-defined]

    assert ((await caller.post("/v1/invoices", ORDER)).status, await invoices(served)) == (401, 2)


async def test_what_was_shut_or_opened_a_moment_ago_is(served: Served, asked: list[str]) -> None:
    pool = served.house.database.pool
    await pool.execute("create table seals as select seal as old from wallets")
    caller = await known(served, asked)
    for shut, opened, refusal in SHUT:
        before = await invoices(served)
        await pool.execute(shut)
        assert ((await caller.post("/v1/invoices", ORDER)).status, await invoices(served)) == (refusal, before), shut
        await pool.execute(opened)
        assert ((await caller.post("/v1/invoices", ORDER)).status, await invoices(served)) == (201, before + 1), shut
        served.house.guesses.__init__()  # type: ignore[misc]  # as after the time in which the keychain is asked first


async def test_a_spread_that_was_raised_a_moment_ago_counts(served: Served, asked: list[str]) -> None:
    caller = await known(served, asked)
    before = await caller.invoice()
    async with served.house.database.transaction() as tx:
        await stores.set_spread(tx, served.store.id, 10_000)

    after = await caller.invoice()

    assert after["payment_options"][0]["amount"] > before["payment_options"][0]["amount"]


async def test_whose_key_was_revoked_takes_nobody_along(served: Served, asked: list[str]) -> None:
    gone, *others = [await known(served, asked) for _ in range(5)]
    await revoke(served, gone)

    answers = await asyncio.gather(*(each.post("/v1/invoices", ORDER) for each in (gone, *others) for _ in range(3)))

    assert [answer.status for answer in answers] == [401] * 3 + [201] * 12
    assert await invoices(served) == 5 + 12
    assert len({answer.json["payment_options"][0]["address"] for answer in answers[3:]}) == 12
