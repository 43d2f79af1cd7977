"""The wiring: the only place that builds the house, and the only one that starts a loop again whatever ended it."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from time import monotonic

import structlog
import uvloop

from kassa import __version__, flow, measures, tracing
from kassa.chains.base import Chain
from kassa.chains.registry import FAMILIES
from kassa.core.clock import SystemClock
from kassa.core.errors import DatabaseError, KassaError, LeaseLost, SettingsError
from kassa.core.ids import first_id
from kassa.db import embedded
from kassa.db.migrate import migrate, missing, refuse_half_restored
from kassa.db.pool import Database
from kassa.db.server import open_database, weak_settings
from kassa.events.model import TYPES
from kassa.flow import DETECTORS
from kassa.house import House, derived_text, limits_of
from kassa.invoices import seal_store as invoice_seals
from kassa.limits.limiter import Limiter
from kassa.metrics.serve import serve_metrics
from kassa.payments import asset_store as assets
from kassa.people import seal_store as people_seals
from kassa.settings import Settings
from kassa.wallets import seal_store as seals
from kassa.wallets.mark import AddressMarks
from kassa.wallets.rules import unpaid_bounds
from kassa.wallets.runs import UnpaidRuns
from kassa.wallets.seal import FILE as KEY_FILE
from kassa.wallets.seal import SECRETS, TERMS, Seal, note_sealed_since, read_or_make, sealed_since
from kassa.watch.rules import renamed
from kassa.watch.store import network_rows, used_names
from kassa.workers.check_addresses import check_addresses
from kassa.workers.count_unpaid import count_unpaid
from kassa.workers.detect import detect
from kassa.workers.fetch_rates import fetch_rates
from kassa.workers.follow_chain import follow_chain
from kassa.workers.keep_audit import keep_audit, prove_audit
from kassa.workers.keep_sums import keep_sums
from kassa.workers.look_at_disks import look_at_disks
from kassa.workers.reconcile import reconcile
from kassa.workers.second_opinion import second_opinion
from kassa.workers.send_webhooks import RESULTS, send_webhooks
from kassa.workers.tell_operator import tell_operator
from kassa.workers.tick import tick

log = structlog.get_logger()

ROLES = ("api", "watch", "work")
EXIT_SECONDS = 10
"""Within this time after a signal the process is gone."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 60
CALM_SECONDS = 120
"""A loop that ran this long before it failed starts again after the first, short pause."""
CONNECTIONS = 20

Loop = Callable[[], Awaitable[None]]


def run(settings: Settings, roles: Sequence[str]) -> None:
    """Run some roles until SIGTERM or SIGINT; raises `KassaError` when they cannot start."""
    ended = tracing.start(settings.tracing.endpoint, ",".join(roles)) if settings.tracing.endpoint else None
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings, roles))
    finally:
        if ended is not None:
            ended()


async def _run(settings: Settings, roles: Sequence[str]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop_soon, stop)
    async with open_house(settings, migrating=set(roles) == set(ROLES)) as house:
        await serve(house, roles, stop)


def _stop_soon(stop: asyncio.Event) -> None:
    if not stop.is_set():
        log.info("stopping")
        stop.set()
        # A thread, not the loop's own timer: that one is over with the loop, and the interpreter then waits without end
        # for threads that look a name up at a mute server.
        end = threading.Timer(EXIT_SECONDS, os._exit, (1,))
        end.daemon = True
        end.start()


@asynccontextmanager
async def open_house(settings: Settings, *, migrating: bool = False) -> AsyncIterator[House]:
    """Build the house and tear it down.

    The embedded database is always migrated, another one only when `migrating`: elsewhere an operator decides when.
    Raises `SettingsError`, or `DatabaseError`.
    """
    chains = build_chains(settings)
    async with open_books(settings, migrating=migrating) as database:
        refuse_renamed(settings, await used_names(database.pool))
        former = await former_chains(settings, database)
        async with database.transaction() as tx:
            await assets.keep(tx, [asset for chain in (*former.values(), *chains.values()) for asset in chain.assets])
        clock = SystemClock()
        seal = await open_seal(settings, database, {**former, **chains})
        await _lock_secrets(settings, database, seal, clock.now())
        since = first_id("inv", await _sealed_since(settings, database, clock.now()))
        marks = await AddressMarks.start(database, settings.data_dir)
        try:
            limiter = Limiter(limits_of(settings.limits))
            asked = settings.limits.unpaid_addresses
            unpaid = UnpaidRuns(*unpaid_bounds(asked), links_only=asked is None)
            yield House(
                settings, database, chains, clock, marks, seal, former,
                limits=limiter, unpaid=unpaid, unsealed_before=since,
            )  # fmt: skip
        finally:
            await marks.close()


