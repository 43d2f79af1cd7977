"""The days that a list is asked for, as the moments that the API takes."""

from collections.abc import Mapping
from datetime import timedelta

from kassa.core.clock import rfc3339
from kassa.flow.days import day_of, time_of


def days(query: Mapping[str, str], moment: str = "created") -> dict[str, str]:
    """Return the days `from` and `to` (UTC, both included, either may be absent) as moments; raises `Invalid`.

    `moment` is what the API calls that which was in these days.
    """
    first, last = query.get("from"), query.get("to")
    begin = time_of(day_of("from", first), day_of("from", first))[0] if first else None
    end = time_of(day_of("to", last), day_of("to", last))[1] if last else None
    # Of the API neither end is part: an instant earlier is.
    after = {f"{moment}_after": rfc3339(begin - timedelta(milliseconds=1))} if begin else {}
    return after | ({f"{moment}_before": rfc3339(end)} if end else {})
