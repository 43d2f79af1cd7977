"""What an accountant does with a world: verifies its books, takes them out, and reads them with others' programs."""

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from beancount import loader
from beancount.core.data import Transaction

from kassa import flow
from kassa.flow.exporting import write_books
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
    """Verify the books, and compare three exports of every store with them."""
    done = await flow.verify(world.house, silent)
    assert done.failures == 0, [check for check in done.checks if check.failures]
    for store in range(len(world.stores)):
        rows = await world.house.database.pool.fetch(
            "select e.id, p.account, p.units from entries e join postings p on p.entry_id = e.id where e.store_id = $1",
            world.stores[store].id,
        )
        booked = sorted((entry_name(row["id"]), row["account"], Decimal(int(row["units"])).scaleb(-8)) for row in rows)
        table = list(csv.DictReader(io.StringIO(await exported(world, store, "csv"))))
        assert sorted((row["entry_id"], row["account"], Decimal(row["amount"])) for row in table) == booked
        lines = [json.loads(line) for line in (await exported(world, store, "jsonl")).splitlines()]
        said = [(line["id"], each["account"], Decimal(each["amount"])) for line in lines for each in line["postings"]]
        assert sorted(said) == booked
        held = sum((units for _, account, units in booked if account.startswith("wallet:")), Decimal(0))
        assert _held(await exported(world, store, "beancount"), {name for name, _, _ in booked}) == held


def _held(text: str, names: set[str]) -> Decimal:
    """Read a file as `bean-check` does; return what is in wallets."""
    entries, errors, _ = loader.load_string(text, dedent=False)
    assert errors == [], errors
    transactions: list[Any] = [entry for entry in entries if isinstance(entry, Transaction)]
    metas: list[Mapping[str, Any]] = [each.meta for each in transactions]
    assert {meta["entry"] for meta in metas} == names
    postings = [posting for each in transactions for posting in each.postings]
    return sum((p.units.number for p in postings if p.account.startswith("Assets:Wallet")), Decimal(0))
