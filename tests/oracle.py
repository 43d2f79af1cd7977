"""What must hold at every moment, checked on the real database: against itself and against a chain.

`Oracle.check` may follow every step and every crash; `check_chain` needs a follower that has caught up.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from typing import Any

from kassa.core.money import currency
from kassa.events import store as events
from kassa.flow import picture
from kassa.house import House
from tests.facts import Facts
from tests.oracle_credit import check_credit, check_tenants
from tests.sim.reference import expected_payment

Rows = list[Any]  # asyncpg records
_PROGRESS = {"new": 0, "expired": 0, "invalid": 0, "processing": 1, "settled": 2}
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Output:
    """A movement of money to a script, as a chain shows it; `block` is None in the mempool."""

    script: bytes
    units: int
    block: tuple[int, str] | None


@dataclass(frozen=True)
class Truth:
    """What one network's node holds now, told by something that shares no code with Kassa.

    `blocks`: height, hash and parent of the best chain. `outputs`: by (txid, position), those to scripts that were ever
    issued. `spenders`: which transactions spend an outpoint, those of the best chain and those of the mempool.
    """

    network: str
    asset: str
    blocks: Sequence[tuple[int, str, str]]
    outputs: Mapping[tuple[str, str], Output]
    mined_spenders: Mapping[str, str]
    pending_spenders: Mapping[str, str]


@dataclass
class Oracle:
    """Checks one database over its life: it remembers what may only grow."""

    house: House
    _entries: Rows = field(default_factory=list)
    _indexes: dict[int, int] = field(default_factory=dict)
    _events: Rows = field(default_factory=list)

    async def check(self) -> None:
        """Check what holds at every moment, whatever the chain does: O1, O3 to O7, O9, O11, O13."""
        await self.check_books()
        await self._addresses()
        await self._linked_blocks()
        await self._history()
        await self._standings()
        await self._links()
        await check_tenants(self.house.database.pool)

    async def check_books(self) -> None:
        """O1: entries balance per asset, in units and in value, and nothing that was written has changed."""
        pool = self.house.database.pool
        wrong = await pool.fetch(
            "select entry_id, asset from postings group by 1, 2 having sum(units) <> 0 or sum(value_units) <> 0"
        )
        assert not wrong, f"entries that do not balance: {wrong}"
        rows = await pool.fetch(
            "select e.*, p.account, p.asset, p.units, p.value_units, p.rate from entries e"
            " join postings p on p.entry_id = e.id order by e.id, p.account, p.asset"
        )
        assert rows[: len(self._entries)] == self._entries, "the books were changed after they were written"
        self._entries = rows
        live = await pool.fetch(
            """select e.payment_id, sum(p.units) as units, count(*) from entries e join postings p on p.entry_id = e.id
               where p.account like 'wallet:%' group by 1 having sum(p.units) <> 0"""
        )
        alive = {
            row["id"]: row["units"]
            for row in await pool.fetch(
                "select id, units from payments where status in ('confirming', 'settled')"
                " or (store_id is null and block_height is not null)"
            )
        }
        assert {row["payment_id"]: row["units"] for row in live} == alive, "a payment is booked twice, or not at all"

    async def _addresses(self) -> None:
        """O6: scripts and indexes were issued once, and counters never fall."""
        pool = self.house.database.pool
        repeated = await pool.fetch("select network, script from addresses group by 1, 2 having count(*) > 1")
        assert not repeated, f"addresses issued twice: {repeated}"
        rows = await pool.fetch(
            "select k.id, k.next_index, coalesce(max(a.index), -1) as highest,"
            " count(a.index) <> count(distinct (a.network, a.index)) filter (where a.index is not null)"
            " as repeats"
            " from keychains k left join addresses a on a.keychain_id = k.id group by 1, 2"
        )
        for row in rows:
            assert not row["repeats"], f"keychain {row['id']} issued an index twice"
            assert row["highest"] < row["next_index"], f"keychain {row['id']} would issue {row['highest']} again"
            assert row["next_index"] >= self._indexes.get(row["id"], 0), f"the index of keychain {row['id']} fell"
            self._indexes[row["id"]] = row["next_index"]

    async def _linked_blocks(self) -> None:
        """O11: our blocks are linked without holes up to where we stand; O4: no payment rests on any other block."""
        pool = self.house.database.pool
        for network in await pool.fetch("select id, height, hash from networks"):
            rows = await pool.fetch(
                "select height, hash, parent from blocks where network = $1 order by height", network["id"]
            )
            for below, row in pairwise(rows):
                linked = (row["height"], row["parent"]) == (below["height"] + 1, below["hash"])
                assert linked, f"block {row['height']} of {network['id']} does not follow the one before"
            top = (rows[-1]["height"], rows[-1]["hash"]) if rows else (None, None)
            assert top == (network["height"], network["hash"]), f"{network['id']} does not stand on its last block"
        loose = await pool.fetch(
            """select p.txid, p.status from payments p left join blocks b
                   on b.network = p.network and b.height = p.block_height and b.hash = p.block_hash
               where p.block_height is not null and b.hash is null"""
        )
        assert not loose, f"payments rest on blocks that are not of the best chain: {loose}"

    async def _history(self) -> None:
        """O5, O9: events are numbered without gaps, never change, and lead to the present state one step each."""
        pool = self.house.database.pool
        async with self.house.database.transaction() as tx:
            await events.number(tx)
        rows = await pool.fetch("select * from events order by position")
        assert rows[: len(self._events)] == self._events, "an event was changed after it was published"
        self._events = rows
        numbers: dict[str, list[int]] = {}
        for row in sorted(rows, key=lambda row: row["sequence"]):
            numbers.setdefault(row["store_id"], []).append(row["sequence"])
        for store, given in numbers.items():
            assert given == list(range(1, len(given) + 1)), f"the events of {store} are not numbered without gaps"
        invoices = {row["id"]: row for row in await pool.fetch("select * from invoices")}
        found = await pool.fetch("select id, status from payments where status is not null")
        payments = {row["id"]: row["status"] for row in found}
        told = _fold(rows)
        assert told.invoices.keys() == invoices.keys(), "an invoice without its events, or the reverse"
        for id_, row in invoices.items():
            assert told.invoices[id_] == _told_of(row), f"{id_} is not what its events say"
        assert told.payments == payments, "payments are not what their events say"

    async def _standings(self) -> None:
        """O5: what was announced is what follows from the facts, by Kassa's rules and by the reference."""
        house, now = self.house, self.house.clock.now()
        pool = house.database.pool
        facts = await _facts(house)
        current: list[tuple[str, Any]] = []
        async with house.database.transaction() as tx:
            taken = await picture.take(tx, house, sorted(facts.invoices), now)
        for each in taken:
            row = facts.invoices[each.terms.id]
            wanted = facts.expected(each.terms.id, now)
            money, given = wanted.pop("money"), wanted.pop("given")
            standing = each.standing
            evaluated = {
                "status": standing.status.value,
                "flags": [flag.value for flag in standing.flags],
                "rules": [rule.value for rule in standing.rules],
                "is_final": standing.is_final,
                "paid_units": standing.paid_units,
                "settled_units": standing.settled_units,
            }
            assert evaluated == wanted, f"{each.terms.id}: the rules and the reference disagree"
            # The clock's gate comes by when it comes by; until then what the clock alone changed is not yet announced.
            if row["deadline"] is None or row["deadline"] >= min(now, facts.observed(each.terms.id)):
                announced = {name: row[name] for name in ("status", "flags", "rules", "is_final")}
                announced |= {name: int(row[name]) for name in ("paid_units", "settled_units")}
                assert announced == wanted, f"{each.terms.id}: {announced} was announced, {wanted} is true"
                arrived = facts.payments.get(each.terms.id, ())
                for payment in arrived:
                    if payment["asset"] not in facts.options[each.terms.id]:
                        continue  # another asset than was asked for: it is booked, and fulfils nothing
                    option = facts.options[each.terms.id][payment["asset"]]
                    said = payment["status"], payment["confirmations_required"]
                    before = facts.given.get(each.terms.id, ())
                    sight = facts.networks[option["network"]]
                    expected = expected_payment(payment, option, *sight, arrived, before)
                    # What an alert asked for stays written with what has settled by it, and is not with what is dead.
                    compared = 1 if payment["raised"] or payment["settled_at"] else 2
                    assert said[:compared] == expected[:compared], f"{payment['id']}: {said}, not {expected}"
                assert set(given) <= set(facts.given.get(each.terms.id, ())), "given back, and not written down"
                current.append((each.terms.id, money))
        await check_credit(pool, facts, current)
        orphans = await pool.fetch("select txid from payments where store_id is not null and status is null")
        assert not orphans, f"payments of which nothing was ever announced: {orphans}"

    async def _links(self) -> None:
        """The sums that are kept of a reusable link are those of its invoices."""
        wrong = await self.house.database.pool.fetch(
            """with counted as (
                   select i.link_id, i.status, count(*) as invoices, sum(i.paid_units) as paid_units,
                       sum(i.settled_units) as settled_units
                   from invoices i join payment_links l on l.id = i.link_id where l.reusable group by 1, 2
               ), kept as (
                   select link_id, status, sum(invoices) as invoices, sum(paid_units) as paid_units,
                       sum(settled_units) as settled_units from link_sums group by 1, 2
               )
               (table kept except table counted) union all (table counted except table kept)"""
        )
        wrong = [row for row in wrong if any(row[name] for name in ("invoices", "paid_units", "settled_units"))]
        assert not wrong, f"the sums of links are not those of their invoices: {wrong}"


