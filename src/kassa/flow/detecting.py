"""The detectors: what each looks at, how often, and which kinds of alert it opens and closes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import kassa.alerts.detector_store as detectors
import kassa.alerts.disk_store as disks
import kassa.alerts.holdings_store as holdings
import kassa.alerts.record_store as records
import kassa.alerts.seen_store as seen
import kassa.alerts.service_seen_store as services
import kassa.alerts.store as alerts
import kassa.ledger.audit_store as audits
import kassa.rates.spread_store as spreads
import kassa.rates.store as rates
from kassa.alerts import chain_rules, disk_rules, money_rules, service_rules
from kassa.alerts.model import Finding, Kind
from kassa.alerts.seen import Beat
from kassa.db.pool import Tx
from kassa.flow.alerting import on_findings
from kassa.flow.opinions import opinion_detector
from kassa.flow.pricing import policy
from kassa.flow.spreads import measure_spreads
from kassa.house import House
from kassa.rates.model import AlarmKind
from kassa.settings import Settings
from kassa.wallets.rules import unpaid_bounds

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
_WATCH = "watch"
_OF_RATES = tuple(dict.fromkeys(service_rules.alert_of(kind)[0] for kind in AlarmKind))
ADDRESSES, AUDIT_LOG, WHOLE_AUDIT_LOG = "addresses", "audit_log", "whole_audit_log"
DEADLINES, RATE_SOURCES = "deadlines", "rate_sources"
ROUNDS = {ADDRESSES: 600, AUDIT_LOG: 10, WHOLE_AUDIT_LOG: 3_600, DEADLINES: 30}
"""Other loops whose silence nobody would notice: the names under which they note their rounds, with the seconds from
one to the next.
"""


@dataclass(frozen=True, slots=True)
class Detector:
    """Looks every so many seconds, and answers for some kinds of alert: what it does not find of them is over.

    A `patient` one judges other loops of ours: a process that has just started first does what was left undone.
    """

    name: str
    every_seconds: int
    kinds: tuple[Kind, ...]
    look: Callable[[Tx, House, datetime], Awaitable[list[Finding]]]
    patient: bool = False


async def detect(tx: Tx, house: House, detector: Detector, now: datetime) -> None:
    """Let a detector look once and do what follows; doing it again changes nothing."""
    findings = await detector.look(tx, house, now)
    await on_findings(tx, house, detector.kinds, findings, now)
    await detectors.end(tx, detector.name, detector.every_seconds, len(findings), now)


async def note_round(tx: Tx, house: House, name: str, now: datetime) -> None:
    """Note that one of `ROUNDS`, or a question to the sources of rates, came to its end."""
    await detectors.end(tx, name, _rounds(house.settings)[name], 0, now)


def expected(settings: Settings) -> dict[str, int]:
    """Return the detectors that must be running somewhere, each with the seconds from look to look."""
    second = {
        opinion_detector(name): network.poll_seconds
        for name, network in settings.networks.items()
        if network.second_rpc_url is not None
    }
    return {each.name: each.every_seconds for each in DETECTORS} | _rounds(settings) | second


def _rounds(settings: Settings) -> dict[str, int]:
    return ROUNDS | ({RATE_SOURCES: settings.rates.fetch_seconds} if settings.rates.sources else {})


async def _nodes(tx: Tx, house: House, now: datetime) -> list[Finding]:
    return chain_rules.on_nodes(await seen.followed(tx), list(house.chains), now)


async def _shown(tx: Tx, house: House, now: datetime) -> list[Finding]:
    final = {name for name, network in house.settings.networks.items() if network.finality != "blocks"}
    every = {name: network.poll_seconds for name, network in house.settings.networks.items()}
    return chain_rules.on_shown(await seen.nodes(tx), final, every, now)


async def _reorganisations(tx: Tx, house: House, now: datetime) -> list[Finding]:
    block_seconds = {name: chain.block_seconds for name, chain in house.chains.items()}
    return chain_rules.on_reorganisations(await seen.reorganised(tx, now - DAY), _tiers(house), block_seconds)


async def _reversed(tx: Tx, _house: House, _now: datetime) -> list[Finding]:
    return money_rules.on_reversed(*await seen.reversed_payments(tx, money_rules.MOST_SINGLY))


async def _overtaken(tx: Tx, house: House, now: datetime) -> list[Finding]:
    strictest = {network: max(blocks, default=1) for network, blocks in _tiers(house).items()}
    blocks = {name: DAY // timedelta(seconds=chain.block_seconds) for name, chain in house.chains.items()}
    return money_rules.on_overtaken(await seen.overtaken(tx, now - DAY, blocks), strictest)


async def _dust(tx: Tx, _house: House, now: datetime) -> list[Finding]:
    return money_rules.on_dust(await seen.dust(tx, now - HOUR), await seen.empty_transfers(tx, now - HOUR))


async def _unowned(tx: Tx, _house: House, now: datetime) -> list[Finding]:
    return money_rules.on_unowned(await seen.unowned(tx, now - HOUR))


async def _volumes(tx: Tx, _house: House, now: datetime) -> list[Finding]:
    return money_rules.on_volumes(await seen.volumes(tx, now))


async def _held(tx: Tx, _house: House, _now: datetime) -> list[Finding]:
    return [*money_rules.on_held(await holdings.held(tx)), *money_rules.on_debits(await seen.in_debit(tx))]


async def _credits(tx: Tx, _house: House, now: datetime) -> list[Finding]:
    return money_rules.on_credits(await holdings.credited(tx, now - HOUR))


async def _orders(tx: Tx, _house: House, now: datetime) -> list[Finding]:
    return service_rules.on_orders(await services.ordered(tx, now))


async def _records(tx: Tx, _house: House, _now: datetime) -> list[Finding]:
    return service_rules.on_unrecorded(await records.unrecorded(tx))


async def _runs(tx: Tx, house: House, _now: datetime) -> list[Finding]:
    asked = house.settings.limits.unpaid_addresses
    modes = unpaid_bounds(asked or 0)  # unless asked for, a store's own orders are bounded nowhere
    # A network is its stores' mode: live ones have their wallets on live networks alone.
    bounds = {name: modes[chain.livemode] for name, chain in house.chains.items()}
    return service_rules.on_runs(await services.unpaid_runs(tx), bounds)


async def _rates(tx: Tx, house: House, _now: datetime) -> list[Finding]:
    alarms = await rates.open_alarms(tx, house.settings.rates.sources)
    assets = [asset for chain in house.chains.values() for asset in chain.assets]
    return service_rules.on_rates((each.alarm for each in alarms), assets)


async def _spreads(tx: Tx, house: House, now: datetime) -> list[Finding]:
    await measure_spreads(tx, house, now)
    return money_rules.on_drifts(await spreads.drifts(tx, now - DAY), policy(house.settings))


async def _queues(tx: Tx, _house: House, now: datetime) -> list[Finding]:
    waiting = await services.queues(tx, now - service_rules.WAITS_AFTER)
    return service_rules.on_queues(waiting, await services.sending(tx, now), now)


async def _disks(tx: Tx, _house: House, _now: datetime) -> list[Finding]:
    open_, muted = await alerts.standing(tx, (Kind.DISK_FILLS,))
    known = {each.finding.subject: each.finding.severity for each in (*muted, *open_)}
    return disk_rules.on_disks(await disks.told(tx), await disks.last_backup(tx), known)


async def _watch(tx: Tx, house: House, now: datetime) -> list[Finding]:
    await detectors.pull_back(tx, now)
    await audits.pull_back(tx, now)
    beats, compared = await detectors.beats(tx), await services.compared(tx)
    mine = [each for each in compared if each.network in house.chains]
    every = house.settings.books.reconcile_seconds
    return service_rules.on_watch(expected(house.settings), beats | _just_now(now), mine, every, now)


def _just_now(now: datetime) -> dict[str, Beat]:
    # Who looks whether all look is looking: its own last run is this one.
    return {_WATCH: Beat(_WATCH, now, None, now, None)}


def _tiers(house: House) -> dict[str, list[int]]:
    return {name: [tier.blocks for tier in network.confirmations] for name, network in house.settings.networks.items()}


DETECTORS = (
    Detector(
        "nodes",
        10,
        (Kind.NODE_STALLED, Kind.NODE_UNREACHABLE, Kind.NODE_REFUSED, Kind.NODE_SYNCING, Kind.NOT_FOLLOWED),
        _nodes,
        patient=True,
    ),
    Detector(
        "node_abilities", 30, (Kind.FINALITY_STALLED, Kind.NODE_SHOWS_LESS, Kind.NODE_CLOCK, Kind.NODE_WARNS), _shown
    ),
    Detector("reorganisations", 10, (Kind.DEEP_REORGANISATION,), _reorganisations),
    Detector("reversals", 10, (Kind.SETTLED_REVERSED,), _reversed),
    Detector("double_spends", 30, (Kind.DOUBLE_SPENDS, Kind.DOUBLE_SPENDING_PAYER), _overtaken),
    Detector("dust", 60, (Kind.DUST_FLOOD, Kind.EMPTY_TRANSFERS), _dust),
    Detector("unowned_money", 60, (Kind.MONEY_UNOWNED,), _unowned),
    Detector("volumes", 300, (Kind.AMOUNT_UNUSUAL, Kind.PAYMENTS_UNUSUAL), _volumes),
    Detector("solvency", 60, (Kind.BOOKS_INSOLVENT, Kind.CUSTOMER_IN_DEBIT), _held),
    Detector("credits", 60, (Kind.CREDIT_UNUSUAL,), _credits),
    Detector("records", 60, (Kind.UNRECORDED,), _records),
    Detector("orders", 60, (Kind.INVOICES_UNPAID,), _orders),
    Detector("unpaid_runs", 300, (Kind.ADDRESSES_UNPAID,), _runs),
    Detector("rates", 10, _OF_RATES, _rates),
    Detector("spreads", 30, (Kind.RATE_DRIFTED,), _spreads),
    Detector("queues", 30, (Kind.RECEIVER_FAILING, Kind.DELIVERIES_GIVEN_UP, Kind.NOBODY_SENDS), _queues, patient=True),
    Detector("disks", 30, (Kind.DISK_FILLS,), _disks),
    Detector(_WATCH, 30, (Kind.DETECTOR_SILENT, Kind.BOOKS_UNCOMPARED), _watch),
)
