"""What `kassa doctor` says: one line for each thing that it looked at."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kassa.core.clock import SystemClock

CLOCK_SECONDS = 60


class Verdict(StrEnum):
    """What a look came to."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it stands, and the remedy where one is needed."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def skew(check: str, other: datetime, verdict: Verdict = Verdict.FAIL) -> Finding:
    """Compare another clock with this machine's."""
    ahead = (other - SystemClock().now()).total_seconds()
    detail = f"{ahead:+.1f} s from this machine's"
    if abs(ahead) <= CLOCK_SECONDS:
        return Finding(check, Verdict.OK, detail)
    return Finding(check, verdict, detail, "run NTP on both machines")
