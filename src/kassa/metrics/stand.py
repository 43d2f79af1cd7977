"""How things stand: read from the database when Prometheus asks, kept for some seconds, shown as gauges."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import inf
from time import monotonic
from typing import Any

import asyncpg
import structlog
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

import kassa.rates.spread_store as spreads
import kassa.rates.store as rates
from kassa import __version__, flow
from kassa.alerts.model import RESTRAINTS, Severity
from kassa.core.disks import rooms
from kassa.db.faults import DATABASE_AWAY
from kassa.house import House
from kassa.metrics import store
from kassa.rates.model import AlarmKind, Pair, Quote
from kassa.rates.spreads import PPM, Drift
from kassa.watch.rules import INTERNAL

log = structlog.get_logger()

KEPT_SECONDS = 5.0
LOOK_SECONDS = 5
DRIFT = timedelta(hours=1)
STATES = ("ok", "syncing", "stalled", "halted", "unreachable")
STATUSES = ("new", "processing", "expired", "settled", "invalid")

Family = GaugeMetricFamily | CounterMetricFamily


class Stand(Collector):
    """The gauges of the database. What was read is replaced as a whole, so that nothing outlives what it describes."""

    def __init__(self, house: House, roles: Sequence[str]) -> None:
        self._house = house
        self._proven = [name for name, chain in house.chains.items() if chain.auditor is not None]
        self._own = [_one("kassa_build_info", "This program.", 1, {"version": __version__, "roles": ",".join(roles)})]
        self._families: list[Family] = []
        self._asked = float("-inf")
        self._reading = asyncio.Lock()

    def collect(self) -> Iterable[Metric]:
        """Return the families of the last look; called by prometheus_client."""
        return [*self._own, *self._families, *_pool(self._house), _disks(self._house)]

    async def refresh(self) -> None:
        """Look again if the last look is some seconds old; without an answer, `kassa_db_up 0` is all there is."""
        async with self._reading:
            if monotonic() - self._asked < KEPT_SECONDS:
                return
            began = monotonic()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    found = await self._look()
            except (*DATABASE_AWAY, asyncpg.PostgresError) as fault:
                log.warning("metrics: the database did not answer", fault=type(fault).__name__)
                found = [_one("kassa_db_up", _UP, 0)]
            else:
                found += [
                    _one("kassa_db_up", _UP, 1),
                    _one("kassa_metrics_look_seconds", "How long this look took.", monotonic() - began),
                ]
            self._families = found
            self._asked = monotonic()

    async def _look(self) -> list[Family]:
        async with self._house.database.pool.acquire() as connection:
            found = [
                *_networks(await store.networks(connection, list(self._house.chains))),
                *_invoices(await store.invoices(connection)),
                *_payments(await store.payments(connection)),
                *_outbox(await store.outbox(connection), await store.deliveries(connection)),
                _restraints(await store.restraints(connection), list(self._house.chains)),
                *_faults(await store.faults(connection)),
                *_compared(await store.reconciled(connection, self._proven), self._proven, self._house),
                _backup(await store.backup_age(connection)),
                *_open_alerts(await store.alerts(connection)),
            ]
            now, demanded = self._house.clock.now(), self._house.settings.rates
            wanted = await flow.wanted_markets(connection, self._house)
            quotes = await rates.newest(connection, wanted, demanded.sources, now)
            alarms = await rates.open_alarms(connection, demanded.sources)
            return [
                *found,
                *_rates(quotes, now, demanded.max_age_seconds),
                _alarms([each.alarm.kind for each in alarms]),
                _drifts(await spreads.drifts(connection, now - DRIFT)),
            ]


_UP = "Whether the database answered."


def _networks(rows: Sequence[Any]) -> list[Family]:  # asyncpg's records, here and below
    by = {
        "kassa_network_height_blocks": ("Height of the last block that we followed.", "height"),
        "kassa_network_node_height_blocks": ("Height of the best header that the node told of.", "node_height"),
        "kassa_network_lag_blocks": ("Blocks that the node has and we have not followed.", "lag"),
        "kassa_network_lag_seconds": ("Since when not everything the node had has been seen.", "behind"),
        "kassa_network_tip_age_seconds": ("Age of the node's last block, by its own time.", "tip_age"),
        "kassa_network_silence_seconds": ("Since the node last answered.", "silence"),
        "kassa_network_final_height_blocks": ("Height up to which the network calls its blocks final.", "final_height"),
        "kassa_network_final_age_seconds": (
            "How long blocks came since that height rose, by the last's time.",
            "final_age",
        ),
        "kassa_network_node_clock_skew_seconds": ("How far the node's clock is ahead of ours.", "skew"),
        "kassa_network_followed": ("Whether a process holds the network's lease.", "followed"),
        "kassa_network_undone_blocks": ("Blocks undone by the deepest reorganisation of the last hour.", "undone"),
    }
    found: list[Family] = [
        _gauge(name, text, ["network"], {(row["id"],): row[column] for row in rows if row[column] is not None})
        for name, (text, column) in by.items()
    ]
    states = {(row["id"], state): row["state"] == state for row in rows for state in STATES}
    shown = {(row["id"], way): row["internal"] == way for row in rows if row["internal"] for way in INTERNAL}
    return [
        *found,
        _gauge("kassa_network_internal", "1 for how the node shows internal transfers.", ["network", "way"], shown),
        _gauge("kassa_network_state", "1 for the state that the network is in.", ["network", "state"], states),
    ]


def _invoices(rows: Sequence[Any]) -> list[Family]:
    numbers = dict.fromkeys(((status,) for status in STATUSES[:2]), 0) | {(r["status"],): r["number"] for r in rows}
    late = max((row["overdue"] or 0 for row in rows), default=0)
    return [
        _gauge("kassa_invoices_open", "Invoices whose standing may still change by itself.", ["status"], numbers),
        _one(
            "kassa_invoices_overdue_seconds", "Since when the first deadline is over and not dealt with.", max(late, 0)
        ),
    ]


def _payments(rows: Sequence[Any]) -> list[Family]:
    labels = ["network", "status"]
    return [
        _gauge(name, text, labels, {(row["network"], row["status"]): row[column] for row in rows})
        for name, text, column in (
            ("kassa_payments_waiting", "Payments that wait for blocks.", "number"),
            ("kassa_payments_waiting_oldest_seconds", "Age of the oldest of them.", "age"),
        )
    ]


def _outbox(events: Any, waiting: Any) -> list[Family]:
    states = {(state,): waiting[state] for state in ("due", "later", "held")}
    text = "Deliveries to be made: due now, later (after a failed attempt), or held for a disabled endpoint."
    return [
        _one("kassa_events_unpublished", "Events that have no place in the history yet.", events["number"]),
        _one("kassa_events_unpublished_oldest_seconds", "Age of the oldest of them.", events["age"]),
        _gauge("kassa_deliveries_waiting", text, ["state"], states),
        _one("kassa_deliveries_overdue_seconds", "Since when the first due delivery is due.", waiting["overdue"]),
    ]


def _restraints(rows: Sequence[Any], networks: Sequence[str]) -> Family:
    none = {(deed.value, network): 0 for deed in sorted(RESTRAINTS) for network in networks}
    numbers = none | {(row["kind"], row["network"]): row["number"] for row in rows}
    text = "What Kassa holds back by itself while an alert is open."
    return _gauge("kassa_restraints_open", text, ["kind", "network"], numbers)


def _compared(rows: Sequence[Any], networks: Sequence[str], house: House) -> list[Family]:
    ages = {(name,): inf for name in networks} | {(r["network"],): r["age"] for r in rows if r["age"] is not None}
    text = "Since the books were compared with the node; infinite before the first time."
    return [
        _gauge("kassa_reconciliation_age_seconds", text, ["network"], ages),
        _one(
            "kassa_reconciliation_every_seconds",
            "How often they are to be (0: only by hand).",
            house.settings.books.reconcile_seconds,
        ),
    ]


def _faults(row: Any) -> list[Family]:
    deadlocks = CounterMetricFamily("kassa_db_deadlocks", "Deadlocks that the database ended.", row["deadlocks"])
    return [
        _one("kassa_ledger_differences_open", "Where the books are not what a node shows.", row["differences"]),
        _one(
            "kassa_address_faults",
            "Invoices, customers and wallets of open alerts whose addresses are not as they were issued.",
            row["addresses"],
        ),
        _one("kassa_assets_frozen", "Assets in doubt, which are not offered.", row["frozen"]),
        _one("kassa_db_longest_transaction_seconds", "Age of the oldest transaction.", row["longest"]),
        deadlocks,
    ]


def _open_alerts(rows: Sequence[Any]) -> list[Family]:
    numbers = {(row["kind"], row["severity"]): row["number"] for row in rows}
    of_severity = {(each.value,): sum(n for (_, had), n in numbers.items() if had == each) for each in Severity}
    return [
        _gauge("kassa_alerts_open", "Alerts that Kassa opened and nobody closed.", ["kind", "severity"], numbers),
        _gauge("kassa_alerts", "The same of each severity, and zero where there is none.", ["severity"], of_severity),
    ]


def _backup(age: float | None) -> Family:
    told = inf if age is None else age
    return _gauge("kassa_backup_age_seconds", "Since a backup was made; infinite before the first.", [], {(): told})


def _rates(quotes: Mapping[Pair, Sequence[Quote]], now: datetime, max_age_seconds: int) -> list[Family]:
    since = now - timedelta(seconds=max_age_seconds)
    fresh = {str(pair): [each.price for each in said if each.at >= since] for pair, said in quotes.items()}
    ages = {(str(pair),): (now - max(q.at for q in said)).total_seconds() for pair, said in quotes.items() if said}
    spreads = {(pair,): float(max(prices) / min(prices) - 1) for pair, prices in fresh.items() if prices}
    numbers = {(pair,): len(prices) for pair, prices in fresh.items()} if any(quotes.values()) else {}
    text = "Highest less lowest of the fresh quotes, as a share of the lowest."
    return [
        _gauge("kassa_rate_age_seconds", "Age of the newest quote.", ["pair"], ages),
        _gauge("kassa_rate_sources", "Sources with a fresh quote.", ["pair"], numbers),
        _gauge("kassa_rate_spread_ratio", text, ["pair"], spreads),
    ]


def _drifts(seen: Sequence[Drift]) -> Family:
    far: dict[tuple[str], float] = {}
    for each in seen:
        pair, drift = (f"{each.base}/{each.quote}",), (each.realised - each.intended) / PPM
        far[pair] = max(far.get(pair, 0.0), drift, key=abs)
    text = "How far rates were below the market when payers paid of late, beyond the spread; the farthest store."
    return _gauge("kassa_rate_realised_drift_ratio", text, ["pair"], far)


def _alarms(kinds: Sequence[AlarmKind]) -> Family:
    numbers = {(kind.value,): kinds.count(kind) for kind in AlarmKind}
    return _gauge("kassa_rate_alarms_open", "Alarms about sources and rates.", ["kind"], numbers)


def _pool(house: House) -> list[Family]:
    pool = house.database.pool
    size, idle = pool.get_size(), pool.get_idle_size()
    states = {("used",): size - idle, ("idle",): idle, ("most",): pool.get_max_size()}
    return [
        _gauge(
            "kassa_db_connections", "Connections of this process's pool, and how many it may open.", ["state"], states
        )
    ]


def _disks(house: House) -> Family:
    free = {(str(each.folder),): each.free_bytes for each in rooms(house.settings.folders)}
    text = "What this process may still write on the volumes of data_dir and of an embedded database."
    return _gauge("kassa_disk_free_bytes", text, ["folder"], free)


def _gauge(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> Family:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def _one(name: str, text: str, value: float, labels: Mapping[str, str] | None = None) -> Family:
    labels = labels or {}
    return _gauge(name, text, list(labels), {tuple(labels.values()): value})
