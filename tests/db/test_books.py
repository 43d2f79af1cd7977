"""The books in the database: nobody changes them, also not a role that only runs Kassa; old ones are carried over."""

import asyncio
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from kassa.alerts import holdings_store as holdings
from kassa.core.ids import PaymentId, StoreId
from kassa.db.pool import Database
from kassa.ledger import store as ledger
from kassa.ledger import sums_store as sums
from kassa.ledger.model import Entry, Posting
from kassa.ledger.view import Filters

STORE = StoreId("sto")
WRITES = ("update {} set {}", "delete from {}", "truncate {} cascade")
COLUMNS = {"entries": "reason = ''", "postings": "units = 1", "spends": "units = 1", "given_back": "given_at = now()"}
COLUMNS |= {"assignments": "decided_by = ''", "write_offs": "units = 1"}


async def _booked(connection: "asyncpg.Connection[asyncpg.Record]", account: str = "wallet:n") -> int:
    await connection.execute(
        """insert into stores (id, name, currency, livemode, webhook_secret, created_at)
           values ('sto', 's', 'EUR', false, '', now()) on conflict do nothing;
           insert into customers (id, store_id, metadata, created_at) values ('ada', 'sto', '{}', now())
           on conflict do nothing;
           insert into keychains (space, descriptor, fingerprint, created_at) values ('n', 'd', 'f', now())
           on conflict do nothing;
           insert into addresses (id, network, script, address, watch_key, keychain_id, index, store_id, created_at)
           values ('adr', 'n', 's', 'a', 1, 1, 0, 'sto', now()) on conflict do nothing;
           insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id,
               first_seen_at, replaceable)
           values ('pay', 'n', 't', 'out:0', 'BTC@n', 7, 0, 'adr', 'sto', now(), false) on conflict do nothing"""
    )
    return await _entry(connection, (account, 7, 0), ("sales", -7, 0))


async def _entry(
    connection: "asyncpg.Connection[asyncpg.Record]", *postings: tuple[str, int, int], cause: str = "payment"
) -> int:
    async with connection.transaction():
        entry: int = await connection.fetchval(
            f"insert into entries (store_id, {cause}_id, reason, booked_at)"
            " values ('sto', $1, 'r', now()) returning id",
            {"payment": "pay", "customer": "ada"}[cause],
        )
        await connection.executemany(
            "insert into postings (entry_id, account, asset, units, value_units) values ($1, $2, 'BTC@n', $3, $4)",
            [(entry, *posting) for posting in postings],
        )
    return entry


@pytest.mark.parametrize("table", sorted(COLUMNS))
async def test_o1_nothing_that_was_booked_can_be_changed(database: Database, table: str) -> None:
    async with database.pool.acquire() as connection:
        await _booked(connection)
        for write in WRITES:
            if table in ("spends", "given_back", "assignments", "write_offs") and "truncate" not in write:
                continue  # there is none; rows are covered where there are
            with pytest.raises(asyncpg.RaiseError, match="append-only"):
                await connection.execute(write.format(table, COLUMNS[table]))


@pytest.mark.parametrize("values", [(5, 0), (0, 5)])
async def test_o1_an_entry_that_does_not_balance_is_refused_at_commit(
    database: Database, values: tuple[int, int]
) -> None:
    async with database.pool.acquire() as connection:
        await _booked(connection)
        with pytest.raises(asyncpg.RaiseError, match="does not balance"):
            await _entry(connection, ("sales", *values))


async def test_an_entry_names_its_cause(database: Database) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await database.pool.execute("insert into entries (reason, booked_at) values ('because', now())")


def _grants(role: str, password: str) -> str:
    """Take the statements that docs/ledger.md prescribes."""
    page = (files("kassa").joinpath("..", "..", "docs", "ledger.md")).read_text()  # type: ignore[arg-type]
    block = page.split("```sql\n")[1].split("```")[0]
    return block.replace("kassa_app", role).replace("'…'", f"'{password}'")


async def test_a_role_that_only_runs_kassa_adds_to_the_books_and_can_neither_change_them_nor_drop_their_guards(
    database: Database, database_url: str
) -> None:
    role = "app_" + urlsplit(database_url).path.lstrip("/")[-12:]
    parts = urlsplit(database_url)
    async with database.pool.acquire() as owner:
        await owner.execute(_grants(role, "secret"))
        port = parts.netloc.rpartition("@")[2]
        url = urlunsplit((parts.scheme, f"{role}:secret@{port}", parts.path, parts.query, ""))
        app = await asyncpg.connect(url)
        try:
            await _booked(app)
            for table, change in COLUMNS.items():
                for write in (
                    *WRITES, f"alter table {table} disable trigger user", f"drop table {table} cascade",
                    f"drop trigger {table}_append_only on {table}",
                ):  # fmt: skip
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await app.execute(write.format(table, change))
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute("set session_replication_role = replica")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(
                    "create or replace function refuse_change() returns trigger language sql as 'select 1'"
                )
        finally:
            await app.close()
            await owner.execute(f"drop owned by {role}; drop role {role}")