@dataclass(frozen=True)
class _Told:
    invoices: dict[str, tuple[Any, ...]]
    payments: dict[str, str]


def _fold(rows: Rows) -> _Told:
    told = _Told({}, {})
    for row in rows:
        kind, said = row["type"].split(".")[0], json.loads(row["object"])
        if kind == "payment":
            assert row["type"] == f"payment.{said['status']}"
            assert told.payments.get(said["id"]) != said["status"], f"{said['id']} was announced twice alike"
            told.payments[said["id"]] = said["status"]
        elif kind == "invoice":
            before, after = told.invoices.get(said["id"]), _told_by(said)
            assert row["type"] == _type(before, after), f"{row['type']} from {before} to {after}"
            told.invoices[said["id"]] = after
    return told


def _type(before: tuple[Any, ...] | None, after: tuple[Any, ...]) -> str:
    if before is None:
        return "invoice.created"
    assert before != after, f"an event that says nothing new: {after}"
    old, new = before[0], after[0]
    if old == new:
        return "invoice.updated"
    back = _PROGRESS[new] < _PROGRESS[old] and new != "invalid"
    return "invoice.reopened" if back or new == "new" else f"invoice.{new}"


def _told_by(said: Mapping[str, Any]) -> tuple[Any, ...]:
    digits = currency(said["currency"]).decimals
    paid, settled = (round(Fraction(said[name]) * 10**digits) for name in ("amount_paid", "amount_settled"))
    return said["status"], tuple(said["flags"]), tuple(said["rules"]), said["is_final"], paid, settled


