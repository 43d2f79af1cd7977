"""`kassa doctor`: looks at everything this installation leans on, and says what to do about what it finds."""

import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.text import Text

import kassa.alerts.detector_store as detectors
import kassa.alerts.service_seen_store as services
import kassa.alerts.store as alerts
import kassa.rates.store as rates
import kassa.wallets.store as wallets
from kassa import flow
from kassa.alerts.model import Kind
from kassa.alerts.service_rules import WAITS_AFTER, silent
from kassa.audit.anchor import prove, read_anchor
from kassa.audit.model import Break
from kassa.core.clock import SystemClock, rfc3339
from kassa.core.disks import LEAST_FREE, LITTLE_FREE, Room, rooms, said
from kassa.core.errors import DatabaseError, SettingsError
from kassa.core.money import format_rate
from kassa.db.migrate import missing, newer
from kassa.db.pool import Database
from kassa.db.server import weak_settings
from kassa.doctor.egress import look_outside
from kassa.doctor.finding import Finding, Verdict, skew
from kassa.doctor.nodes import look_at_network
from kassa.limits.rules import MOST_ISSUED
from kassa.main import build_chains, open_server, refuse_renamed
from kassa.metrics.store import backup_age
from kassa.privacy import exposures
from kassa.rates.model import AlarmKind, NoRate
from kassa.settings import Alerts, Http, Settings
from kassa.wallets import gap_store
from kassa.wallets.mark import mark_name, read_marks
from kassa.wallets.rules import USUAL_GAP, gap_advised, unpaid_bounds
from kassa.wallets.run_store import live_keychains
from kassa.watch import contract_store, node_store
from kassa.watch.keys import MOST_OPEN, WatchedKeys
from kassa.watch.store import awaited, behind_since, given_up, network_rows, used_names

_LATE_BACKUP, _OLD_BACKUP = timedelta(hours=26), timedelta(days=7)
_NAMED = 5


async def examine(settings: Settings, file: Path | None = None, role: str = "up") -> list[Finding]:
    """Look at what a role leans on (`up`: on everything), and at what it can reach; never raises for what it finds."""
    findings = [
        *map(_disk, rooms(settings.folders)),
        *_proxy(settings.http),
        _operator(settings.alerts),
        *_files(settings, file),
    ]
    findings += await look_outside(role)
    heights: dict[str, int | None] = {}
    try:
        async with open_server(settings) as database:
            findings += await _database(database, settings)
            findings += await _follow_up(database, settings)
            findings += await _rates(database, settings)
            findings += await _watchers(database, settings)
            findings += await _crowds(database)
            heights = {row.name: row.height for row in await network_rows(database.pool)}
    except DatabaseError as fault:
        findings.append(Finding("database", Verdict.FAIL, str(fault), "start it, or correct database_url"))
    try:
        chains = build_chains(settings)
    except SettingsError as fault:
        return [*findings, Finding("networks", Verdict.FAIL, str(fault), "correct the settings")]
    if not chains:
        findings.append(Finding("networks", Verdict.WARN, "none is configured", "add a section [networks.…]"))
    asked = {} if role == "api" else chains  # which asks no node
    looks = [look_at_network(settings.networks[name], chain, heights.get(name)) for name, chain in asked.items()]
    for found in await asyncio.gather(*looks):
        findings += found
    return findings


