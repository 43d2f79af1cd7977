"""What an export reads of the database grows with what it writes."""

from datetime import UTC, datetime, timedelta

from kassa.db.pool import Database
from kassa.ledger import export_store as exports
from kassa.stores import store as stores

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ENTRIES = 20_000
SPACING = timedelta(seconds=10)


async def test_the_pages_of_an_export_read_each_entry_a_few_times_however_many_there_are(database: Database) -> None:
    async with database.transaction() as tx:
        made = await stores.create_store(tx, "Shop", "EUR", False, NOW)
        await tx.execute(
            "insert into customers (id, store_id, metadata, created_at) values ('cus_1', $1, '{}', $2)", made.id, NOW
        )
        await tx.execute(
            """insert into entries (store_id, customer_id, reason, booked_at)
               select $1, 'cus_1', 'planted', $2::timestamptz + n * $3::interval from generate_series(1, $4::int) n""",
            made.id,
            NOW,
            SPACING,
            ENTRIES,
        )
    await database.pool.execute("analyze entries")
    first, end = NOW, NOW + 2 * SPACING * ENTRIES
    touched = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = 'entries'"
    async with database.transaction() as tx:
        before = await tx.fetchval(touched)
        read = [len(page) async for page in exports.pages(tx, made.id, "EUR", first, end)]
        touched_now = await tx.fetchval(touched)
    assert sum(read) == ENTRIES
    assert set(read) == {exports.PAGE}
    assert touched_now - before <= 3 * ENTRIES