def _told_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    sums = int(row["paid_units"]), int(row["settled_units"])
    return row["status"], tuple(row["flags"]), tuple(row["rules"]), row["is_final"], *sums


_PAYMENTS = """
select p.*, (select max(r.blocks) from restraints r where r.kind = 'raised' and r.lifted_at is null
    and r.network = p.network and (r.store_id is null or r.store_id = p.store_id)) as raised,
    (p.settled_at is null and exists (select from contracts c where c.asset = p.asset and c.frozen_for is not null))
        or (p.status is distinct from 'settled' and exists (select from restraints r where r.kind = 'held'
            and r.lifted_at is null and r.network = p.network and (r.asset is null or r.asset = p.asset)
            and (r.store_id is null or r.store_id = p.store_id))) as frozen,
    coalesce((select final_height from networks n where n.id = p.network), -1) as final
from payments p
"""


async def _facts(house: House) -> Facts:
    pool = house.database.pool
    facts = Facts({}, {}, {}, {}, [], {}, {}, {})
    for row in await pool.fetch("select * from invoices"):
        facts.invoices[row["id"]] = {**row, "decimals": currency(row["currency"]).decimals}
    for row in await pool.fetch("select * from payment_options"):
        decimals = next(a.decimals for a in house.chains[row["network"]].assets if a.id == row["asset"])
        option = {**row, "tiers": json.loads(row["confirmations"]), "decimals": decimals}
        facts.options.setdefault(row["invoice_id"], {})[row["asset"]] = option
    for row in await pool.fetch(f"{_PAYMENTS} where p.invoice_id is not null order by p.id"):
        facts.payments.setdefault(row["invoice_id"], []).append(row)
    facts.deposits.extend(
        await pool.fetch(f"{_PAYMENTS} where p.store_id is not null and p.invoice_id is null order by p.id")
    )
    for row in await pool.fetch("select * from spends order by id"):
        facts.spends.setdefault(row["invoice_id"], []).append(row)
    for row in await pool.fetch("select invoice_id, decision from invoice_decisions order by id"):
        facts.decisions.setdefault(row["invoice_id"], []).append(row["decision"])
    for row in await pool.fetch("select *, coalesce(payment_id, spend_id) as cause from given_back order by id"):
        facts.given.setdefault(row["invoice_id"], []).append(row["cause"])
    for row in await pool.fetch("select id, height, observed_at from networks"):
        height = -1 if row["height"] is None else row["height"]
        drop_after = house.settings.networks[row["id"]].drop_after_seconds
        facts.networks[row["id"]] = height, row["observed_at"] or _NEVER, drop_after
    return facts


