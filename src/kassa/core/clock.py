"""The one clock. Rules never read it: `now` reaches them as an argument."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time as an aware UTC datetime."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the current time in UTC, to the microsecond that the database keeps."""
        return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Write an aware datetime as RFC 3339 in UTC with `Z` and milliseconds (rounded down)."""
    here = moment if moment.tzinfo is UTC else moment.astimezone(UTC)  # which costs more than all the rest
    return here.isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"
