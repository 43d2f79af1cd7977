"""Reports."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from kassa.api.shapes.words import AssetId, Signed

Day = Annotated[str, Meta(max_length=10, examples=["2026-01-31"])]


class ReportQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which days, in UTC, the last one included; without them, the last 31. At most 366."""

    first: Day | None = field(default=None, name="from")
    last: Day | None = field(default=None, name="to")


class NowQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """A report of this moment takes nothing."""


class SalesLine(Struct):
    """What was sold on a day in an asset, to invoices that stand so now."""

    object: Literal["sales"]
    day: Day
    asset: AssetId
    status: str
    invoices: int
    amount: Signed
    value: Signed
    currency: str


class OutstandingLine(Struct):
    """Invoices that may still be paid, or are paid and not settled yet."""

    object: Literal["outstanding"]
    status: str
    currency: str
    invoices: int
    amount: str
    amount_paid: str


class LiabilityLine(Struct):
    """What is owed to customers in an asset."""

    object: Literal["liability"]
    asset: AssetId
    customers: int
    amount: Signed
    value: Signed
    currency: str


class CostLine(Struct):
    """Fees, accepted shortages (`under`) or losses in an asset."""

    object: Literal["cost"]
    account: str
    asset: AssetId
    amount: Signed
    value: Signed
    currency: str
