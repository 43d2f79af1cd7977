"""What an accountant does with a world: verifies its books, takes them out, and reads them with others' programs."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from beancount import loader
from beancount.core.data import Transaction

from kassa import flow
from kassa.flow.exporting import write_books
from kassa.ledger.beancount import account_name
from kassa.ledger.resource import entry_name
from tests.sim.world import World

EVER = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def silent(_name: str, _done: int, _of: int | None) -> None:
    """Say nothing of how far it has come."""


async def exported(world: World, store: int, form: str, time: tuple[datetime, datetime] = EVER) -> str:
    file = io.StringIO()
    await write_books(world.house, world.stores[store].id, time, form, file, silent)
    return file.getvalue()


async def check_accounting(world: World) -> None:
    """Verify the books, and compare three exports of every store with them: units, value and rate of every posting."""
    done = await flow.verify(world.house, silent)
    assert done.failures == 0, [check for check in done.checks if check.failures]
    for store in range(len(world.stores)):
        rows = await world.house.database.pool.fetch(
            "select e.id, p.account, p.units, p.value_units, p.rate from entries e join postings p on p.entry_id = e.id"
            " where e.store_id = $1",
            world.stores[store].id,
        )
        booked = sorted(_said(entry_name(r["id"]), r["account"], _btc(r["units"]), _euro(r), r["rate"]) for r in rows)
        table = list(csv.DictReader(io.StringIO(await exported(world, store, "csv"))))
        told = [_said(r["entry_id"], r["account"], Decimal(r["amount"]), r["value"], r["rate"]) for r in table]
        assert sorted(told) == booked
        lines = [json.loads(line) for line in (await exported(world, store, "jsonl")).splitlines()]
        told = [
            _said(line["id"], each["account"], Decimal(each["amount"]), each["value"], each["rate"])
            for line in lines
            for each in line["postings"]
        ]
        assert sorted(told) == booked
        assert _journal(await exported(world, store, "beancount")) == _expected(rows)


def _said(entry: str, account: str, amount: Decimal, value: str | None, rate: str | None) -> tuple[object, ...]:
    return entry, account, amount, value or "", rate or ""


def _btc(units: Decimal) -> Decimal:
    return Decimal(int(units)).scaleb(-8)


def _euro(row: Mapping[str, Any]) -> str | None:
    return None if row["rate"] is None else f"{Decimal(int(row['value_units'])).scaleb(-2):.2f}"


def _expected(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], tuple[Decimal, Decimal]]:
    """Say what a journal holds by entry and account: bitcoin (none where income is counted in euros), and euros."""
    valued = {row["id"] for row in rows if row["rate"] is not None or row["value_units"]}
    found = {}
    for row in rows:
        account = account_name(row["account"])
        earned = row["id"] in valued and account.startswith(("Income:", "Expenses:"))
        units = Decimal(0) if earned else _btc(row["units"])
        found[entry_name(row["id"]), account] = units, Decimal(int(row["value_units"])).scaleb(-2)
    return found


def _journal(text: str) -> dict[tuple[str, str], tuple[Decimal, Decimal]]:
    """Read a file as `bean-check` does; return each entry's bitcoin and what it cost or was worth, by account."""
    found: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
    for each in transactions(text):
        for posting in each.postings:
            key = each.meta["entry"], posting.account
            units, value = found.get(key, (Decimal(0), Decimal(0)))
            if posting.units.currency == "EUR":
                value += posting.units.number
            else:
                units += posting.units.number
                cost = Decimal(0) if posting.cost is None else posting.cost.number
                value += round(posting.units.number * cost, 2)
            found[key] = units, value
    return found


def transactions(text: str) -> list[Any]:
    """Read a journal as `bean-check` does, without any complaint."""
    entries, errors, _ = loader.load_string(text, dedent=False)
    assert errors == [], errors
    return [entry for entry in entries if isinstance(entry, Transaction)]
