"""What must hold of credit: books, balances, events and alerts say what the reference says (O2, O7, O9, O13)."""

import json
from collections.abc import Sequence
from typing import Any

from kassa.alerts.model import KASSA
from tests.facts import Facts
from tests.sim.reference import expected_books, expected_deposit

Purse = tuple[str, str]
_LIVING = ("detected", "confirming", "settled")
Pool = Any  # asyncpg's


async def check_credit(pool: Pool, facts: Facts, current: Sequence[tuple[str, Any]]) -> None:
    """Compare the books with the reference, by cause; then, if every invoice is `current`, what follows from the sums.

    `current` are the invoices whose announcement does not wait for the clock, each with the split of its money.
    """
    books = await _Books.read(pool)
    for row in facts.deposits:
        status = expected_deposit(row, json.loads(row["confirmations"]), *facts.networks[row["network"]])
        if status == row["status"]:  # the clock may be about to say that it is dropped
            wanted = expected_books(f"wallet:{row['network']}", status, int(row["units"]), None, row["customer_id"])
            books.compare(row["id"], row["asset"], wanted)
    for invoice, money in current:
        _compare_invoice(books, facts, invoice, money)
        await _check_kept(pool, facts, invoice)
    if len(current) < len(facts.invoices):
        return
    held = {
        (row["customer_id"], row["asset"]): (int(row["units"]), int(row["owed"]))
        for row in await pool.fetch("select * from customer_balances")
    }
    for purse in held.keys() | books.earned.keys():
        net = books.earned.get(purse, 0)
        assert held.get(purse, (0, 0)) == (max(0, net), max(0, -net)), f"{purse}: {held.get(purse)}, not {net}"
    losses = await _losses(pool)
    for customer in {customer for customer, _ in held}:
        owed, lost = (
            sum(found for (who, _), found in each.items() if who == customer)
            for each in ({purse: owed for purse, (_, owed) in held.items()}, losses)
        )
        said = {account: books.said.get(customer, {}).get(account, 0) for account in ("receivables", "losses")}
        assert said == {"receivables": owed - lost, "losses": lost}, f"{customer}: the books say {said}"
    rows = await pool.fetch("select customer_id, asset from customer_balances where owed > written_off")
    await _check_alerts(pool, {(row["customer_id"], row["asset"]) for row in rows})
    await _check_events(pool)


async def _losses(pool: Pool) -> dict[Purse, int]:
    """Return what is a loss of each purse: live through all that it ever owed, and all that was written off of it."""
    decided: dict[Purse, list[int]] = {}
    for row in await pool.fetch("select customer_id, asset, units from write_offs order by id"):
        decided.setdefault((row["customer_id"], row["asset"]), []).append(int(row["units"]))
    owed: dict[Purse, int] = {}
    lost: dict[Purse, int] = {}
    for row in await pool.fetch(
        """select e.id, e.customer_id, p.asset, e.reason, sum(p.units) as units from entries e
           join postings p on p.entry_id = e.id where e.cause like 'cus%' and p.account in ('receivables', 'losses')
           group by 1, 3 order by 1"""
    ):
        purse = row["customer_id"], row["asset"]
        owed[purse] = owed.get(purse, 0) + int(row["units"])
        given_up = decided[purse].pop(0) if row["reason"] == "written off" else 0
        lost[purse] = min(lost.get(purse, 0) + given_up, owed[purse])
    assert not any(decided.values()), f"decisions are not in the books: {decided}"
    return lost


async def check_tenants(pool: Pool) -> None:
    """O13: nothing of one store points at anything of another."""
    for query in _ACROSS:
        assert not await pool.fetch(query), f"stores are mixed: {query}"


class _Books:
    """What the books say by cause and account, and what customers earned by what was compared."""

    def __init__(self) -> None:
        self.said: dict[str, dict[str, int]] = {}
        self.values: dict[tuple[str, str], int] = {}
        self.earned: dict[Purse, int] = {}

    @classmethod
    async def read(cls, pool: Pool) -> "_Books":
        books = cls()
        for row in await pool.fetch(
            "select e.cause, p.account, sum(p.units) as units, sum(p.value_units) as value from entries e"
            " join postings p on p.entry_id = e.id group by 1, 2 having sum(p.units) <> 0 or sum(p.value_units) <> 0"
        ):
            books.said.setdefault(row["cause"], {})[row["account"]] = int(row["units"])
            books.values[row["cause"], row["account"]] = int(row["value"])
        return books

    def compare(self, cause: str, asset: str, wanted: dict[str, int]) -> None:
        assert self.said.get(cause, {}) == wanted, f"{cause}: the books say {self.said.get(cause)}, not {wanted}"
        for account, units in wanted.items():
            if account.startswith("customer:"):
                purse = account.removeprefix("customer:"), asset
                self.earned[purse] = self.earned.get(purse, 0) - units


