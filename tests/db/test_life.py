"""Which life of a database a process works in, on a real PostgreSQL; that of a standby is in `tests/faults`."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kassa.db.life import Lives
from kassa.db.migrate import HALF_RESTORED
from kassa.db.pool import Database

_RESTORED = "insert into restores (restored_at, backup_at) values ($1, $1)"
_MADE_ANEW = """create table anew (like restores including all); insert into anew table restores; drop table restores;
    alter table anew rename to restores"""


async def test_d26_each_way_in_which_a_life_ends_is_seen_by_the_next_connection_and_those_after_it(
    database: Database,
) -> None:
    async with database.pool.acquire() as connection:
        for restored in (
            lambda: connection.execute(_RESTORED, datetime.now(UTC)),
            lambda: connection.execute(_MADE_ANEW),
        ):
            lives = Lives()
            await lives.check(connection)  # nothing is held yet
            await lives.hold(connection)
            await lives.check(connection)
            assert not lives.over.is_set()
            await restored()
            with pytest.raises(ConnectionRefusedError, match="was restored"):
                await lives.check(connection)
            assert lives.over.is_set()

        lives = Lives()
        await lives.hold(connection)
        await connection.execute(f"create table {HALF_RESTORED} ()")
        for _ in range(2):  # whoever found it once goes on with nothing
            with pytest.raises(ConnectionRefusedError, match="was restored"):
                await lives.check(connection)
            await connection.execute(f"drop table if exists {HALF_RESTORED}")


async def test_d26_another_timeline_is_another_life_where_both_are_told(database: Database) -> None:
    async with database.pool.acquire() as connection:
        lives = Lives()
        assert lives.timeline is None
        await lives.hold(connection)
        held = lives._held
        assert held is not None
        assert lives.timeline == await connection.fetchval("select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")
        lives._held = replace(held, timeline=None)  # as a server tells it that does not
        await lives.check(connection)
        lives._held = replace(held, timeline="0000000A")
        with pytest.raises(ConnectionRefusedError, match="another server took over"):
            await lives.check(connection)
        assert lives.over.is_set()