async def _sealed_since(settings: Settings, database: Database, now: datetime) -> datetime:
    if noted := await sealed_since(settings.data_dir, TERMS):
        return noted
    upgraded = await invoice_seals.is_unsealed_here(database.pool)
    return await note_sealed_since(settings.data_dir, TERMS, now, upgraded=upgraded)


async def _lock_secrets(settings: Settings, database: Database, seal: Seal, now: datetime) -> None:
    """Lock the secrets that an earlier version left; what is not locked once all were, somebody typed in."""
    since = await sealed_since(settings.data_dir, SECRETS)
    if since is not None and since <= now:
        return
    async with database.transaction() as tx:
        if locked := await flow.lock_secrets(tx, seal):
            log.info("secrets of authenticator apps locked", count=locked)
    if since is None:
        await note_sealed_since(settings.data_dir, SECRETS, now, upgraded=locked > 0)


async def open_seal(settings: Settings, database: Database, chains: Mapping[str, Chain]) -> Seal:
    """Read the key that seals addresses, or make it at first start; what was issued before there was one is sealed now.

    Raises `DatabaseError` when the key is not the one that sealed what the database holds, or nothing says that it is:
    whoever can write to the database could else have everything in it sealed by removing one row.
    """
    seal, made = await read_or_make(settings.data_dir, await seals.fingerprint(database.pool))
    async with database.transaction() as tx:
        if await seals.adopt_key(tx, seal):
            if not made and await seals.is_needed(tx):
                raise DatabaseError(
                    "the database does not say any more which key sealed its addresses, though"
                    f" {settings.data_dir / KEY_FILE} is there: somebody removed the row of seal_keys, or the database"
                    " is older than the key; compare every wallet's fingerprint, then run"
                    ' `kassa address-key renew --reason "…"`'
                )
            done = await seals.seal_all(tx, seal, partial(derived_text, chains))
            await invoice_seals.seal_all_anew(tx, None, seal)
            await people_seals.seal_all_anew(tx, None, seal)
            log.info("addresses sealed", addresses=done.addresses, left=done.left, key=seal.fingerprint.hex()[:8])
    # Another process may have made one at the same moment, elsewhere.
    seal, _ = await read_or_make(settings.data_dir, await seals.fingerprint(database.pool))
    return seal


def build_chains(settings: Settings) -> Mapping[str, Chain]:
    """Describe the chain of each configured network, by the network's name; raises `SettingsError`."""
    chains = {}
    for name, network in settings.networks.items():
        family = FAMILIES.get(network.family)
        if family is None:
            raise SettingsError(f"networks.{name}.family {network.family!r} is unknown; known: {', '.join(FAMILIES)}")
        chains[name] = family.chain(network.chain, name, network.tokens)
    return chains


def refuse_renamed(settings: Settings, used: Iterable[tuple[str, str]]) -> None:
    """Refuse a section under another name than its chain has in the database, as `used`; raises `SettingsError`."""
    # A counter of addresses, payments and deposit addresses belong to the name: under another one addresses that
    # customers hold would be issued again, and what is paid to them not be theirs.
    if found := renamed({name: network.chain for name, network in settings.networks.items()}, used):
        name, former = found
        raise SettingsError(
            f"[networks.{name}] is the chain whose wallets and addresses stand in the database under the name {former}:"
            f" call the section [networks.{former}] again, for addresses that customers hold would be issued twice"
        )


async def former_chains(settings: Settings, database: Database) -> Mapping[str, Chain]:
    """Describe the chains of networks that were followed once and are no longer in the settings, where known."""
    families = {chain: family for family in FAMILIES.values() for chain in family.chains}
    return {
        row.name: families[row.chain].chain(row.chain, row.name, ())
        for row in await network_rows(database.pool)
        if row.name not in settings.networks and row.chain in families
    }


@asynccontextmanager
async def open_books(
    settings: Settings, *, migrating: bool = False, connections: int = CONNECTIONS
) -> AsyncIterator[Database]:
    """Open the database of the settings, ready to be used; raises `DatabaseError`."""
    async with open_server(settings, connections) as database:
        embedded_one = settings.embedded
        async with database.pool.acquire() as connection:
            if embedded_one and (weak := await weak_settings(connection)):
                raise DatabaseError(f"the embedded database may lose commits: remove {', '.join(weak)}")
        await _prepare(database, migrating=migrating or embedded_one)
        yield database


@asynccontextmanager
async def open_server(settings: Settings, connections: int = CONNECTIONS) -> AsyncIterator[Database]:
    """Open the database as it is, starting the embedded server if that is meant; raises `DatabaseError`."""
    server = None
    if settings.embedded:
        server = await asyncio.to_thread(embedded.start, settings.data_dir)
    try:
        url = settings.database_url.reveal() if server is None else server.url
        database = await open_database(url, connections=connections)
        try:
            yield database
        finally:
            await database.close()
    finally:
        if server is not None:
            await asyncio.to_thread(server.close)


