"""Lists in parts. A cursor is the id of the last thing shown: opaque to callers, and no right to anything."""

from collections.abc import Sequence
from typing import Any

from kassa.core.errors import FieldFault, Invalid
from kassa.core.ids import is_id


def read_cursor(prefix: str, cursor: str | None, field: str = "cursor") -> str | None:
    """Return the id in a cursor; raise `Invalid` for one that we never gave out."""
    if cursor is not None and not is_id(prefix, cursor):
        raise Invalid(FieldFault(field, "is not a cursor of this list; use next_cursor as it was given"))
    return cursor


def page(found: Sequence[dict[str, Any]], limit: int, name: str = "id") -> dict[str, Any]:  # JSON
    """Write the envelope of a list: of `limit` + 1 things found, the last says only that there is more."""
    shown = found[:limit]
    return {"data": shown, "next_cursor": str(shown[-1][name]) if len(found) > limit else None}
