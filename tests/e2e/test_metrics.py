"""The operations port of the real program: what a story leaves there, and what rules and dashboard ask for."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families

from kassa import measures
from kassa.chains.bitcoin.devnode import DevNode
from kassa.sandbox.nodes import nodes_dir
from tests.conftest import ROOT
from tests.e2e.program import Program, installed
from tests.house import BITCOIN
from tests.tools.sink import Sink, status

OPS = ROOT / "ops"
OF_FAULTS = {"kassa_node_call_errors_total", "kassa_db_lost_transactions_total", "kassa_log_failures_total"}
OF_FAULTS |= {"kassa_loop_failures_total"}
"""What counts nothing in a story that goes well: their tests are in `rules`, `db` and `faults`."""
OF_TROUBLES = {
    "kassa_address_faults",
    "kassa_assets_frozen",
    "kassa_db_deadlocks_total",
    "kassa_db_longest_transaction_seconds",
    "kassa_deliveries_overdue_seconds",
    "kassa_deliveries_waiting",
    "kassa_events_unpublished",
    "kassa_events_unpublished_oldest_seconds",
    "kassa_invoices_overdue_seconds",
    "kassa_ledger_differences_open",
    "kassa_network_lag_blocks",
    "kassa_network_node_clock_skew_seconds",
    "kassa_rate_alarms_open",
}
"""What may stay at zero in it: tests/db/test_stand.py and test_metrics.py have each of them above."""
SHORTLY = {
    "kassa_payments_waiting",
    "kassa_payments_waiting_oldest_seconds",
    "kassa_mempool_watched_transfers",
}
"""What is above zero while a payment waits, and no more when the story is over."""
JUDGED = {"kassa_alerts", "kassa_restraints_open"}
"""What a detector makes of the reorganisation, when it looks next, and stays so."""
PROCESS = {"up", "ALERTS"}
"""Series that Prometheus makes itself."""
ABSENT = {
    "kassa_alerts_open",
    "kassa_rate_age_seconds",
    "kassa_rate_sources",
    "kassa_rate_spread_ratio",
    "kassa_rate_realised_drift_ratio",
    "kassa_network_final_age_seconds",
    "kassa_network_final_height_blocks",
    "kassa_network_internal",
}
"""While no alert is open, where rates are fixed, so that nobody asks for any, and where no block is called final:
tests/rules and tests/db."""


AT_FIRST: tuple[tuple[str, dict[str, str]], ...] = (
    ("kassa_reorg_depth_blocks_count", {"network": BITCOIN}),
    ("kassa_delivery_attempts_total", {"result": "retry"}),
    ("kassa_events_total", {"type": "payment.reversed"}),
    ("kassa_loop_failures_total", {"loop": "tick"}),
    ("kassa_db_lost_transactions_total", {"reason": "deadlock"}),
    ("kassa_restraints_open", {"kind": "held", "network": BITCOIN}),
)
"""What is zero before it happens for the first time: of a series that is born at one, Prometheus sees no increase."""


class Shown:
    """What one scrape said."""

    def __init__(self, text: str) -> None:
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        self.names = {name for name, _ in self.samples}
        self.moved = {name for (name, _), value in self.samples.items() if value}

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        return sum(v for (n, have), v in self.samples.items() if n == name and labels.items() <= have)


async def story(kassa: Program, node: DevNode, sink: Sink) -> Shown:
    """An order paid, settled and reorganised; a caller of paths that are not there."""
    await kassa.start("up")
    await kassa.ready()
    born = Shown(await kassa.metrics())
    for name, labels in AT_FIRST:
        assert (name, labels, born.value(name, **labels)) == (name, labels, 0)
    await kassa.open_store()
    await kassa.call("POST", "/v1/webhooks", {"url": f"{sink.url}/hook", "events": ["*"]})
    invoice = await kassa.invoice()
    await node.fund(invoice["payment_options"][0]["address"], 100_000)
    await kassa.until_invoice(invoice, status="processing")
    waiting = Shown("")

    async def waits() -> bool:
        now = Shown(await kassa.metrics())
        waiting.names |= now.names
        waiting.moved |= now.moved
        return waiting.moved >= SHORTLY

    await kassa.until(waits)
    await kassa.until(lambda: _is_watched(kassa))
    await node.mine(2)
    await kassa.until_invoice(invoice, status="settled")
    await kassa.until(lambda: _stands_on_tip(kassa, node))  # or less is undone than the node does
    await node.fork(2)
    await kassa.until(lambda: _stands_on_tip(kassa, node))  # or the invoice is still as it was before
    await kassa.until_invoice(invoice, status="settled", flags=[])
    await kassa.call("GET", "/v1/invoices/inv_" + "0" * 26)
    for n in range(3):
        await kassa.call("GET", f"/v1/nothing/{n}")
    await sink.until(lambda: len(sink.got) >= 5)
    await kassa.until(lambda: _counts_receiver(kassa, "delivered"))
    sink.default = status(500)
    await kassa.invoice()

    async def posted() -> bool:
        shown = Shown(await kassa.metrics())
        delivered = shown.total("kassa_delivery_attempts_total", result="delivered")
        return delivered >= 5 and shown.total("kassa_delivery_attempts_total") > delivered

    async def judged() -> bool:
        return Shown(await kassa.metrics()).moved >= JUDGED

    await kassa.until(posted)
    await kassa.until(judged, seconds=120)
    await kassa.until(lambda: _stands_on_tip(kassa, node))
    shown = Shown(await kassa.metrics())
    shown.names |= waiting.names
    shown.moved |= waiting.moved
    return shown


async def _is_watched(kassa: Program) -> bool:
    return Shown(await kassa.metrics()).value("kassa_mempool_watched_transfers", network=BITCOIN) == 1


async def _counts_receiver(kassa: Program, result: str) -> bool:
    return Shown(await kassa.metrics()).value("kassa_receivers", result=result) == 1


async def _fails(kassa: Program) -> bool:
    """Tell whether calls to the node are counted as failed, and the network as one that nobody sees."""
    shown = Shown(await kassa.metrics())
    state = shown.value("kassa_network_state", network=BITCOIN, state="unreachable")
    return shown.total("kassa_node_call_errors_total", kind="unavailable") > 0 and state == 1


async def _stands_on_tip(kassa: Program, node: DevNode) -> bool:
    height = Shown(await kassa.metrics()).value("kassa_network_height_blocks", network=BITCOIN)
    return height == (await node.tip()).height


async def test_a_story_is_measured_and_every_metric_asked_for_exists(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    async with Sink() as sink, installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        shown = await story(kassa, bitcoind, sink)
        assert shown.value("kassa_network_state", network=BITCOIN, state="ok") == 1
        assert shown.value("kassa_reorg_depth_blocks_sum", network=BITCOIN) == 2
        assert shown.value("kassa_network_undone_blocks", network=BITCOIN) == 2
        assert shown.value("kassa_events_total", type="invoice.created") == 2
        assert (shown.value("kassa_payment_settle_seconds_count", network=BITCOIN) or 0) >= 1
        assert shown.value("kassa_http_requests_total", method="POST", route="/v1/invoices", status="201") == 2
        assert shown.value("kassa_http_requests_total", method="GET", route="/v1/invoices/{id}", status="404") == 1
        assert shown.value("kassa_http_requests_total", method="GET", route="unknown", status="404") == 3
        assert shown.total("kassa_node_call_seconds_count") > 0
        assert shown.value("kassa_db_up") == 1
        asked = names_asked_for()
        assert len(asked) > 40
        assert sorted(asked - shown.names - PROCESS - ABSENT) == []
        still = {name for name in counted() if not shown.total(name)}
        assert still == OF_FAULTS
        assert (asked & shown.names) - shown.moved - still <= OF_TROUBLES
        assert shown.total("process_resident_memory_bytes") > 10**7
        await bitcoind.kill()
        await kassa.until(lambda: _fails(kassa), seconds=120)
        assert await kassa.stop() == [0]


async def test_the_port_is_waited_for_and_payments_do_not_depend_on_it(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        await kassa.start("watch")
        await kassa.until(lambda: answers(kassa))
        await kassa.start("api")
        await kassa.ready()
        assert "metrics are not served yet" in kassa.log("api")
        await kassa.stop("watch")

        async def taken_over() -> bool:
            return await answers(kassa) and 'roles="api"' in await kassa.metrics()

        await kassa.until(taken_over)


async def answers(kassa: Program) -> bool:
    try:
        return "kassa_build_info" in await kassa.metrics()
    except OSError:
        return False


def names_asked_for() -> set[str]:
    """Return every metric that the rules, their tests and the dashboard name."""
    dashboard = json.loads((OPS / "dashboard.json").read_text("utf-8"))
    targets = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    texts = [*targets, (OPS / "alerts.yml").read_text("utf-8"), (OPS / "alerts.test.yml").read_text("utf-8")]
    named = re.compile(r"\b(?:kassa|process)_[a-z_]+(?=[\[{( )]|$)", re.MULTILINE)
    return {name for text in texts for name in named.findall(text)}


def counted() -> set[str]:
    """Return every counter and histogram of ours, by the series that says how often."""
    made = [each for each in vars(measures).values() if isinstance(each, (Counter, Histogram))]
    return {f"{each.describe()[0].name}_{'total' if isinstance(each, Counter) else 'count'}" for each in made}


def test_every_metric_is_explained_and_is_on_the_dashboard_or_in_a_rule() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "src" / "kassa").rglob("*.py"))
    names = {f"kassa_{name}" for name in re.findall(r'"kassa_([a-z_]+[a-z])"', code)}
    guide = (ROOT / "docs" / "operations.md").read_text("utf-8").partition("## Metrics")[2].partition("## Log")[0]
    told = {f"kassa_{name.removesuffix('_total')}" for name in re.findall(r"`([a-z_]+)(?:\{[a-z,]+\})?`", guide)}
    asked = {re.sub("_(total|bucket|sum|count)$", "", name) for name in names_asked_for()}
    assert len(names) > 50
    assert (sorted(names - told), sorted(names - asked)) == ([], [])


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Prometheus' own checker: this machine's, else unpacked from its package into the cache of the nodes."""
    kept = nodes_dir() / "promtool" / "usr" / "bin" / "promtool"
    if found := shutil.which("promtool"):
        return found
    if not kept.exists():
        work = tmp_path_factory.mktemp("promtool")
        subprocess.run(["apt-get", "download", "prometheus"], cwd=work, check=True, timeout=200)
        (package,) = work.glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(package), str(nodes_dir() / "promtool")], check=True, timeout=200)
    return str(kept)


def test_every_alert_fires_when_it_should_and_only_then(promtool: str) -> None:
    command = [promtool, "test", "rules", "alerts.test.yml"]
    told = subprocess.run(command, cwd=OPS, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def test_every_panel_of_the_dashboard_asks_what_prometheus_understands(promtool: str, tmp_path: Path) -> None:
    dashboard = json.loads((OPS / "dashboard.json").read_text("utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    rules = [{"record": f"panel:{place}", "expr": expr} for place, expr in enumerate(asked)]
    made = tmp_path / "panels.yml"
    made.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    told = subprocess.run([promtool, "check", "rules", str(made)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
