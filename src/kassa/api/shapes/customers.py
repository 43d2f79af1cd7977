"""Customers, their addresses and their credit."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from kassa.api.shapes.invoices import _LINE
from kassa.api.shapes.words import Amount, AssetId, PageQuery, Signed, Time
from kassa.customers.model import NOTE_LENGTH


class Balance(Struct):
    """What a customer can spend, what they sent that is not yet settled, and what they spent and then lost.

    `written_off` is how much of `owed` a person has declared a loss.
    """

    object: Literal["balance"]
    asset: AssetId
    available: Amount
    pending: Amount
    owed: Amount
    written_off: Amount


class Customer(Struct):
    """Whom a store can credit."""

    object: Literal["customer"]
    id: str
    store_id: str
    reference: str | None
    name: str | None
    metadata: dict[str, Any]  # JSON
    created_at: Time


class ListedCustomer(Customer):
    """A customer in a list; with `expand=balances`, what they have."""

    balances: list[Balance] | UnsetType = UNSET


class CustomerOrder(Struct, forbid_unknown_fields=True, frozen=True):
    """Who it is, in the store's own words. A reference is given once."""

    reference: (
        Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema={"pattern": _LINE}, examples=["user-17"])]
        | None
    ) = None
    name: Annotated[str, Meta(max_length=200, extra_json_schema={"pattern": _LINE})] | None = None
    metadata: Annotated[
        Raw,
        Meta(
            description="Any JSON object of at most 8 KiB; its numbers must fit 64 bits.",
            extra_json_schema={"type": ["object", "null"]},
        ),
    ] = field(default_factory=Raw)


class CustomerQuery(PageQuery, forbid_unknown_fields=True, frozen=True):
    """Which customers."""

    reference: Annotated[str, Meta(max_length=200)] | None = None
    search: (
        Annotated[
            str,
            Meta(
                min_length=1, max_length=2048,
                description="A whole id, reference or deposit address, an invoice's id, a payment's id or txid (also of"
                " what replaced it), a link or payment URI that holds one; or how the name begins. A hundred at most.",
            ),
        ]
        | None
    ) = None  # fmt: skip
    expand: Annotated[Literal["balances"], Meta(description="Show what each has.")] | None = None


class AddressOrder(Struct, forbid_unknown_fields=True, frozen=True):
    """For which asset."""

    asset: Annotated[AssetId, Meta(max_length=100)]


class DepositAddress(Struct):
    """Where a customer can send an asset at any time; it stays the same for ever."""

    object: Literal["deposit_address"]
    id: str
    customer_id: str
    asset: AssetId
    network: str
    address: str
    created_at: Time


class WriteOff(Struct, forbid_unknown_fields=True, frozen=True):
    """Of which asset, how much (null: all that is owed and not written off), and why."""

    asset: Annotated[AssetId, Meta(max_length=100)]
    note: Annotated[str, Meta(min_length=1, max_length=NOTE_LENGTH, extra_json_schema={"pattern": _LINE})]
    amount: Amount | None = None


class StatementLine(Struct):
    """What was added to a customer's credit in one asset (negative: taken), and the balance after it."""

    object: Literal["statement_line"]
    id: str
    reason: str
    payment_id: str | None
    spend_id: str | None
    customer_id: str | None
    invoice_id: str | None
    decision_id: int | None
    booked_at: Time
    asset: AssetId
    amount: Signed
    balance: Signed
    value: Signed | None
    currency: str
    rate: Annotated[str | None, Meta(description="Exact, as a decimal or a fraction.")]
