"""Stores, keys and kept answers against a real PostgreSQL."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest

from kassa.core.errors import Conflict, Invalid, NotFound
from kassa.db.pool import Database
from kassa.stores import store as stores
from kassa.stores.model import SCOPES, Store
from kassa.stores.rules import checked_scopes, key_hash, key_text, opens
from tests.locks import WAITING

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ANSWER = stores.Answer(b"\x01" * 32, 201, b'{"id":"inv_1"}')


async def _store(database: Database, name: str = "Shop", *, livemode: bool = False) -> Store:
    async with database.transaction() as tx:
        return await stores.create_store(tx, name, "EUR", livemode, NOW)


async def test_a_store_comes_back_as_it_was_written(database: Database) -> None:
    made = await _store(database)

    async with database.transaction() as tx:
        assert await stores.get_store(tx, made.id) == made
        assert await stores.list_stores(tx) == [made]
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made.webhook_secret.reveal())


@pytest.mark.parametrize(
    ("name", "currency"), [("", "EUR"), ("  ", "EUR"), ("a\nb", "EUR"), ("x" * 201, "EUR"), ("Shop", "XXX")]
)
async def test_a_store_needs_a_name_and_a_known_currency(database: Database, name: str, currency: str) -> None:
    async with database.transaction() as tx:
        with pytest.raises(Invalid):
            await stores.create_store(tx, name, currency, False, NOW)


@pytest.mark.parametrize("livemode", [False, True])
async def test_a_key_opens_its_store(database: Database, livemode: bool) -> None:
    made = await _store(database, livemode=livemode)
    async with database.transaction() as tx:
        key_id, text = await stores.create_key(tx, made, NOW, scopes=["invoices:read"])

    found = (await stores.find_keys(database.pool, [key_hash(text) or b""]))[0]

    assert found is not None
    assert (found.id, found.store, found.scopes) == (key_id, made, {"invoices:read"})
    assert opens(found, NOW)
    assert re.fullmatch(rf"kassa_{'live' if livemode else 'test'}_[0-9A-Za-z]{{43}}", text)


def test_a_key_carries_all_256_bits() -> None:
    lowest, highest = key_text(False, bytes(32)), key_text(False, b"\xff" * 32)

    assert lowest == "kassa_test_" + "0" * 43
    assert highest > lowest
    assert len({key_text(True, bit.to_bytes(32)) for bit in [1 << n for n in range(256)]}) == 256


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kassa_test_",
        "kassa_test_" + "a" * 42,
        "kassa_prod_" + "a" * 43,
        "kassa_test_" + "é" * 43,
        "kassa_test_" + "a" * 43 + "\n",
    ],
)
def test_what_cannot_be_a_key_is_never_looked_up(text: str) -> None:
    assert key_hash(text) is None


async def test_e9_the_database_holds_no_usable_key(database: Database) -> None:
    made = await _store(database)
    async with database.transaction() as tx:
        _, text = await stores.create_key(tx, made, NOW)

    tables = await database.pool.fetch(
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    dump = "".join(
        [
            str([tuple(row) for row in await database.pool.fetch(f"select t::text from {table['relname']} t")])
            for table in tables
        ]
    )

    assert made.id in dump
    assert text not in dump
    assert text.removeprefix("kassa_test_") not in dump
    assert text.encode().hex() not in dump


async def test_a_revoked_key_opens_nothing_at_once(database: Database) -> None:
    made = await _store(database)
    async with database.transaction() as tx:
        key_id, text = await stores.create_key(tx, made, NOW)
        await stores.revoke_key(tx, key_id, NOW)
        await stores.revoke_key(tx, key_id, NOW + timedelta(days=1))

    found = (await stores.find_keys(database.pool, [key_hash(text) or b""]))[0]

    assert found is not None
    assert found.revoked_at == NOW
    assert not opens(found, NOW)


async def test_a_key_expires_at_the_very_moment(database: Database) -> None:
    made = await _store(database)
    async with database.transaction() as tx:
        _, text = await stores.create_key(tx, made, NOW, expires_at=NOW + timedelta(hours=1))

    found = (await stores.find_keys(database.pool, [key_hash(text) or b""]))[0]

    assert found is not None
    assert opens(found, NOW + timedelta(hours=1, microseconds=-1))
    assert not opens(found, NOW + timedelta(hours=1))


async def test_unknown_things_are_not_found(database: Database) -> None:
    async with database.transaction() as tx:
        with pytest.raises(NotFound):
            await stores.get_store(tx, "sto_unknown")
        with pytest.raises(NotFound):
            await stores.revoke_key(tx, "key_unknown", NOW)
    assert (await stores.find_keys(database.pool, [b"\x00" * 32]))[0] is None


async def test_last_use_never_goes_back(database: Database) -> None:
    made = await _store(database)
    async with database.transaction() as tx:
        key_id, text = await stores.create_key(tx, made, NOW)

    await stores.note_use(database.pool, [key_id], NOW)
    await stores.note_use(database.pool, [key_id], NOW - timedelta(minutes=5))

    found = (await stores.find_keys(database.pool, [key_hash(text) or b""]))[0]
    assert found is not None
    assert found.last_used_at == NOW


def test_scopes_are_known_and_not_empty() -> None:
    assert checked_scopes(reversed(SCOPES)) == SCOPES
    with pytest.raises(Invalid, match="admin"):
        checked_scopes(["invoices:read", "admin"])
    with pytest.raises(Invalid, match="at least one"):
        checked_scopes([])


async def test_a_kept_answer_is_recalled_by_its_store_alone(database: Database) -> None:
    one, two = await _store(database, "One"), await _store(database, "Two")
    async with database.transaction() as tx:
        await stores.remember(tx, [stores.Kept(one.id, "order-1", ANSWER, NOW)])

    assert await stores.recall(database.pool, [(one.id, "order-1")]) == [ANSWER]
    assert await stores.recall(database.pool, [(two.id, "order-1")]) == [None]


async def test_an_answer_is_kept_only_if_its_work_commits(database: Database) -> None:
    made = await _store(database)

    async def work() -> None:
        async with database.transaction() as tx:
            await stores.remember(tx, [stores.Kept(made.id, "order-1", ANSWER, NOW)])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await work()
    assert await stores.recall(database.pool, [(made.id, "order-1")]) == [None]


async def test_the_second_of_two_equal_keys_waits_and_then_conflicts(database: Database) -> None:
    made = await _store(database)

    async def second() -> None:
        async with database.transaction() as tx:
            await stores.remember(tx, [stores.Kept(made.id, "order-1", ANSWER, NOW)])

    async with database.transaction() as tx:
        await stores.remember(tx, [stores.Kept(made.id, "order-1", ANSWER, NOW)])
        waiting = asyncio.create_task(second())
        async with asyncio.timeout(10):
            while not await database.pool.fetchval(WAITING):
                pass
        assert not waiting.done()

    with pytest.raises(Conflict) as caught:
        await waiting
    assert caught.value.code == "idempotency_in_progress"


async def test_old_answers_are_forgotten(database: Database) -> None:
    made = await _store(database)
    async with database.transaction() as tx:
        await stores.remember(tx, [stores.Kept(made.id, "old", ANSWER, NOW - timedelta(days=3))])
        await stores.remember(tx, [stores.Kept(made.id, "new", ANSWER, NOW)])

        assert await stores.forget_answers(tx, NOW - timedelta(days=2), 2) == 1

    assert await stores.recall(database.pool, [(made.id, "new")]) == [ANSWER]