def _compare_invoice(books: _Books, facts: Facts, invoice: str, money: Any) -> None:
    owner = facts.invoices[invoice]["customer_id"]
    for row in facts.payments.get(invoice, ()):
        if row["asset"] not in facts.options[invoice]:
            continue
        account, split = f"wallet:{row['network']}", money.get(row["id"])
        wanted = expected_books(account, row["status"], int(row["units"]), split, owner)
        books.compare(row["id"], row["asset"], wanted)
        if wanted and facts.invoices[invoice]["currency"] == "EUR":
            worth = facts.value(int(row["units"]), invoice, row)
            assert books.values.get((row["id"], account), 0) == worth, f"{row['id']} is not valued at {worth}"
    for row in facts.spends.get(invoice, ()):
        account = f"customer:{row['customer_id']}"
        split = money[row["id"]]
        books.compare(
            row["id"], row["asset"], expected_books(account, "settled", int(row["units"]), split, row["customer_id"])
        )


async def _check_kept(pool: Pool, facts: Facts, invoice: str) -> None:
    """No loss by our own doing: only the chain or a person takes back what an invoice once gave its customer."""
    if invoice in facts.decisions or any(row["status"] not in _LIVING for row in facts.payments.get(invoice, ())):
        return
    rows = await pool.fetch(
        """select e.cause, -sum(p.units) as units from entries e join postings p on p.entry_id = e.id
           where e.invoice_id = $1 and p.account like 'customer:%' and e.payment_id is not null
           group by e.cause, e.id order by e.id""",
        invoice,
    )
    now: dict[str, int] = {}
    most: dict[str, int] = {}
    for row in rows:
        now[row["cause"]] = now.get(row["cause"], 0) + int(row["units"])
        most[row["cause"]] = max(most.get(row["cause"], 0), now[row["cause"]])
    settled = {row["id"] for row in facts.payments.get(invoice, ()) if row["status"] == "settled"}
    assert all(now[cause] == most[cause] for cause in most if cause in settled), f"{invoice} took credit back"


async def _check_alerts(pool: Pool, owing: set[Purse]) -> None:
    told: dict[Purse, int] = {}
    closed: set[Purse] = set()  # by a person, who knows of it
    for row in await pool.fetch(
        "select type, object from events where type in ('alert.opened', 'alert.closed') order by position"
    ):
        said = json.loads(row["object"])
        alert = said["about"]
        if said["kind"] == "credit_lost":
            purse = alert["customer_id"], alert["asset"]
            told[purse] = told.get(purse, 0) + (1 if row["type"] == "alert.opened" else -1)
            assert told[purse] in (0, 1), f"an alert about {purse} was opened or closed twice"
            closed = closed - {purse} if said["closed_by"] in (None, KASSA) else closed | {purse}
    assert {purse for purse, is_open in told.items() if is_open} | (closed & owing) == owing, (
        "alerts do not say who lost credit"
    )


async def _check_events(pool: Pool) -> None:
    """O9: each credit has exactly one event."""
    booked = await pool.fetch(
        "select e.cause, -sum(p.units) as units from entries e join postings p on p.entry_id = e.id"
        " where p.account like 'customer:%' and e.cause not like 'cus%' and p.units < 0 group by 1, e.id"
    )
    rows = await pool.fetch("select object from events where type = 'customer.credited'")
    told = [json.loads(row["object"]) for row in rows]
    said = [(each["payment_id"] or each["spend_id"], int(each["amount"].replace(".", ""))) for each in told]
    assert sorted(said) == sorted((row["cause"], int(row["units"])) for row in booked), "credits are not announced"


_ACROSS = (
    """select s.id from spends s join invoices i on i.id = s.invoice_id join customers c on c.id = s.customer_id
       where i.store_id <> s.store_id or c.store_id <> s.store_id or i.customer_id <> s.customer_id""",
    "select p.id from payments p join addresses a on a.id = p.address_id where p.store_id <> a.store_id",
    "select e.id::text from entries e join payments p on p.id = e.payment_id where e.store_id <> p.store_id",
    """select e.id::text from entries e join postings p on p.entry_id = e.id
       join customers c on 'customer:' || c.id = p.account where c.store_id <> e.store_id""",
    "select e.id from events e join invoices i on i.id = e.invoice_id where i.store_id <> e.store_id",
    """select e.id from events e join customers c on c.id = (e.object::json ->> 'customer_id')
       where c.store_id <> e.store_id""",
)