async def _prepare(database: Database, *, migrating: bool) -> None:
    async with database.pool.acquire() as connection:
        await refuse_half_restored(connection)
        if migrating:
            for name in await migrate(connection):
                log.info("migrated", migration=name)
        elif await missing(connection):
            raise DatabaseError("the database lacks this version's migrations: run `kassa migrate`")
        await database.lives.hold(connection)


async def serve(house: House, roles: Sequence[str], stop: asyncio.Event) -> None:
    """Run roles until `stop` is set, then let answers be finished and loops end their work or undo it whole."""
    try:
        async with asyncio.TaskGroup() as group:
            if "api" in roles:
                from kassa.web import serve_http  # noqa: PLC0415 half of what a process loads, for this role alone

                group.create_task(serve_http(house, stop))
            restored = group.create_task(_end_when_restored(house, stop))
            running = _loops(house, roles)
            measures.introduce(house.chains if "watch" in roles else (), running, TYPES, RESULTS.values())
            loops = [group.create_task(keep_running(name, loop)) for name, loop in running.items()]
            log.info("running", version=__version__, roles=",".join(roles), networks=",".join(house.chains))
            await stop.wait()
            # Beside the server, which waits for its answers: both have the same few seconds.
            for loop in (restored, *loops):
                loop.cancel()
    except ExceptionGroup as faults:
        raise _innermost(faults) from None
    if house.database.lives.over.is_set():
        raise DatabaseError(f"{house.database.lives.reason}: start it again, with what is there")
    log.info("stopped")


async def _end_when_restored(house: House, stop: asyncio.Event) -> None:
    await house.database.lives.over.wait()
    log.error(house.database.lives.reason)
    _stop_soon(stop)


def _innermost(fault: Exception) -> Exception:
    while isinstance(fault, ExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def _loops(house: House, roles: Iterable[str]) -> dict[str, Loop]:
    loops: dict[str, Loop] = {
        "serve_metrics": partial(serve_metrics, house, tuple(roles)),
        "look_at_disks": partial(look_at_disks, house),
    }
    if "api" in roles:
        loops["count_unpaid"] = partial(count_unpaid, house)
    if "watch" in roles:
        loops |= {f"follow_chain {name}": partial(follow_chain, house, name) for name in house.chains}
        loops |= {
            f"second_opinion {name}": partial(second_opinion, house, name)
            for name, network in house.settings.networks.items()
            if network.second_rpc_url is not None
        }
    if "work" in roles:
        loops |= {
            "tick": partial(tick, house),
            "check_addresses": partial(check_addresses, house),
            "keep_audit": partial(keep_audit, house),
            "prove_audit": partial(prove_audit, house),
            "keep_sums": partial(keep_sums, house),
            "send_webhooks": partial(send_webhooks, house),
        }
        loops |= {f"detect {each.name}": partial(detect, house, each) for each in DETECTORS}
        if house.settings.alerts.webhook_url is not None:
            loops["tell_operator"] = partial(tell_operator, house)
        if house.settings.rates.sources:
            loops["fetch_rates"] = partial(fetch_rates, house)
        if house.settings.books.reconcile_seconds:
            loops["reconcile"] = partial(reconcile, house)
    return loops


async def keep_running(name: str, loop: Loop) -> None:
    """Run an endless loop, and again after a growing pause (at most a minute) whenever it ends, until cancelled."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        started = monotonic()
        match await _end_of(loop):
            case None:
                log.error("a loop ended that should not", loop=name)
            case LeaseLost() as lost:
                log.info("stands by", loop=name, reason=str(lost))
            case KassaError() as fault:
                measures.LOOP_FAILURES.labels(name).inc()
                log.error("a loop failed and starts again", loop=name, reason=str(fault))
            case fault:
                # The one place that catches everything: a fault that nobody foresaw stops one loop for a moment.
                measures.LOOP_FAILURES.labels(name).inc()
                log.error("a loop failed and starts again", loop=name, exc_info=fault)
        if monotonic() - started > CALM_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def _end_of(loop: Loop) -> BaseException | None:
    """Run a loop to its end and return by what it ended. Only who cancels us ends it for good.

    In a task of its own: where several parts of nested groups fail in the same moment, CPython 3.11 may leave a
    cancellation behind that nobody asked for, and the loop would be over without a word.
    """
    running = asyncio.ensure_future(loop())
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # seen, and overtaken by the end
        raise
    return asyncio.CancelledError("by itself") if running.cancelled() else running.exception()
