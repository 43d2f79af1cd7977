"""The words that several shapes share: amounts, times, statuses, a part of a list."""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from msgspec import Meta, Struct

T = TypeVar("T")

# A schema is what a caller can check beforehand; the grammar itself is checked in one place, core.money.parse_amount.
Amount = Annotated[
    str,
    Meta(
        description="A decimal string in whole units; never a number, never an exponent.",
        examples=["49.90"],
        extra_json_schema={"pattern": r"^(0|[1-9][0-9]{0,59})(\.[0-9]{1,59})?$", "maxLength": 60},
    ),
]
Signed = Annotated[str, Meta(description="A decimal string in whole units; negative: taken, or owed.")]
Time = Annotated[str, Meta(description="RFC 3339 in UTC.", examples=["2026-01-02T03:04:05.678Z"])]
AssetId = Annotated[str, Meta(description="SYMBOL@network", examples=["BTC@bitcoin-regtest"])]
Status = Literal["new", "processing", "settled", "expired", "invalid"]
Flag = Literal["underpaid", "overpaid", "late", "reversed", "marked"]
Rule = Literal[
    "marked",
    "tolerance",
    "short.flag",
    "short.accept",
    "short.credit",
    "late.flag",
    "late.grace",
    "late.rate",
    "over.flag",
    "over.credit",
]
Percent = Annotated[
    str, Meta(max_length=60, description="A share in percent, at most four decimals.", examples=["0.5"])
]
PaymentStatus = Literal["detected", "confirming", "settled", "replaced", "dropped", "reversed"]


class Page(Struct, Generic[T]):
    """A part of a list. `next_cursor` asks for the next part; null at the end."""

    data: list[T]
    next_cursor: str | None


class PageQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which part of a list."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 25
    cursor: Annotated[str, Meta(max_length=100)] | None = None


Moment = Annotated[datetime, Meta(tz=True)]
