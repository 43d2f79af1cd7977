"""The path of a payment on a real PostgreSQL, with facts given by hand: what each gate writes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kassa import flow
from kassa.alerts.model import Kind
from kassa.audit.model import Actor
from kassa.core.errors import Unavailable
from kassa.core.facts import Block, BlockRef, Input, Pending, Tip, Transaction, Transfer, TransferKey
from kassa.db.pool import Database
from kassa.house import House
from kassa.invoices import store as invoices
from kassa.invoices.model import Decision, Order, Tier
from kassa.payments import store as payments
from kassa.payments.model import Touched
from kassa.payments.rules import Found
from kassa.stores.model import Store
from kassa.wallets import owner_store as owning
from kassa.wallets import store as wallets
from kassa.watch import store as watch
from kassa.watch.model import ChainUpdate, Position
from tests.detecting import look
from tests.house import BITCOIN, SEAL, TPUB, SetClock, add_store, build_house, regtest
from tests.locks import WAITING

LEASE = 60


@dataclass
class World:
    """A store on a toy chain: blocks are numbered, transactions are named."""

    house: House
    clock: SetClock
    store: Store
    position: Position
    blocks: list[Block] = field(default_factory=list)
    names: count = field(default_factory=count)  # type: ignore[type-arg]

    async def invoice(self, amount: str = "50.00", **more: object) -> dict:  # type: ignore[type-arg]
        now = self.clock.now()
        order = Order(amount, "EUR", **more)  # type: ignore[arg-type]
        opening = await flow.quote_invoice(self.house, self.store, order, now)
        async with self.house.database.transaction() as tx:
            return await flow.open_invoice(tx, self.house, opening, now)

    def paying(self, txid: str, *invoices: dict, units: int = 100_000, spends: str = "", **more: object) -> Transaction:  # type: ignore[type-arg]
        parse = self.house.chains[BITCOIN].addresses.parse
        transfers = tuple(
            Transfer(
                TransferKey(BITCOIN, txid, f"out:{place}"),
                parse(invoice["payment_options"][0]["address"]),
                "BTC@bitcoin-regtest",
                units,
            )
            for place, invoice in enumerate(invoices)
        )
        return Transaction(txid, transfers, (Input(spends or f"coin-of-{txid}:0", 7),), **more)  # type: ignore[arg-type]

    async def mine(self, *transactions: Transaction, undo: int = 0, empty: int = 0) -> None:
        """Add a block with transactions and `empty` more on top, after undoing some."""
        undone = [block.ref for block in reversed(self.blocks[len(self.blocks) - undo :])]
        del self.blocks[len(self.blocks) - undo :]
        fresh = []
        for holding in (transactions, *[()] * empty):
            below = self.blocks[-1].ref if self.blocks else BlockRef(99, "begin")
            ref = BlockRef(below.height + 1, f"block{next(self.names)}")
            fresh.append(Block(ref, below.hash, self.clock.now(), tuple(holding)))
            self.blocks.append(fresh[-1])
        update = ChainUpdate(tuple(undone), tuple(fresh))
        now = self.clock.now()
        self.position = await self.house.database.run(
            lambda tx: flow.on_chain_update(tx, self.house, self.position, update, LEASE, now)
        )

    async def look(self, *transactions: Transaction, complete: bool = True) -> bool:
        """Look into a mempool that holds these."""
        now = self.clock.now()
        pending = Pending(self.blocks[-1].ref, complete, transactions)
        return await self.house.database.run(
            lambda tx: flow.on_pending(tx, self.house, self.position, pending, now, LEASE, now)
        )

    async def tick(self) -> int:
        return await self.house.database.run(lambda tx: flow.on_deadlines(tx, self.house, self.clock.now()))

    async def shown(self, invoice: dict) -> dict:  # type: ignore[type-arg]
        async with self.house.database.transaction() as tx:
            return await flow.invoice_resource(tx, self.house, self.store, invoice["id"], self.clock.now())

    async def events(self, after: int = 0) -> list[str]:
        rows = await self.house.database.pool.fetch("select type from events order by position offset $1", after)
        return [row["type"] for row in rows]

    async def books(self) -> dict[str, int]:
        rows = await self.house.database.pool.fetch(
            "select account, sum(units) as units from postings group by 1 having sum(units) <> 0"
        )
        return {row["account"]: int(row["units"]) for row in rows}


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    clock = SetClock()
    house = await build_house(database, tmp_path, clock=clock)
    async with database.transaction() as tx:
        await watch.register(tx, BITCOIN, "bitcoin-regtest")
        position = await watch.take_lease(tx, BITCOIN, "test", LEASE)
        assert position is not None
        store = await add_store(tx, house)
    made = World(house, clock, store, position)
    await made.mine()
    tip = Tip(made.blocks[-1].ref, clock.now(), made.blocks[-1].ref.height, False)
    async with database.transaction() as tx:
        await flow.note_node(tx, made.position, tip, "ok", "", clock.now())
    await made.look()
    yield made
    await house.marks.close()


async def test_a_payment_goes_from_mempool_to_settled(world: World) -> None:
    invoice = await world.invoice()
    assert invoice["payment_options"][0]["amount"] == "0.00100000"
    paid = world.paying("a", invoice)
    await world.look(paid)
    assert (await world.shown(invoice))["status"] == "processing"
    assert await world.books() == {}
    await world.mine(paid)
    shown = await world.shown(invoice)
    assert (shown["status"], shown["amount_settled"], shown["is_final"]) == ("settled", "50.00", True)
    assert shown["payments"][0]["confirmations"] == 1
    assert await world.books() == {"wallet:bitcoin-regtest": 100_000, "sales": -100_000}
    assert await world.events() == [
        "invoice.created", "payment.detected", "invoice.processing", "payment.settled", "invoice.settled",
    ]  # fmt: skip


async def test_events_carry_the_resource_as_it_was(world: World) -> None:
    invoice = await world.invoice()
    await world.look(world.paying("a", invoice))
    rows = await world.house.database.pool.fetch("select type, object from events order by position")
    assert json.loads(rows[0]["object"]) == invoice
    assert json.loads(rows[1]["object"])["status"] == "detected"
    assert json.loads(rows[2]["object"])["payments"] == [json.loads(rows[1]["object"])]


async def test_the_same_block_twice_changes_nothing(world: World) -> None:
    """D4: an update that was applied already is not applied again."""
    invoice = await world.invoice()
    before = world.position
    await world.mine(world.paying("a", invoice))
    said, books = await world.events(), await world.books()
    world.position = before
    update = ChainUpdate((), (world.blocks[-1],))
    world.position = await world.house.database.run(
        lambda tx: flow.on_chain_update(tx, world.house, before, update, LEASE, world.clock.now())
    )
    assert (await world.events(), await world.books()) == (said, books)
    assert world.position.tip == world.blocks[-1].ref


async def test_a_reorganisation_that_keeps_the_payment_says_nothing(world: World) -> None:
    """A2: settled stays settled, in another block."""
    invoice = await world.invoice()
    paid = world.paying("a", invoice)
    await world.mine(paid)
    said = await world.events()
    await world.mine(paid, undo=1, empty=1)
    shown = await world.shown(invoice)
    assert (shown["status"], shown["flags"]) == ("settled", [])
    assert shown["payments"][0]["block_hash"] == world.blocks[-2].ref.hash
    assert await world.events() == said


async def test_where_nothing_was_called_final_a_reorganisation_makes_nothing_final(world: World) -> None:
    await world.mine(empty=3)
    await world.mine(undo=1, empty=1)
    async with world.house.database.transaction() as tx:
        assert (await watch.positions(tx))[BITCOIN].final is None
    assert world.position.final is None
    world.position = await world.house.database.run(
        lambda tx: flow.on_final(tx, world.house, world.position, world.blocks[-2].ref, LEASE, world.clock.now())
    )
    await world.mine(undo=4, empty=4)
    assert world.position.final == world.blocks[-6].ref.height
    async with world.house.database.transaction() as tx:
        assert (await watch.positions(tx))[BITCOIN] == world.position


async def test_a_reorganisation_that_drops_the_payment_reopens_the_invoice_and_it_can_settle_again(
    world: World,
) -> None:
    invoice = await world.invoice()
    paid = world.paying("a", invoice)
    await world.mine(paid)
    seen = len(await world.events())
    await world.mine(undo=1, empty=1)
    shown = await world.shown(invoice)
    assert (shown["status"], shown["flags"], shown["settled_at"]) == ("processing", ["reversed"], None)
    assert shown["payments"][0]["status"] == "detected"
    assert await world.books() == {}
    await world.mine(paid)
    assert (await world.shown(invoice))["status"] == "settled"
    assert await world.events(seen) == ["payment.detected", "invoice.reopened", "payment.settled", "invoice.settled"]


async def test_a_double_spend_in_a_block_reverses_a_settled_payment(world: World) -> None:
    """A3: compensating postings, never deleted rows."""
    invoice = await world.invoice()
    await world.mine(world.paying("a", invoice, spends="coin:0"))
    await world.mine(world.paying("b", spends="coin:0"), undo=1, empty=1)
    shown = await world.shown(invoice)
    assert (shown["status"], shown["flags"]) == ("new", ["reversed"])
    assert (shown["payments"][0]["status"], shown["payments"][0]["replaced_by"]) == ("reversed", "b")
    assert (await world.events())[-2:] == ["payment.reversed", "invoice.reopened"]
    assert await world.books() == {}
    assert await world.house.database.pool.fetchval("select count(*) from postings") == 4


async def test_a_reversal_asks_twice_what_was_enough_however_often_it_is_looked_at(world: World) -> None:
    invoice = await world.invoice()
    await world.mine(world.paying("a", invoice, spends="coin:0"))
    await world.mine(world.paying("b", spends="coin:0"), undo=1, empty=1)
    await world.look(world.paying("again", invoice))
    for _ in range(3):
        [reversal] = (await look(world.house, "reversals"))[Kind.SETTLED_REVERSED]
        assert [action.blocks for action in reversal.finding.actions] == [2]
        assert [each["confirmations_required"] for each in (await world.shown(invoice))["payments"]] == [1, 2]


async def test_a_replacement_in_the_mempool_takes_the_payment_back_at_once(world: World) -> None:
    invoice = await world.invoice()
    await world.look(world.paying("a", invoice, spends="coin:0", replaceable=True))
    await world.look(world.paying("b", invoice, spends="coin:0", units=50_000))
    shown = await world.shown(invoice)
    assert (shown["status"], shown["amount_paid"]) == ("new", "25.00")
    assert [(p["txid"], p["status"], p["replaced_by"]) for p in shown["payments"]] == [
        ("a", "replaced", "b"),
        ("b", "detected", None),
    ]


async def test_a_missing_payment_is_dropped_after_a_while_and_comes_back_as_the_same(world: World) -> None:
    invoice = await world.invoice()
    paid = world.paying("a", invoice)
    await world.look(paid)
    world.clock.move(1)
    await world.look()
    assert (await world.shown(invoice))["payments"][0]["status"] == "detected"
    world.clock.move(11)
    await world.look()
    assert (await world.events())[-2:] == ["payment.dropped", "invoice.reopened"]
    first = (await world.shown(invoice))["payments"]
    assert first[0]["status"] == "dropped"
    await world.look(paid)
    again = (await world.shown(invoice))["payments"]
    assert [(p["id"], p["status"]) for p in again] == [(first[0]["id"], "detected")]


async def test_a_payment_is_dropped_although_another_network_of_its_invoice_is_not_heard(
    database: Database, tmp_path: Path
) -> None:
    clock, silent = SetClock(), "litecoin-regtest"
    house = await build_house(database, tmp_path, {BITCOIN: regtest(), silent: regtest(silent)}, clock)
    async with database.transaction() as tx:
        for network in house.chains:
            await watch.register(tx, network, network)
        position = await watch.take_lease(tx, BITCOIN, "test", LEASE)
        assert position is not None
        await tx.execute("update networks set state = 'ok', observed_at = $1", clock.now())
        store = await add_store(tx, house)
        account = house.chains[silent].addresses.account(TPUB)
        await wallets.add_wallet(tx, store.id, silent, silent, account, SEAL, clock.now())
    world = World(house, clock, store, position)
    await world.mine()
    invoice = await world.invoice()
    assert [option["network"] for option in invoice["payment_options"]] == [BITCOIN, silent]
    await world.look(world.paying("a", invoice))
    clock.move(1)
    await world.look()
    clock.move(11)
    await world.look()
    await world.tick()
    assert (await world.events())[-2:] == ["payment.dropped", "invoice.reopened"]
    await house.marks.close()


async def test_dead_payments_are_not_read_at_every_look(world: World) -> None:
    invoice = await world.invoice()
    await world.look(world.paying("a", invoice), world.paying("b", invoice))
    await world.look(world.paying("b", invoice))
    world.clock.move(11)
    await world.look(world.paying("b", invoice))
    async with world.house.database.transaction() as tx:
        waiting = await payments.unconfirmed(tx, BITCOIN, [])
        assert [note.txid for note in waiting] == ["b"]
        assert {note.txid for note in await payments.unconfirmed(tx, BITCOIN, ["a", "b"])} == {"a", "b"}


async def test_a_conflict_in_a_block_is_not_replaced_by_one_that_waits(world: World) -> None:
    invoice = await world.invoice()
    paid = replace(world.paying("a", invoice), inputs=(Input("x:0", 1), Input("y:0", 2)))
    await world.look(paid)
    await world.mine(Transaction("b", (), (Input("x:0", 1),)))
    await world.look(Transaction("c", (), (Input("y:0", 2),)))
    assert (await world.shown(invoice))["payments"][0]["replaced_by"] == "b"
    await world.mine(undo=1, empty=1)
    await world.look(Transaction("c", (), (Input("y:0", 2),)))
    assert (await world.shown(invoice))["payments"][0]["replaced_by"] == "c"


@pytest.mark.parametrize(
    "written", ["height = height + 5", "height = height - 1", "height = null", "hash = 'other'", "hash = null"]
)
async def test_a_tip_that_somebody_wrote_is_put_right_at_the_next_look_and_counts_for_no_payment(
    world: World, written: str
) -> None:
    invoice = await world.invoice()
    await world.mine(empty=5)
    await world.look()
    stood = world.position.tip
    await world.house.database.pool.execute(f"update networks set {written}")
    paid = world.paying("a", invoice)
    assert await world.look(paid)
    async with world.house.database.transaction() as tx:
        assert (await watch.positions(tx))[BITCOIN].tip == stood

    await world.house.database.pool.execute(f"update networks set {written}")
    await world.mine(paid)
    assert world.position.tip == world.blocks[-1].ref
    payment = (await world.shown(invoice))["payments"][0]
    assert (payment["block_height"], payment["confirmations"]) == (world.blocks[-1].ref.height, 1)


async def test_who_takes_a_network_over_stands_at_its_highest_block_whatever_is_written(world: World) -> None:
    await world.house.database.pool.execute("update networks set height = height + 50, lease_until = now()")
    async with world.house.database.transaction() as tx:
        position = await watch.take_lease(tx, BITCOIN, "another", LEASE)
        assert (await watch.positions(tx))[BITCOIN].tip == world.blocks[-1].ref
    assert position is not None
    assert position.tip == world.blocks[-1].ref


async def test_what_the_network_never_called_final_is_not_for_longer_than_a_look(world: World) -> None:
    pool, now = world.house.database.pool, world.clock.now()
    await world.mine(empty=5)
    await pool.execute("update networks set final_height = 10000")
    await world.look()
    assert await pool.fetchval("select final_height from networks") is None

    said = world.blocks[-3].ref
    world.position = await world.house.database.run(
        lambda tx: flow.on_final(tx, world.house, world.position, said, LEASE, now)
    )
    await pool.execute("update networks set final_height = 10000")
    await world.mine()
    assert await pool.fetchval("select final_height from networks") == said.height
    assert world.position.final == said.height
    # The answer to a commit was lost: what it wrote is no stranger's.
    before, world.position = world.position, replace(world.position, final=said.height)
    later = world.blocks[-1].ref
    for _ in range(2):
        world.position = await world.house.database.run(
            lambda tx: flow.on_final(tx, world.house, before, later, LEASE, now)
        )
    assert await pool.fetchval("select final_height from networks") == later.height


async def test_a_state_that_somebody_wrote_does_not_halt_who_follows(world: World) -> None:
    await world.house.database.pool.execute("update networks set state = 'halted'")
    await world.mine()
    assert world.position.state != "halted"


class Interrupted:
    """A connection on which something happens just before one of its statements."""

    def __init__(self, connection: Any, place: int, happens: Callable[[], Awaitable[object]]) -> None:
        self._connection, self._left, self._happens = connection, place, happens

    async def fetch(self, *arguments: Any) -> Any:
        if self._left == 0:
            await self._happens()
        self._left -= 1
        return await self._connection.fetch(*arguments)


@pytest.mark.parametrize("place", range(6))
async def test_a_reader_never_sees_the_end_of_time_without_the_payment_that_came_before(
    world: World, place: int
) -> None:
    """D24: a reader has no lock; a payment in time, and a look past the deadline, are committed while it reads."""
    invoice = await world.invoice(expires_in=60)
    happened = []

    async def pay() -> None:
        world.clock.move(30)
        await world.look(world.paying("a", invoice))
        world.clock.move(31)
        await world.look(world.paying("a", invoice))
        happened.append(place)

    async with world.house.database.pool.acquire() as connection:
        reader: Any = Interrupted(connection, place, pay)
        later = world.clock.now() + timedelta(seconds=90)
        shown = await flow.invoice_resource(reader, world.house, world.store, invoice["id"], later)
    assert shown["status"] in ("new", "processing")
    assert (place in happened) is (place < 5), "the reader's statements are five; name the new one"


async def test_d8_followers_that_book_money_for_one_invoice_do_not_wait_for_each_other(world: World) -> None:
    """Each has written a payment that refers to the invoice before it locks it."""
    invoice, now, both = await world.invoice(), world.clock.now(), asyncio.Barrier(2)
    (transfer,) = world.paying("a", invoice).transfers
    (owner,) = await owning.owners(world.house.database.pool, BITCOIN, [transfer.to])

    async def follow(network: str) -> None:
        moved = replace(transfer, key=TransferKey(network, "a", "out:0"))
        async with world.house.database.transaction() as tx:
            await payments.put(tx, [(Found(moved, Transaction("a", (), ()), None, now), owner)], {}, now)
            await both.wait()
            await invoices.lock(tx, [invoice["id"]])

    await asyncio.gather(follow(BITCOIN), follow("litecoin-regtest"))


async def test_d8_invoices_are_locked_in_one_order_whoever_locks_them(world: World) -> None:
    """Two wait for the last of them while each holds what it has locked already: in two orders they would deadlock."""
    database = world.house.database
    for _ in range(5):
        made = [(await world.invoice())["id"] for _ in range(12)]

        async def lock(ids: list[Any]) -> None:
            async with database.transaction() as tx:
                await invoices.lock(tx, ids)

        async with database.transaction() as tx, asyncio.TaskGroup() as group:
            await tx.execute("select from invoices where id = $1 for update", max(made))
            group.create_task(lock(made))
            group.create_task(lock(made[::-1]))
            while await database.pool.fetchval(WAITING) < 2:  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0.01)
            await tx.execute("rollback and chain")


async def test_an_incomplete_look_concludes_nothing(world: World) -> None:
    invoice = await world.invoice()
    await world.look(world.paying("a", invoice))
    world.clock.move(100)
    await world.look(complete=False)
    world.clock.move(100)
    await world.look(complete=False)
    assert (await world.shown(invoice))["payments"][0]["status"] == "detected"


async def test_a_look_from_another_tip_does_not_count(world: World) -> None:
    invoice = await world.invoice()
    pending = Pending(BlockRef(100, "elsewhere"), True, (world.paying("a", invoice),))
    now = world.clock.now()
    counted = await world.house.database.run(
        lambda tx: flow.on_pending(tx, world.house, world.position, pending, now, LEASE, now)
    )
    assert counted is False
    assert (await world.shown(invoice))["payments"] == []


async def test_an_invoice_expires_once_its_network_was_seen_after_the_deadline(world: World) -> None:
    invoice = await world.invoice(expires_in=60)
    world.clock.move(61)
    assert await world.tick() == 0
    assert (await world.shown(invoice))["status"] == "new"
    await world.look()
    assert await world.tick() == 1
    assert (await world.shown(invoice))["status"] == "expired"
    assert await world.tick() == 0
    assert await world.events() == ["invoice.created", "invoice.expired"]


async def test_a_payment_mined_while_nobody_looked_counts_by_its_blocks_time(world: World) -> None:
    """A27: late detection is not late payment."""
    invoice = await world.invoice(expires_in=60)
    world.clock.move(30)
    mined = Block(
        BlockRef(101, "while-away"), world.blocks[-1].ref.hash, world.clock.now(), (world.paying("a", invoice),)
    )
    world.clock.move(5_000)
    world.blocks.append(mined)
    world.position = await world.house.database.run(
        lambda tx: flow.on_chain_update(
            tx, world.house, world.position, ChainUpdate((), (mined,)), LEASE, world.clock.now()
        )
    )
    await world.look()
    await world.tick()
    shown = await world.shown(invoice)
    assert (shown["status"], shown["flags"]) == ("settled", [])


async def test_money_for_an_expired_invoice_is_booked_and_flagged(world: World) -> None:
    """A19."""
    invoice = await world.invoice(expires_in=60)
    world.clock.move(100)
    await world.look()
    await world.tick()
    world.clock.move(100)
    await world.mine(world.paying("a", invoice))
    shown = await world.shown(invoice)
    assert (shown["status"], shown["flags"], shown["amount_paid"]) == ("expired", ["late"], "50.00")
    assert await world.books() == {"wallet:bitcoin-regtest": 100_000, "sales": -100_000}
    assert (await world.events())[-2:] == ["payment.settled", "invoice.updated"]


async def test_one_transaction_pays_several_invoices_and_one_reorganisation_takes_all_back(world: World) -> None:
    """A20."""
    invoices = [await world.invoice() for _ in range(5)]
    await world.mine(world.paying("a", *invoices))
    assert {(await world.shown(i))["status"] for i in invoices} == {"settled"}
    await world.mine(undo=1, empty=1)
    assert {(await world.shown(i))["status"] for i in invoices} == {"processing"}
    assert await world.books() == {}


async def test_several_outputs_to_one_address_all_count(world: World) -> None:
    """A21."""
    invoice = await world.invoice()
    await world.mine(world.paying("a", invoice, invoice, invoice, units=30_000))
    shown = await world.shown(invoice)
    assert (shown["amount_paid"], [p["position"] for p in shown["payments"]]) == ("45.00", ["out:0", "out:1", "out:2"])


async def test_a_decision_settles_and_is_flagged(world: World) -> None:
    invoice = await world.invoice()
    async with world.house.database.transaction() as tx:
        marked = await flow.mark_invoice(
            tx, world.house, world.store, invoice["id"], Decision.SETTLED, Actor("key_x"), world.clock.now()
        )
    assert (marked["status"], marked["flags"]) == ("settled", ["marked"])
    assert (await world.events())[-1] == "invoice.settled"


async def test_two_invoices_have_two_addresses(world: World) -> None:
    first, second = await world.invoice(), await world.invoice()
    assert first["payment_options"][0]["address"] != second["payment_options"][0]["address"]


async def test_reassessing_twice_writes_nothing_more(world: World) -> None:
    invoice = await world.invoice()
    await world.mine(world.paying("a", invoice))
    said = await world.events()

    async def again(now: datetime) -> None:
        async with world.house.database.transaction() as tx:
            await flow.reassess(tx, world.house, Touched(frozenset([invoice["id"]])), now)

    await again(world.clock.move(1))
    await again(world.clock.move(1))
    assert await world.events() == said


@pytest.mark.parametrize("units", [10 * 10**18, 2**63, 2**64, 2**256 - 1])
async def test_amounts_beyond_64_bits_are_stored_and_summed_exactly(world: World, units: int) -> None:
    """C11."""
    invoice = await world.invoice()
    await world.mine(world.paying("a", invoice, invoice, units=units))
    shown = await world.shown(invoice)
    assert [p["amount"] for p in shown["payments"]] == [f"{units // 10**8}.{units % 10**8:08}"] * 2
    excess = 2 * units - 100_000
    assert await world.books() == {"wallet:bitcoin-regtest": 2 * units, "sales": -100_000, "over": -excess}
    assert shown["payment_options"][0]["amount_paid"] == f"{2 * units // 10**8}.{2 * units % 10**8:08}"


async def test_terms_beyond_64_bits_and_text_of_any_kind_are_read_as_they_were_written(world: World) -> None:
    order = Order("50.00", "EUR", reference="\U0001f600 \\ \" '", metadata_json='{"a":"\\u0000\\ud83d\\ude00"}')
    opening = await flow.quote_invoice(world.house, world.store, order, world.clock.now())
    (option,) = opening.terms.options
    wide = replace(option, due_units=10**30, rate=Fraction(1, 3), tiers=(Tier(10**31, 2), Tier(None, 3, final=True)))
    terms = replace(opening.terms, amount_units=10**40, options=(wide,))

    async with world.house.database.transaction() as tx:
        await flow.open_invoice(tx, world.house, replace(opening, terms=terms), world.clock.now())
        ((read, _),) = await invoices.load(tx, [terms.id])

    assert read.seal is not None  # given when they were written
    assert replace(read, seal=None) == terms


async def test_nobody_is_asked_to_pay_on_a_network_that_nobody_has_followed_for_a_minute(world: World) -> None:
    async def lapse(seconds: int) -> None:
        await world.house.database.pool.execute(
            "update networks set lease_until = now() - make_interval(secs => $1)", seconds
        )

    await lapse(50)
    await world.invoice()
    await lapse(70)
    with pytest.raises(Unavailable) as refused:
        await world.invoice()
    assert refused.value.code == "network_unavailable"
    (row,) = await watch.network_rows(world.house.database.pool)
    assert (row.state, row.followed) == ("unreachable", False)
