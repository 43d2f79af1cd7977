"""Reports."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from kassa.api.shapes.words import Amount, AssetId, Signed

Day = Annotated[str, Meta(max_length=10, examples=["2026-01-31"])]


class ReportQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which days, in UTC, the last one included; without them, the last 31. At most 366."""

    first: Day | None = field(default=None, name="from")
    last: Day | None = field(default=None, name="to")


class SpreadQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which days, as for the others, or which invoice alone, whenever it was paid."""

    first: Day | None = field(default=None, name="from")
    last: Day | None = field(default=None, name="to")
    invoice_id: Annotated[str, Meta(max_length=64)] | None = None


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


class ReceivableLine(Struct):
    """What customers owe in an asset: they spent it, it was then taken back, and nobody has written it off."""

    object: Literal["receivable"]
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


class SpreadLine(Struct):
    """What payments in an asset came to by the store's rates, and by the market when they were first seen and settled.

    `spread_percent` is by how much the rates were below the market (negative: above it), `intended_percent` the store's
    spread. Amounts are of payments that the market is known of: when first seen (all but `unknown`), when settled.
    """

    object: Literal["spread"]
    asset: AssetId
    currency: str
    payments: int
    unknown: int
    value: Amount
    market_value: Amount
    spread_percent: Signed | None
    intended_percent: Signed
    settled_value: Amount
    settled_market_value: Amount
    settled_spread_percent: Signed | None