async def test_what_stood_on_chain_stands_on_wallet_after_the_migration(database: Database) -> None:
    text = (files("kassa.db") / "migrations" / "0015_books.sql").read_text()
    async with database.pool.acquire() as connection:
        entry = await _booked(connection, "chain:n")
        await connection.execute(text[text.index("-- `chain:NETWORK`") :])
        rows = await connection.fetch("select account, sum(units) as units from postings group by 1 order by 1")
        assert {row["account"]: int(row["units"]) for row in rows} == {"chain:n": 0, "sales": -7, "wallet:n": 7}
        assert await connection.fetchval("select count(*) from postings where entry_id = $1", entry) == 2
        assert await connection.fetchval("select reason from entries where id > $1", entry) == "account renamed"


async def test_what_earlier_versions_called_a_loss_is_owed_after_the_migration(database: Database) -> None:
    text = (files("kassa.db") / "migrations" / "0156_receivables.sql").read_text()
    async with database.pool.acquire() as connection:
        await _booked(connection)
        for units, value in ((7, 3), (-2, -1)):
            await _entry(connection, ("losses", units, value), ("customer:ada", -units, -value), cause="customer")
        before = await connection.fetchval("select max(id) from entries")
        await connection.execute(text[text.index("with lost as") :])
        rows = await connection.fetch(
            """select p.account, sum(units) as units, sum(value_units) as value from postings p
               join entries e on e.id = p.entry_id where e.customer_id = 'ada' group by 1 order by 1"""
        )
        assert [tuple(map(str, row)) for row in rows] == [
            ("customer:ada", "-5", "-2"), ("losses", "0", "0"), ("receivables", "5", "2"),
        ]  # fmt: skip
        moved = await connection.fetch("select cause, store_id from entries where id > $1", before)
        assert [tuple(row) for row in moved] == [("ada", "sto")]
        await connection.execute(text[text.index("with lost as") :])  # nothing is left to move
        assert await connection.fetchval("select count(*) from entries where id > $1", before) == 1


async def test_what_earlier_versions_gave_back_is_a_fact_after_the_migration(database: Database) -> None:
    text = (files("kassa.db") / "migrations" / "0045_given_back.sql").read_text()
    backfill = text[text.index("insert into given_back") : text.index("create trigger")]
    async with database.pool.acquire() as connection:
        await _booked(connection)
        await connection.execute(
            """insert into invoices
                   (id, store_id, amount_units, currency, tolerance_ppm, status, created_at, expires_at, rules)
               values ('inv', 'sto', 1, 'EUR', 0, 'expired', now(), now(), '{short.credit}')"""
        )
        await connection.execute("alter table entries disable trigger user; update entries set invoice_id = 'inv'")
        await connection.execute(backfill)
        assert await connection.fetch("select from given_back") == []
        await _entry(connection, ("sales", 7, 0), ("customer:ada", -7, 0))
        await connection.execute("update entries set invoice_id = 'inv'")
        await connection.execute(backfill)
        assert await connection.fetchval("select payment_id from given_back") == "pay"
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await connection.execute("update given_back set given_at = now()")


async def test_what_is_held_is_added_up_once_whatever_the_clock_said_and_in_full_before_a_lack_is_told(
    database: Database,
) -> None:
    async def held() -> list[tuple[int, int]]:
        async with database.transaction() as tx:
            return [(each.holdings, each.owed) for each in await holdings.held(tx)]

    async with database.pool.acquire() as connection, database.pool.acquire() as slow:
        for days in (90, -400, 0):  # by a clock that was far ahead once
            entry = await _booked(connection)  # 7 units each
            await connection.execute(
                "alter table entries disable trigger user; update entries set booked_at = now()"
                f" - interval '{days} days' where id = {entry}; alter table entries enable trigger user"
            )
        await connection.execute("insert into customer_balances (customer_id, asset, units) values ('ada', 'BTC@n', 5)")
        transaction = slow.transaction()
        await transaction.start()
        await _entry(slow, ("wallet:n", 4, 0), ("sales", -4, 0))  # has its number, and is not committed
        last = await _booked(connection)
        for _ in range(3):
            assert await held() == [(28, 5)]
        assert await connection.fetchval("select entry from held_sums_until") < last
        await transaction.commit()
        async with asyncio.timeout(60):
            while await connection.fetchval("select entry from held_sums_until") != last:
                assert await held() == [(32, 5)]
        assert await connection.fetchrow("select units, entries from held_sums") == (32, 5)

        await connection.execute("update held_sums set units = 1; update customer_balances set units = 32")
        assert await held() == [(32, 32)]
        await connection.execute("update customer_balances set units = 33")
        assert await held() == [(32, 33)]
        credit = await _entry(connection, ("wallet:n", 4, 0), ("customer:ada", -4, 0))
        await _booked(connection)
        for _ in range(2):  # from what came since, and from the sums
            async with database.transaction() as tx:
                [found] = await holdings.credited(tx, datetime.now(UTC) - timedelta(hours=1))
            assert (found.entry, found.units, found.holdings, found.known) == (credit, 4, 43, 5)
            async with asyncio.timeout(60):
                while not await connection.fetchval("select entry >= $1 from held_sums_until", credit):
                    async with database.transaction() as tx:
                        await holdings.credited(tx, datetime.now(UTC))


