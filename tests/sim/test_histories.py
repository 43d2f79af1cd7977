"""Random histories of invoices, payments, blocks and failures; after every step the oracle, at the end the books.

They are compared with a rescan, and taken out.

`KASSA_SIM_EXAMPLES` and `KASSA_SIM_STEPS` make it larger (by default about a minute on two cores).
"""

import asyncio
import os
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from kassa.core.errors import ChainMoved, ChainUnavailable
from kassa.db.pool import Database
from kassa.invoices.model import Decision
from tests.sim.accounts import check_accounting
from tests.sim.toychain import Fault, ToyTx
from tests.sim.world import FOREIGN, World, new_world

PICK = st.integers(0, 30)
AMOUNTS = st.sampled_from(["15.00", "50.00", "150.00"])
# A found history is made smaller, unless time is short.
_PHASES = [
    phase
    for phase in Phase
    if phase is not Phase.explain and (phase is not Phase.shrink or "KASSA_SIM_FAST" not in os.environ)
]
BUYERS = st.sampled_from([None, 0, 0, 1])
POLICIES = st.sampled_from(
    [
        {},
        {},
        {"over": "credit"},
        {"short": "credit", "late_grace_seconds": 60},
        {"tolerance_amount": "0.50", "short": "accept", "short_limit_percent": "30"},
        {"late_grace_seconds": 40, "over": "credit"},
    ]
)
# EUR for a bitcoin: within and beyond what a late payment may have moved, and such that nothing divides evenly.
PRICES = st.sampled_from([50_000, 49_600, 50_900, 33_333, 77_777])
EXPIRIES = st.sampled_from([30, 900])
SECONDS = st.sampled_from([1, 5, 11, 31, 70, 1000])
# How the node shows what has just happened: at once, in part of its mempool, some blocks late, or before anyone looks.
SEEN = st.sampled_from(["at once"] * 5 + ["partly", "1 late", "2 late", "later"])
# How many calls pass before a disturbance. A quiet look asks for the tip, the mempool, and the tip again.
CALLS = st.sampled_from([1, 0, 1, 2, 1, 3, 4, 5])
SKEWS = st.sampled_from([0, 0, 0, -40, 7200])


class Laboratory:
    """Hands out worlds on databases of their own, on one event loop."""

    def __init__(self, url: str, template: str, folder: Path) -> None:
        self._url, self._template, self._folder = url, template, folder
        self._runner = asyncio.Runner()
        self._made: list[str] = []
        self._stack = AsyncExitStack()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    async def world(self) -> World:
        self._stack = AsyncExitStack()
        database = await self._stack.enter_async_context(_opened(await self._database()))
        return await self._stack.enter_async_context(new_world(database, self._fresh_folder()))

    async def rescan(self, world: World) -> None:
        async with _opened(await self._database()) as database:
            await world.compare_with_rescan(database, self._fresh_folder())

    async def clear(self) -> None:
        await self._stack.aclose()
        admin = await asyncpg.connect(self._url)
        for name in self._made:
            await admin.execute(f"drop database {name} with (force)")
        self._made.clear()
        await admin.close()

    def close(self) -> None:
        self._runner.close()

    async def _database(self) -> str:
        name = f"kassa_sim_{uuid4().hex[:12]}"
        admin = await asyncpg.connect(self._url)
        await admin.execute(f"create database {name} template {self._template} strategy file_copy")
        await admin.close()
        self._made.append(name)
        parts = urlsplit(self._url)
        return urlunsplit((parts.scheme, parts.netloc, "/" + name, parts.query, parts.fragment))

    def _fresh_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._folder))


class _opened:  # noqa: N801  # reads like contextlib's own
    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Database:
        self._database = await Database.open(self._url, connections=4)
        return self._database

    async def __aexit__(self, *_: object) -> None:
        await self._database.close()