def is_ill(findings: Sequence[Finding]) -> bool:
    """Tell whether anything is broken."""
    return any(finding.verdict is Verdict.FAIL for finding in findings)


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print a line for each finding, or one JSON document."""
    if as_json:
        print(json.dumps({"ok": not is_ill(findings), "findings": [asdict(finding) for finding in findings]}))
        return
    console = Console(highlight=False, soft_wrap=True)
    colours = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}
    for finding in findings:
        line = Text(f"{finding.verdict:5}", style=colours[finding.verdict])
        console.print(line.append(f"{finding.check}: {finding.detail}", style="default"))
        if finding.remedy and finding.verdict is not Verdict.OK:
            console.print(Text(f"     → {finding.remedy}"))


def _disk(room: Room) -> Finding:
    detail = f"{said(room.free_bytes, room.size_bytes)} under {room.folder}"
    try:
        with tempfile.TemporaryFile(dir=room.folder) as tried:
            tried.write(bytes(1))
    except PermissionError:
        pass  # another user's: said where that keeps something from being done
    except OSError as fault:
        remedy = "see dmesg; make room, or mend the volume and mount it for writing: no order is taken meanwhile"
        return Finding("disk", Verdict.FAIL, f"{detail}, but nothing can be written: {fault.strerror}", remedy)
    if room.free_bytes < LEAST_FREE:
        return Finding("disk", Verdict.FAIL, detail, "make room: on a full volume no order is taken any more")
    return Finding("disk", Verdict.WARN if room.free_bytes < LITTLE_FREE else Verdict.OK, detail, "make room soon")


def _proxy(http: Http) -> list[Finding]:
    if http.trusted_proxies or not http.public_url.startswith("https:"):
        return []
    detail = "public_url is https, which a proxy before Kassa speaks, and http.trusted_proxies names none"
    remedy = (
        "name its address there: until then all callers look like it: limits cannot tell them apart, and an API key"
        " that is bound to networks is refused to everybody, or taken from everybody where the proxy is in one of them"
    )
    return [Finding("proxy", Verdict.WARN, detail, remedy)]


def _operator(told: Alerts) -> Finding:
    if told.webhook_url is not None:
        return Finding("operator", Verdict.OK, "alerts are sent to alerts.webhook_url")
    detail = "alerts that concern no store reach nobody by themselves: alerts.webhook_url is not set"
    remedy = "set it, or have Prometheus page somebody by ops/alerts.yml"
    return Finding("operator", Verdict.WARN, detail, remedy)


def _files(settings: Settings, file: Path | None) -> list[Finding]:
    found = [
        Finding("files", Verdict.FAIL if each.refused else Verdict.WARN, f"{each.path}: {each.words}", each.remedy)
        for each in exposures(settings, file)
    ]
    return found or [Finding("files", Verdict.OK, "settings and keys are open to nobody else")]


async def _database(database: Database, settings: Settings) -> list[Finding]:
    async with database.pool.acquire() as connection:
        version = await connection.fetchval("show server_version")
        findings = [Finding("database", Verdict.OK, f"PostgreSQL {version} answers")]
        if weak := await weak_settings(connection):
            remedy = "set them on: a crash of the machine may lose what was committed"
            findings.append(Finding("database durability", Verdict.FAIL, ", ".join(weak), remedy))
        else:
            findings.append(Finding("database durability", Verdict.OK, "commits survive a crash of the machine"))
        findings.append(skew("database clock", await connection.fetchval("select clock_timestamp()")))
        if absent := await missing(connection):
            detail = f"{len(absent)} migrations are missing"
            return [*findings, Finding("migrations", Verdict.FAIL, detail, "run `kassa migrate`")]
        findings += [await _version(connection, settings), await _backup(connection), *await _restored(connection)]
        findings += await _receivers(connection)
    findings += [*await _counters(database, settings), *await _gaps(database, settings)]
    quota = await _quota(database, settings.limits.addresses_per_store)
    return [*findings, *quota, await _addresses(database), await _audit(database, settings)]


async def _version(connection: Any, settings: Settings) -> Finding:  # a connection
    if unknown := await newer(connection):
        detail = f"a newer Kassa migrated the database ({unknown[-1]})"
        remedy = "run that version: this one starts only where it need not migrate itself, for as long as you upgrade"
        return Finding("migrations", Verdict.FAIL if settings.embedded else Verdict.WARN, detail, remedy)
    return Finding("migrations", Verdict.OK, "the database is of this version")


async def _backup(connection: Any) -> Finding:  # a connection
    seconds = await backup_age(connection)
    remedy = "make one: `kassa backup --to FOLDER`; see docs/operations.md, “Backups”"
    if seconds is None:
        return Finding("backup", Verdict.WARN, "none was ever made", remedy)
    age = timedelta(seconds=seconds)
    detail = f"the last was made {age.days} days and {age.seconds // 3600} hours ago"
    verdict = Verdict.FAIL if age > _OLD_BACKUP else Verdict.WARN if age > _LATE_BACKUP else Verdict.OK
    return Finding("backup", verdict, detail, remedy)


async def _receivers(connection: Any) -> list[Finding]:  # a connection
    """Name the receivers for whom something has waited so long that an alert would tell of it."""
    now = SystemClock().now()
    return [
        Finding(
            f"receiver {each.webhook_id or 'webhook_url'} of {each.store_id}",
            Verdict.WARN,
            f"{each.waiting} deliveries wait since {rfc3339(each.oldest_at)}, after up to {each.attempts} attempts",
            f"start it, or correct its URL; `kassa webhook list --store {each.store_id}` names it",
        )
        for each in (await services.queues(connection, now - WAITS_AFTER))[:_NAMED]
    ]


async def _restored(connection: Any) -> list[Finding]:  # a connection
    restored_at = await behind_since(connection)
    if restored_at is None:
        return []
    waiting = ", ".join(await awaited(connection, restored_at)) or "none (it is noted within ten minutes)"
    detail = f"what is sent is still marked webhook-restored; networks not seen whole since: {waiting}"
    return [
        Finding(
            "restore", Verdict.WARN, detail, "follow each; of one that is no more say `kassa network give-up NETWORK`"
        )
    ]


async def _audit(database: Database, settings: Settings) -> Finding:
    try:
        found = await prove(database.pool, settings.data_dir)
        anchor = read_anchor(settings.data_dir)
    except DatabaseError as fault:
        return Finding("audit log", Verdict.FAIL, str(fault), "see the message")
    if isinstance(found, Break):
        return Finding("audit log", Verdict.FAIL, found.words, "see docs/audit.md: a restored backup, or an intruder")
    if found.number and not anchor.number:
        detail = f"{found.number} acts, whole; but no anchor is here, so a cut end would not be noticed"
        remedy = "normal where `kassa work` does not run; else compare with a head: `kassa audit verify --head HEAD`"
        return Finding("audit log", Verdict.WARN, detail, remedy)
    return Finding("audit log", Verdict.OK, f"{found.number} acts, whole")


async def _counters(database: Database, settings: Settings) -> list[Finding]:
    try:
        marks = read_marks(settings.data_dir)
    except DatabaseError as fault:
        return [Finding("address counters", Verdict.FAIL, str(fault), "see the message")]
    keychains = await wallets.keychains(database.pool)
    unmarked = [k.id for k in keychains if k.next_index > 0 and mark_name(k) not in marks]
    if unmarked:
        detail = f"{len(unmarked)} of {len(keychains)} wallets have no mark in {settings.data_dir}"
        remedy = "normal on a machine that issues no invoices; else restore address-marks.json beside the database"
        return [Finding("address counters", Verdict.WARN, detail, remedy)]
    detail = f"of {len(keychains)} wallet{'s' * (len(keychains) != 1)}; one below its mark jumps at start"
    return [Finding("address counters", Verdict.OK, detail)]


async def _gaps(database: Database, settings: Settings) -> list[Finding]:
    findings = []
    bounds = unpaid_bounds(settings.limits.unpaid_addresses)
    live = await live_keychains(database.pool)
    for keychain in await wallets.keychains(database.pool):
        gap = await gap_store.gap_of(database.pool, keychain.id)
        advised = gap_advised(gap.limit, bounds[keychain.id in live])
        if advised > USUAL_GAP:
            verdict = Verdict.WARN if gap.limit > USUAL_GAP else Verdict.OK
            detail = f"a gap limit of {gap.limit} is needed to see every coin now, and {advised} for what may come"
            remedy = f"set {advised} in your own wallet; with the usual {USUAL_GAP} it may not show all that you own"
            findings.append(Finding(f"{keychain.space} wallet {keychain.fingerprint}", verdict, detail, remedy))
    return findings


async def _quota(database: Database, asked: int | None) -> list[Finding]:
    if not await live_keychains(database.pool):
        return []
    most = MOST_ISSUED if asked is None else asked
    detail = f"a live store takes {most:,} addresses an hour at most" if most else "a leaked key may take any number"
    remedy = (
        "set limits.addresses_per_store to several times your best hour: beyond its gap limit a wallet sees nothing"
    )
    return [Finding("address quota", Verdict.OK if most else Verdict.WARN, detail, remedy)]


async def _addresses(database: Database) -> Finding:
    reasons = await alerts.open_reasons(database.pool, Kind.ADDRESS_MISMATCH)
    if not reasons:
        return Finding("addresses", Verdict.OK, "every one that was checked is as it was issued")
    more = f"; and {len(reasons) - 3} alerts more" if len(reasons) > 3 else ""
    detail = "; ".join(reasons[:3]) + more
    remedy = "find out who changed the database, mend the row, and close the alert; until then it is shown to nobody"
    return Finding("addresses", Verdict.FAIL, detail, remedy)


async def _follow_up(database: Database, settings: Settings) -> list[Finding]:
    try:
        rows, used = await network_rows(database.pool), await used_names(database.pool)
        gone = await given_up(database.pool)
    except asyncpg.UndefinedTableError:
        return []
    findings = []
    try:
        refuse_renamed(settings, used)
    except SettingsError as fault:
        findings.append(Finding("networks", Verdict.FAIL, str(fault), "correct the settings"))
    for row in rows:
        if row.name not in settings.networks and not row.followed:
            verdict, detail = Verdict.WARN, "no process follows it, and it is not in the settings"
            remedy = f"put its section back; of one that is no more say `kassa network give-up {row.name}`"
            if row.name in gone:
                verdict, detail = Verdict.OK, "given up: not in the settings, and nobody waits for it"
            findings.append(Finding(f"{row.name} follower", verdict, detail, remedy))
        elif row.held:
            detail = "Kassa lets nothing settle on it; see `kassa alert list`"
            remedy = 'find out why; then `kassa alert close alt_… --undo --note "…"`'
            findings.append(Finding(f"{row.name} follower", Verdict.FAIL, detail, remedy))
        elif row.state == "halted":
            remedy = f"find out why; then `kassa network resume {row.name} --depth N`"
            findings.append(Finding(f"{row.name} follower", Verdict.FAIL, f"halted: {row.detail}", remedy))
        elif not row.followed:
            findings.append(Finding(f"{row.name} follower", Verdict.WARN, "no process follows it", "run `kassa watch`"))
        elif row.state in ("stalled", "unreachable"):
            remedy = "mend the node (docs/operations.md, “KassaNetworkNotSeen”): nobody is asked to pay there meanwhile"
            findings.append(Finding(f"{row.name} follower", Verdict.FAIL, f"{row.state}: {row.detail}", remedy))
        else:
            findings.append(Finding(f"{row.name} follower", Verdict.OK, f"{row.state}, at height {row.height}"))
    for asset, reason in await contract_store.frozen(database.pool):
        remedy = f"look at its contract; then `kassa asset thaw {asset}` accepts it as it is"
        findings.append(Finding(asset, Verdict.FAIL, f"frozen: {reason}", remedy))
    return findings


async def _watchers(database: Database, settings: Settings) -> list[Finding]:
    pool, now = database.pool, SystemClock().now()
    try:
        quiet = silent(flow.expected(settings), await detectors.beats(pool), now)
        counts = await alerts.open_counts(pool)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        return []  # said elsewhere
    detail = f"{', '.join(quiet)} did not look of late" if quiet else "every one has looked of late"
    found = [Finding("detectors", Verdict.FAIL if quiet else Verdict.OK, detail, "run `kassa work`, and see its log")]
    told = ", ".join(f"{count} {severity}" for severity, count in sorted(counts.items())) or "none"
    verdict = Verdict.FAIL if counts.get("critical") else Verdict.WARN if counts.get("warning") else Verdict.OK
    return [*found, Finding("alerts", verdict, f"open: {told}", "see `kassa alert list`, and docs/alerts.md")]


async def _crowds(database: Database) -> list[Finding]:
    try:
        networks = await node_store.read_by_balances(database.pool)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        return []  # said elsewhere
    findings = []
    for network in networks:
        if (await WatchedKeys(database.pool, network).open()).left_out:
            detail = (
                f"more than {MOST_OPEN:,} have business that is open, or was within seven days: what contracts pay to"
                " the oldest of them is not seen, for this node shows it by balances alone"
            )
            remedy = "use a node with trace_block or debug_traceBlockByHash"
            findings.append(Finding(f"{network} addresses", Verdict.WARN, detail, remedy))
    return findings


async def _rates(database: Database, settings: Settings) -> list[Finding]:
    pool, now = database.pool, SystemClock().now()
    try:
        asked = await flow.priced_pairs(pool, settings, build_chains(settings))
        found = await flow.rates_at(pool, settings, asked, now)
        alarms = await rates.open_alarms(pool, settings.rates.sources)
        fetched = await rates.is_fetched(pool)
    except (asyncpg.UndefinedTableError, SettingsError):
        return []  # said elsewhere
    findings = []
    if settings.rates.sources and not fetched:
        findings.append(Finding("rates", Verdict.WARN, "no process asks the sources", "run `kassa work`"))
    for (base, quote), rate in found.items():
        if isinstance(rate, NoRate):
            remedy = "see `GET /v1/rates` and what is said of sources here; name more in [rates], or fix the pair there"
            verdict = Verdict.FAIL if settings.rates.sources else Verdict.WARN
            findings.append(Finding(f"rate {base}/{quote}", verdict, f"none: {rate.lack}", remedy))
        else:
            detail = f"{format_rate(rate.value)} by {rate.source}"
            findings.append(Finding(f"rate {base}/{quote}", Verdict.OK, detail))
    for each in alarms:
        if each.alarm.kind is not AlarmKind.NO_RATE and each.alarm.source:
            check = f"source {each.alarm.source} {each.alarm.pair}".rstrip()
            detail = f"{each.alarm.kind} since {rfc3339(each.opened_at)}: {each.alarm.detail}"
            findings.append(
                Finding(check, Verdict.WARN, detail, "look at it by hand; leave it out of sources if it stays")
            )
    return findings
