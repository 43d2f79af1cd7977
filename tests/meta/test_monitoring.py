"""Rules, their tests, dashboard, units and Prometheus' settings name what the program shows, where it shows it."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # litestar brings it, without types

from kassa.alerts.model import RESTRAINTS, Kind, Severity
from kassa.events.model import TYPES
from kassa.metrics.stand import STATES, STATUSES
from kassa.rates.model import AlarmKind
from kassa.settings import read_settings
from kassa.workers.send_webhooks import RESULTS

ROOT = Path(__file__).parent.parent.parent
OPS = ROOT / "ops"
VALUES: dict[tuple[str, str], Iterable[str]] = {
    ("kassa_alerts_open", "kind"): Kind,
    ("kassa_alerts_open", "severity"): Severity,
    ("kassa_alerts", "severity"): Severity,
    ("kassa_rate_alarms_open", "kind"): AlarmKind,
    ("kassa_restraints_open", "kind"): RESTRAINTS,
    ("kassa_network_state", "state"): STATES,
    ("kassa_invoices_open", "status"): STATUSES,
    ("kassa_delivery_attempts_total", "result"): RESULTS.values(),
    ("kassa_receivers", "result"): ("delivered", "failed"),
    ("kassa_deliveries_waiting", "state"): ("due", "later", "held"),
    ("kassa_events_total", "type"): TYPES,
    ("kassa_db_connections", "state"): ("used", "idle", "most"),
    ("kassa_node_call_errors_total", "kind"): ("invalid", "unavailable"),
}
OPEN = {"network", "node", "method", "route", "status", "pair", "instance", "job", "loop", "le"}
"""Labels whose values come from the settings or from whoever asks; `loop`: of `main`."""


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((OPS / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((OPS / "dashboard.json").read_text("utf-8"))["panels"]
    return found


def selected() -> Iterator[tuple[str, str, str]]:
    """Yield every metric, label and value that a rule, a test of one, or a panel asks for."""
    worlds = yaml.safe_load((OPS / "alerts.test.yml").read_text("utf-8"))["tests"]
    texts = [rule["expr"] for rule in rules()]
    texts += [series["series"] for world in worlds for series in world["input_series"]]
    texts += [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    for metric, labels in re.findall(r"(\b(?:kassa|process)_\w+)\{([^}]*)\}", "\n".join(texts)):
        for label, value in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', labels):
            yield from ((metric, label, each) for each in ([value] if "*" in value else value.split("|")))


def test_what_is_asked_of_a_label_is_a_value_that_it_can_have() -> None:
    asked = {each for each in selected() if not each[2].startswith("$")}
    strange = [each for each in asked if each[1] not in OPEN and each[2] not in set(VALUES[each[:2]])]
    assert (strange, len(asked) > 20) == ([], True)


def test_every_rule_has_a_world_of_its_own_a_runbook_and_a_way_to_it() -> None:
    worlds = yaml.safe_load((OPS / "alerts.test.yml").read_text("utf-8"))["tests"]
    names = [rule["alert"] for rule in rules()]
    books = re.findall(r"^### (Kassa\w+)$", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.MULTILINE)
    tried = [world["name"] for world in worlds if world["name"].startswith("Kassa")]
    assert (sorted(set(tried)), sorted(books)) == (sorted(names), sorted(names))
    for rule in rules():
        book = f"/operations.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == "{{ $externalLabels.docs }}" + book
    for world in worlds:
        *quiet, last = world["promql_expr_test"]
        fires = [f'{{alertname="{world["name"]}"}}'] if world["name"] in names else []
        assert [sample["labels"] for sample in last["exp_samples"]] == fires
        assert all(look["exp_samples"] == [] for look in quiet)


def test_prometheus_asks_each_unit_on_its_own_port_and_tells_somebody(tmp_path: Path) -> None:
    (tmp_path / "kassa.toml").write_text("")
    asked = yaml.safe_load((OPS / "prometheus.yml").read_text("utf-8"))
    [job] = asked["scrape_configs"]
    [targets] = [each["targets"] for each in job["static_configs"]]
    first = re.search(r"systemctl enable --now (.*)", (OPS / "systemd" / "kassa@.service").read_text("utf-8"))
    assert first is not None
    ports = []
    for unit in first[1].split():
        lines = (OPS / "systemd" / f"{unit.removeprefix('kassa@')}.env").read_text("utf-8").splitlines()
        given = dict(line.split("=") for line in lines if not line.startswith("#"))
        ports.append(str(read_settings(tmp_path / "kassa.toml", given).http.ops_listen))
    assert (ports, len(set(ports))) == (targets, 3)
    assert job["job_name"] == "kassa"
    assert asked["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert asked["global"]["external_labels"]["docs"]


def test_the_first_row_of_the_dashboard_is_green_or_red_and_says_when_it_does_not_know() -> None:
    row, *rest = panels()
    tiles = rest[: next(place for place, panel in enumerate(rest) if panel["type"] == "row")]
    assert (row["type"], len(tiles) >= 5) == ("row", True)
    for tile in tiles:
        shown = tile["fieldConfig"]["defaults"]
        steps = [(step["color"], step["value"]) for step in shown["thresholds"]["steps"]]
        assert (tile["type"], steps[0], steps[-1][0]) == ("stat", ("green", None), "red")
        assert tile["targets"][0]["expr"].endswith(" or vector(-1)")
        assert shown["mappings"][0]["options"]["-1"]["color"] != "green"
    dashboard = json.loads((OPS / "dashboard.json").read_text("utf-8"))
    asked = " ".join(target["expr"] for panel in panels() for target in panel.get("targets", ()))
    assert [each["name"] for each in dashboard["templating"]["list"][1:]] == ["network", "instance"]
    assert "$network" in asked
    assert "$instance" in asked
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels()
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