class Histories(RuleBasedStateMachine):
    """What can happen to a shop; each rule is one thing, after which Kassa (if it runs) looks once."""

    laboratory: Laboratory

    def __init__(self) -> None:
        super().__init__()
        self.world: World = self._run(self.laboratory.world())
        # For how many more steps Kassa is down, its node lags, or nobody looks after a halt.
        self.down = self.lagging = self.unattended = 0

    def teardown(self) -> None:
        try:
            if not self.failed:
                self._run(check_accounting(self.world))
                self._run(self.laboratory.rescan(self.world))
        finally:
            self._run(self.laboratory.clear())

    failed = False

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self.laboratory.run(work)
        except BaseException:
            self.failed = True
            raise

    def _step(self, seen: str = "at once") -> None:
        if seen == "later":
            return
        self.world.clock.move(1)  # nobody looks at the very moment
        if seen != "at once":
            self.world.source.whole = seen != "partly"
            self.world.source.behind = 0 if seen == "partly" else int(seen[0])
            self.lagging = max(self.lagging, 1)
        if self.down > 1:
            self.down -= 1
            self._run(self.world.oracle.check())
            return
        if self.down:
            self.down = 0
            self._run(self.world.start())
        self._run(self.world.step())
        self.lagging = max(0, self.lagging - 1)
        if not self.lagging:
            self.world.source.behind, self.world.source.whole = 0, True
        self._attend()

    def _attend(self) -> None:
        """Resume a halted network a few steps later."""
        if self._run(self.world.position()).state != "halted":
            self.unattended = 0
        elif self.unattended == 3:
            self._run(self.world.resume())
        else:
            self.unattended += 1

    @initialize(amounts=st.lists(AMOUNTS, min_size=2, max_size=2), more=st.integers(0, 2), paid=st.booleans())
    def begin(self, amounts: list[str], more: int, paid: bool) -> None:
        """Begin where it gets interesting: a payment and a deposit in a block, one payment in the mempool."""
        world = self.world
        for store in (0, 1):
            world.chain.submit(world.tx((world.customers[store][0][1], 150_000)))
        mined, pending = [self._run(world.invoice(amount)) for amount in amounts]
        world.chain.submit(world.paying(mined))
        self._step()
        for _ in range(1 + more):
            world.chain.mine()
        world.chain.submit(world.paying(pending, world.due(pending) // (1 if paid else 2)))
        self._step()

    # The shop

    @rule(amount=AMOUNTS, store=st.integers(0, 2), expires_in=EXPIRIES, buyer=BUYERS, policy=POLICIES)
    def open_invoice(
        self, amount: str, store: int, expires_in: int, buyer: int | None, policy: dict[str, object]
    ) -> None:
        customer = None if buyer is None else self.world.customers[store][buyer][0]
        asks_for_credit = "credit" in policy.values()
        given = policy if customer is not None or not asks_for_credit else {}
        self._run(self.world.invoice(amount, store, expires_in, customer, **given))
        self._step()

    @rule(store=st.integers(0, 2), who=st.integers(0, 1), units=st.sampled_from([30_000, 100_000, 250_000]), seen=SEEN)
    def deposit(self, store: int, who: int, units: int, seen: str) -> None:
        self.world.chain.submit(self.world.tx((self.world.customers[store][who][1], units)))
        self._step(seen)

    @precondition(lambda self: self.world.invoices)
    @rule(which=PICK, units=st.sampled_from([None, None, 1, 20_000, 60_000]))
    def pay_from_credit(self, which: int, units: int | None) -> None:
        buying = [invoice for invoice in self.world.invoices if invoice["customer_id"] is not None]
        if buying:
            self._run(self.world.spend(_pick(buying, which), units))
            self._step()

    @rule(store=st.integers(0, 1), who=st.integers(0, 1), units=st.sampled_from([None, None, 1, 20_000]))
    def write_off(self, store: int, who: int, units: int | None) -> None:
        """Give up what a customer owes, as far as they owe anything."""
        self._run(self.world.write_off(store, self.world.customers[store][who][0], units))
        self._step()

    @precondition(lambda self: self.world.invoices)
    @rule(which=PICK, decision=st.sampled_from(Decision))
    def mark_invoice(self, which: int, decision: Decision) -> None:
        self._run(self.world.mark(_pick(self.world.invoices, which), decision))
        self._step()

    @rule(frozen=st.booleans())
    def doubt_the_asset(self, frozen: bool) -> None:
        """B5: while it is frozen nothing in it settles; what had settled stays so."""
        self._run(self.world.freeze() if frozen else self.world.thaw())
        self._step()

    @rule(which=PICK, store=st.integers(0, 2), who=st.one_of(st.none(), st.integers(0, 1)))
    def assign(self, which: int, store: int, who: int | None) -> None:
        """Give money of nobody to a customer or to a store's income; it may be decided again."""
        customer = None if who is None else self.world.customers[store][who][0]
        self._run(self.world.assign(which, store, customer))
        self._step()

    # The payers

    @rule(above=st.integers(0, 2), units=st.sampled_from([30_000, 100_000, 250_000]), mined=st.booleans(), seen=SEEN)
    def pay_nobody(self, above: int, units: int, mined: bool, seen: str) -> None:
        """Pay an address that was not issued yet: an earlier life of the database may have shown it."""
        sent = self.world.tx((self._run(self.world.unissued(above)), units))
        if mined:
            self.world.chain.mine([sent])
        else:
            self.world.chain.submit(sent)
        self._step(seen)

    @precondition(lambda self: self.world.invoices)
    @rule(
        which=st.lists(PICK, min_size=1, max_size=3),
        percent=st.sampled_from([100, 100, 99, 50, 150]),
        split=st.integers(1, 3),
        coins=st.integers(1, 2),
        signals=st.booleans(),
        decoy=st.booleans(),
        parent=st.one_of(st.none(), PICK),
        seen=SEEN,
    )
    def pay(
        self,
        which: list[int],
        percent: int,
        split: int,
        coins: int,
        signals: bool,
        decoy: bool,
        parent: int | None,
        seen: str,
    ) -> None:
        world = self.world
        outputs = []
        for invoice in (_pick(world.invoices, number) for number in which):
            units = world.due(invoice) * percent // 100
            outputs += [(world.script(invoice), units // split)] * (split - 1)
            outputs.append((world.script(invoice), units - units // split * (split - 1)))
        if decoy:
            # The same search key, another script.
            outputs.append((outputs[0][0][:12] + b"\x00" * 10, 5_000))
        spends = [world.chain.coin() for _ in range(coins)]
        if parent is not None and world.chain.mempool:
            spends[0] = f"{_pick(list(world.chain.mempool), parent)}:9"
        world.chain.submit(world.tx(*outputs, spends=spends, signals=signals))
        self._step(seen)

    @precondition(lambda self: self.world.chain.mempool)
    @rule(which=PICK, keep=st.sampled_from(["all", "half", "nothing"]), one_coin=st.booleans(), seen=SEEN)
    def replace(self, which: int, keep: str, one_coin: bool, seen: str) -> None:
        old = _pick(list(self.world.chain.mempool.values()), which)
        self.world.chain.submit(self._rival(old, keep, one_coin))
        self._step(seen)

    @precondition(lambda self: self.world.chain.mempool)
    @rule(which=PICK, seen=SEEN)
    def evict(self, which: int, seen: str) -> None:
        self.world.chain.evict(_pick(list(self.world.chain.mempool), which))
        self._step(seen)

    @rule(store=st.integers(0, 2), percent=st.sampled_from([40, 60, 100]), returns=st.booleans())
    def lose_half_past_the_end(self, store: int, percent: int, returns: bool) -> None:
        """Of two payments in time one is lost until the time is over, and may come back after its credit is gone."""
        world, (customer, _) = self.world, self.world.customers[store][0]
        short = self._run(world.invoice("50.00", store, 30, customer, short="credit"))
        other = self._run(world.invoice("50.00", store, 900, customer))
        if short is None or other is None:
            return
        lost = world.paying(short, world.due(short) * percent // 100)
        world.chain.submit(lost)
        self._step()
        world.chain.evict(lost.txid)
        world.chain.mine([world.paying(short, world.due(short) * 40 // 100)])
        for _ in range(3):
            world.clock.move(31)
            self._step()
        self._run(world.spend(other))
        if returns:
            world.chain.mine([lost])
        self._step()

    @rule(
        store=st.integers(0, 1),
        who=st.integers(0, 1),
        written=st.lists(st.sampled_from([None, 1, 20_000]), max_size=2),
        later=st.sampled_from([0, 30_000, 250_000]),
        returns=st.booleans(),
    )
    def lose_what_was_spent(self, store: int, who: int, written: list[int | None], later: int, returns: bool) -> None:
        """A deposit that was spent is lost; some of the debt is written off, some made good, and it may come again."""
        world, (customer, script) = self.world, self.world.customers[store][who]
        invoice = self._run(world.invoice("50.00", store, 900, customer))
        if invoice is None:
            return
        paid = world.tx((script, 100_000))
        world.chain.mine([paid])
        self._step()
        self._run(world.spend(invoice))
        world.chain.fork(1, 2, lose=[paid.txid])
        for _ in range(2):
            world.clock.move(11)
            self._step()
        for units in written:
            self._run(world.write_off(store, customer, units))
        if later:
            world.chain.mine([world.tx((script, later))])
        self._step()
        if returns:
            world.chain.mine([paid])
            self._step()

    @rule(store=st.integers(0, 2), grace=st.sampled_from([0, 40]), percent=st.sampled_from([50, 100, 150]), rate=PRICES)
    def pay_late(self, store: int, grace: int, percent: int, rate: int) -> None:
        """Pay after the end, within the grace time or not, at a rate that has moved or has not."""
        world = self.world
        invoice = self._run(world.invoice("50.00", store, 30, None, late_grace_seconds=grace))
        if invoice is None:
            return
        world.clock.move(31)
        world.price(Fraction(rate))
        world.chain.submit(world.paying(invoice, world.due(invoice) * percent // 100))
        self._step()

    @precondition(lambda self: self.world.chain.known)
    @rule(which=PICK, seen=SEEN)
    def send_again(self, which: int, seen: str) -> None:
        """Broadcast once more what was evicted, replaced or undone; the chain decides whether it is possible."""
        chain = self.world.chain
        chain.submit(_pick([tx for tx in chain.known.values() if tx.txid in chain.lost] or [_NOTHING], which))
        self._step(seen)

    # The miners

    @rule(count=st.integers(1, 3), which=st.sampled_from(["all", "all", "none", "first"]), skew=SKEWS, seen=SEEN)
    def mine(self, count: int, which: str, skew: int, seen: str) -> None:
        for _ in range(count):
            held = list(self.world.chain.mempool.values())
            self.world.chain.mine({"all": held, "none": [], "first": held[:1]}[which], skew=skew)
        self._step(seen)

    @precondition(lambda self: self.world.invoices)
    @rule(which=PICK)
    def mine_for_an_invoice(self, which: int) -> None:
        invoice = _pick(self.world.invoices, which)
        self.world.chain.mine(to=[(self.world.script(invoice), self.world.due(invoice))])
        self._step()

    @precondition(lambda self: self.world.chain.known)
    @rule(which=PICK, keep=st.sampled_from(["all", "half", "nothing"]), one_coin=st.booleans(), seen=SEEN)
    def mine_a_rival(self, which: int, keep: str, one_coin: bool, seen: str) -> None:
        """Mine a transaction that nobody saw: a double spend, or (keep all) the same one under another id (A8)."""
        old = _pick([tx for tx in self.world.chain.known.values() if tx.inputs] or [_NOTHING], which)
        self.world.chain.mine([self._rival(old, keep, one_coin)])
        self._step(seen)

    @rule(
        depth=st.one_of(st.integers(1, 4), st.integers(1, 8)),
        more=st.integers(-1, 2),
        kind=st.sampled_from(["empty", "remine", "rival", "lose"]),
        which=PICK,
        skew=SKEWS,
        seen=SEEN,
    )
    def fork(self, depth: int, more: int, kind: str, which: int, skew: int, seen: str) -> None:
        chain = self.world.chain
        depth = min(depth, len(chain.path()) - 1)
        if depth == 0:
            return
        undone = [tx for block in chain.path()[-depth:] for tx in block.transactions if tx.inputs]
        first = {
            "empty": [],
            "remine": [*chain.mempool.values(), *undone],
            "rival": [self._rival(_pick(undone or [_NOTHING], which), "half", True)],
            "lose": [],
        }[kind]
        lose = [tx.txid for tx in undone] if kind == "lose" else []
        chain.fork(depth, max(1, depth + more), first, lose=lose, skew=skew)
        self._step(seen)

    @rule(which=PICK)
    def switch_branch(self, which: int) -> None:
        """A4: the node goes back to a branch that it left."""
        chain = self.world.chain
        parents = {block.parent for block in chain.blocks.values()}
        self.world.chain.switch(_pick([hash_ for hash_ in chain.blocks if hash_ not in parents], which))
        self._step()

    # The node

    @rule(behind=st.integers(0, 3), whole=st.booleans(), steps=st.integers(1, 4))
    def lag(self, behind: int, whole: bool, steps: int) -> None:
        """Let the node show fewer blocks, or not all of its mempool, for some steps."""
        self.world.source.behind, self.world.source.whole, self.lagging = behind, whole, steps
        self._step()

    @rule(faults=st.lists(st.tuples(CALLS, st.sampled_from([2, 2, 3, *range(8)]), PICK), min_size=1, max_size=3))
    def disturb(self, faults: list[tuple[int, int, int]]) -> None:
        """Let answers change, or fail, between any two calls of the next look (A34)."""
        for skipped, kind, which in faults:
            self.world.source.faults += [*[None] * skipped, self._fault(kind, which)]
        self._step()

    @precondition(lambda self: self.world.chain.mempool)
    @rule(calls=CALLS, skew=SKEWS, depth=st.integers(0, 2))
    def mine_meanwhile(self, calls: int, skew: int, depth: int) -> None:
        """Let what waits be mined, on this branch or another, between two calls of one look."""
        chain = self.world.chain

        def meanwhile() -> None:
            below = min(depth, len(chain.path()) - 1)
            chain.fork(below, below + 1, list(chain.mempool.values()), skew=skew)

        self.world.source.faults += [*[None] * calls, meanwhile]
        self._step()

    # Kassa itself

    @rule(seconds=SECONDS, tick_first=st.booleans(), seen=SEEN)
    def wait(self, seconds: int, tick_first: bool, seen: str) -> None:
        self.world.clock.move(seconds)
        if tick_first:
            self._run(self.world.tick())
        self._step(seen)

    @rule(rate=PRICES)
    def change_rate(self, rate: int) -> None:
        """Late payments, deposits, spends and losses are worth what they are when they come; nothing else moves."""
        self.world.price(Fraction(rate))
        self._step()

    @rule(what=st.sampled_from(["down", "restart", "take over", "repeat"]), steps=st.integers(1, 5))
    def operate(self, what: str, steps: int) -> None:
        world = self.world
        if what == "down":
            self.down = steps + 1
        elif what == "restart" or self.down:
            self.down = 1
        elif what == "take over":
            self._run(world.stale_follower_is_refused())
        else:
            self._run(world.repeat())
        self._step()

    def _rival(self, old: ToyTx, keep: str, one_coin: bool) -> ToyTx:
        kept = {
            "all": old.outputs,
            "half": tuple((script, units // 2) for script, units in old.outputs if units > 1),
            "nothing": ((FOREIGN, 1_000),),
        }[keep]
        return self.world.tx(*kept, spends=old.inputs[-1:] if one_coin else old.inputs)

    def _fault(self, kind: int, which: int) -> Fault:
        chain = self.world.chain
        actions: list[Fault] = [
            ChainMoved("as if"),
            ChainUnavailable("as if"),
            lambda: chain.mine() and None,  # type: ignore[func-returns-value]
            lambda: chain.mine((), skew=-40) and None,  # type: ignore[func-returns-value]
            lambda: chain.fork(1, 1) if chain.height > 100 else None,
            lambda: chain.evict(_pick([*chain.mempool, ""], which)),
            lambda: self.world.clock.move(7) and None,  # type: ignore[func-returns-value]
            lambda: (
                chain.submit(self._rival(_pick([*chain.mempool.values(), _NOTHING], which), "half", False)) and None
            ),
        ]
        return actions[kind]


_NOTHING = ToyTx("nothing", ("nobody:0",), ((FOREIGN, 1),))


def _pick(choices: list[Any], which: int) -> Any:
    return choices[which % len(choices)]


@pytest.fixture
def laboratory(postgres_url: str, template: str, tmp_path: Path) -> Iterator[Laboratory]:
    made = Laboratory(postgres_url, template, tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(3600)
def test_no_history_leads_away_from_the_chain(laboratory: Laboratory) -> None:
    """G2."""
    run_state_machine_as_test(
        type("Run", (Histories,), {"laboratory": laboratory}),
        settings=settings(
            max_examples=int(os.environ.get("KASSA_SIM_EXAMPLES", "20")),
            # A change is judged by the same histories each time; new ones are looked for elsewhere.
            derandomize="CI" in os.environ,
            stateful_step_count=int(os.environ.get("KASSA_SIM_STEPS", "30")),
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=_PHASES,
        ),
    )