async def test_sums_that_are_kept_say_what_the_books_say(database: Database) -> None:
    async with database.pool.acquire() as connection:
        old = [await _booked(connection), await _entry(connection, ("customer:ada", -4, -2), ("wallet:n", 4, 2))]
    await _kept(database)
    async with database.pool.acquire() as connection:
        await _entry(connection, ("customer:ada", 4, 1), ("sales", -4, -1))
    expected = [("customers", 0, -1), ("sales", -11, -1), ("wallet:n", 11, 2)]
    for number in range(3):
        if number:
            await _all_kept(database)
        async with database.transaction() as tx:
            known = await tx.fetchval("select entry from book_sums_until")
            assert known == old[1] + 1 if number else known < 0
            for found in (
                await sums.stands(tx, STORE),
                await ledger.balances(tx, STORE, datetime.now(UTC), together=True),
            ):
                assert [(each.account, each.amount.units, each.amount.value) for each in found] == expected
            assert [each.account for each in await sums.stands(tx, STORE, "sales")] == ["sales"]
            assert await sums.stands(tx, StoreId("other")) == []
    async with database.transaction() as tx:
        entries = await ledger.page(tx, STORE, Filters(account="customer:ada"), None, 10)
        assert [each.number for each in entries] == [old[1] + 1, old[1]]
        assert [each.number for each in await ledger.page(tx, STORE, Filters(account="sales"), old[1] + 1, 1)] == [
            old[0]
        ]


async def test_an_entry_that_is_on_its_way_while_later_ones_are_added_up_is_not_left_out(database: Database) -> None:
    async with database.pool.acquire() as slow, database.pool.acquire() as quick:
        await _booked(quick)
        transaction = slow.transaction()
        await transaction.start()
        early = await _entry(slow, ("wallet:n", 5, 0), ("sales", -5, 0))
        assert await _entry(quick, ("wallet:n", 6, 0), ("sales", -6, 0)) > early
        await _kept(database, database, database)
        assert await quick.fetchval("select count(*) from book_sums") == 0
        await transaction.commit()
    await _all_kept(database)
    assert await database.pool.fetchval("select units from book_sums where account = 'wallet:n'") == 18


async def test_a_transaction_has_its_own_number_before_it_numbers_its_entries(database: Database) -> None:
    """Else an entry could be on its way in a transaction that nobody sees running."""
    async with database.pool.acquire() as connection:
        await _booked(connection)
        await connection.execute(
            """create function seen() returns trigger language plpgsql as $$ begin
                   if pg_current_xact_id_if_assigned() is null then raise 'not seen'; end if; return new; end $$;
               create trigger seen before insert on postings for each row execute function seen()"""
        )
    postings = tuple(Posting(account, "BTC@n", units, 0, None) for account, units in (("wallet:n", 7), ("sales", -7)))
    for _ in range(3):
        async with database.transaction() as tx:
            await ledger.post(tx, [Entry(STORE, "r", PaymentId("pay"), postings=postings)], datetime.now(UTC))


async def test_sums_of_a_database_whose_transactions_are_numbered_anew_go_on(database: Database) -> None:
    async with database.pool.acquire() as connection:
        await _booked(connection)
    await _kept(database)
    await database.pool.execute("update book_sums_until set next_before = '9000000000'")

    await _all_kept(database)

    assert await database.pool.fetchval("select units from book_sums where account = 'wallet:n'") == 7


async def test_entries_that_are_added_to_the_sums_meanwhile_count_once(database: Database) -> None:
    async with database.pool.acquire() as connection:
        await _booked(connection)
        for _ in range(30):
            await _entry(connection, ("wallet:n", 1, 0), ("sales", -1, 0))
            adding = asyncio.create_task(_kept(database))
            while not adding.done():
                async with database.pool.acquire() as reader:
                    found = await sums.stands(reader, STORE, "wallet:n")
                total = await connection.fetchval("select sum(units) from postings where account = 'wallet:n'")
                assert [each.amount.units for each in found] == [total]
            await adding


async def _all_kept(database: Database) -> None:
    async with asyncio.timeout(60):  # until whatever runs in other databases of this server has ended
        while await database.pool.fetchval("select max(id) <> (select entry from book_sums_until) from entries"):
            await _kept(database)


async def _kept(*times: Database) -> None:
    for database in times:
        await database.run(sums.keep)
