"""Days as people name them for reports and exports: in UTC, the last one included."""

from datetime import UTC, date, datetime, timedelta

from kassa.core.errors import FieldFault, Invalid


def day_of(field: str, text: str) -> date:
    """Read a day such as "2026-01-31"; raises `Invalid`, also for one so far away that no entry can be of it."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not 1970 <= day.year <= 9000:
        raise Invalid(FieldFault(field, f"{text[:20]!r} is not a day such as 2026-01-31"))
    return day


def time_of(first: date, last: date) -> tuple[datetime, datetime]:
    """Return the time of some days (its end is not part of it); raises `Invalid` when they are in the wrong order."""
    if last < first:
        raise Invalid(FieldFault("to", "must not be before from"))
    return _begin(first), _begin(last + timedelta(days=1))


def _begin(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
