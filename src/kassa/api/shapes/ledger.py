"""The books: entries and balances."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from kassa.api.shapes.words import AssetId, Moment, PageQuery, Signed, Time


class EntryPosting(Struct):
    """What an entry moved on one account: debit positive, credit negative."""

    account: str
    asset: AssetId
    amount: Signed
    value: Signed | None
    currency: str
    rate: Annotated[str | None, Meta(description="Exact, as a decimal or a fraction.")]


class Entry(Struct):
    """An entry in the books, and what caused it."""

    object: Literal["entry"]
    id: str
    reason: str
    payment_id: str | None
    spend_id: str | None
    customer_id: str | None
    invoice_id: str | None
    decision_id: int | None
    booked_at: Time
    postings: list[EntryPosting]


class AccountBalance(Struct):
    """What stands on an account in one asset."""

    object: Literal["account_balance"]
    account: str
    asset: AssetId
    amount: Signed
    value: Signed
    currency: str


class LedgerQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """When (without it, now), and whether each customer's account is listed, or their sum as `customers`."""

    at: Moment | None = None
    customers: Literal["each", "together"] = "each"


class EntryQuery(PageQuery, forbid_unknown_fields=True, frozen=True):
    """Which entries."""

    account: Annotated[str, Meta(max_length=100, examples=["sales"])] | None = None
    payment_id: Annotated[str, Meta(max_length=60)] | None = None
    invoice_id: Annotated[str, Meta(max_length=60)] | None = None
