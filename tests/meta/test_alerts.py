"""Every kind of alert has its place in the documents, and some detector or gate that opens it."""

import re
from pathlib import Path

from kassa import flow
from kassa.alerts.model import Kind

ROOT = Path(__file__).parent.parent.parent


def test_every_kind_of_alert_has_a_runbook() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "docs" / "alerts.md").read_text("utf-8"), re.MULTILINE)
    told = {word for heading in headings for word in re.findall(r"\w+", heading)}
    assert [kind.value for kind in Kind if kind.value not in told] == []


def test_every_kind_is_answered_for_by_at_most_one_detector() -> None:
    kinds = [kind for detector in flow.DETECTORS for kind in detector.kinds]
    assert len(kinds) == len(set(kinds))
    assert len({detector.name for detector in flow.DETECTORS}) == len(flow.DETECTORS)