async def check_chain(house: House, truth: Truth, *, looked: bool) -> None:
    """Compare with the node, once the follower stands on its tip: O2, O3, O4, O11.

    `looked`: a complete look into the mempool counted since anything last changed.
    """
    pool = house.database.pool
    first = await pool.fetchval("select min(height) from blocks where network = $1", truth.network)
    ours = await pool.fetch("select height, hash, parent from blocks where network = $1 order by height", truth.network)
    theirs = [block for block in truth.blocks if block[0] >= first]
    assert [tuple(row) for row in ours] == theirs, "our blocks are not the node's"
    found = await pool.fetch("select script from addresses where network = $1", truth.network)
    owned = {row["script"] for row in found}
    outputs = {key: output for key, output in truth.outputs.items() if output.script in owned and output.units}
    mined = {key: o for key, o in outputs.items() if o.block is not None and o.block[0] >= first}
    rows = {
        (row["txid"], row["position"]): row
        for row in await pool.fetch(
            "select p.*, a.script from payments p join addresses a on a.id = p.address_id where p.network = $1",
            truth.network,
        )
    }
    for key, row in rows.items():
        known = outputs.get(key)
        assert known is None or (known.script, known.units) == (row["script"], row["units"]), f"{key} is misread"
    held = {key: (row["block_height"], row["block_hash"]) for key, row in rows.items() if row["block_hash"]}
    assert held == {key: output.block for key, output in mined.items()}, "confirmed payments are not the chain's"
    await _check_sums(house, truth, sum(output.units for output in mined.values()))
    if looked:
        await _check_unconfirmed(house, truth, rows, {key for key, o in outputs.items() if o.block is None})


async def _check_sums(house: House, truth: Truth, mined: int) -> None:
    """O2. Money that a policy accepts without a confirmation is on the chain's account before any block holds it."""
    booked = await house.database.pool.fetchval(
        "select coalesce(sum(units), 0) from postings where account = $1 and asset = $2",
        f"wallet:{truth.network}",
        truth.asset,
    )
    accepted = await house.database.pool.fetchval(
        "select coalesce(sum(units), 0) from payments where network = $1 and block_hash is null and status = 'settled'",
        truth.network,
    )
    booked, accepted = int(booked), int(accepted)  # Decimal would round beyond 28 digits
    assert booked - accepted == mined, f"the books say {booked} ({accepted} unconfirmed), the chain says {mined}"


async def _check_unconfirmed(
    house: House, truth: Truth, rows: Mapping[tuple[str, str], Any], pending: set[tuple[str, str]]
) -> None:
    """O3, without a block: what the mempool holds is waiting; the rest is overtaken, or known to be missing.

    Overtaken is also what hangs on another transaction that was: `needs` holds what has to be left to whom.
    """
    needs: dict[str, set[tuple[str, str]]] = {}
    for row in await house.database.pool.fetch(
        """select txid, outpoint, txid as by from payment_inputs where network = $1
           union select a.txid, i.outpoint, a.ancestor from payment_ancestors a
           join ancestor_inputs i on i.network = a.network and i.ancestor = a.ancestor where a.network = $1""",
        truth.network,
    ):
        needs.setdefault(row["txid"], set()).add((row["outpoint"], row["by"]))
    waiting = {key for key, row in rows.items() if row["block_hash"] is None and _nothing_against(row)}
    assert waiting == pending, f"waiting: {waiting}, in the mempool: {pending}"
    for key, row in rows.items():
        if row["block_hash"] is not None or key in pending:
            continue
        mined = _rivals(needs.get(key[0], ()), truth.mined_spenders)
        rivals = mined or _rivals(needs.get(key[0], ()), truth.pending_spenders)
        how = f"{key} lost to {rivals}, not {row['conflict_txid']}: {dict(row)}"
        assert not rivals or row["conflict_txid"] in rivals, how
        assert bool(mined) == (row["conflict_height"] is not None), f"{key} lost to {row['conflict_txid']}: in a block?"


def _rivals(needed: Collection[tuple[str, str]], spenders: Mapping[str, str]) -> set[str]:
    return {by for outpoint, owner in needed if (by := spenders.get(outpoint)) not in (None, owner)}


def _nothing_against(row: Mapping[str, Any]) -> bool:
    return all(row[name] is None for name in ("conflict_txid", "missing_since", "void_height"))
