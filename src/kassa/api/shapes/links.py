"""What goes in and out of payment links, as msgspec structs."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from kassa.api.shapes.invoices import _LINE
from kassa.api.shapes.words import Amount, AssetId, Moment, PageQuery, Time

Title = Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema={"pattern": _LINE})]
Description = Annotated[str, Meta(max_length=1000, extra_json_schema={"pattern": _LINE})]
Reference = Annotated[str, Meta(max_length=200, extra_json_schema={"pattern": _LINE})]
Url = Annotated[str, Meta(max_length=2048, extra_json_schema={"format": "uri"})]
Metadata = Annotated[
    Raw,
    Meta(
        description="Any JSON object of at most 8 KiB; its numbers must fit 64 bits.",
        extra_json_schema={"type": ["object", "null"]},
    ),
]
LinkStatus = Literal["open", "processing", "completed", "expired", "closed"]


class LinkInvoices(Struct):
    """How many of a link's invoices stand where."""

    new: int
    processing: int
    settled: int
    expired: int
    invalid: int


class Link(Struct):
    """A page that asks for an amount, and where it stands because of the invoices made for it."""

    object: Literal["payment_link"]
    id: str
    store_id: str
    livemode: bool
    status: LinkStatus
    flags: list[Literal["underpaid", "overpaid", "late", "reversed"]]
    title: str
    description: str | None
    reference: str | None
    metadata: dict[str, Any]  # JSON
    amount: Annotated[Amount | None, Meta(description="Null where the payer chooses.")]
    min_amount: Amount | None
    max_amount: Amount | None
    currency: str
    asset: Annotated[AssetId | None, Meta(description="What it is priced in, and then the only way to pay.")]
    payment_options: list[AssetId] | None
    reusable: bool
    show_received: bool
    amount_paid: Annotated[Amount, Meta(description="By living payments; not on invoices that were called invalid.")]
    amount_settled: Amount
    amount_due: Annotated[Amount | None, Meta(description="Null where nothing particular is due.")]
    amount_over: Amount
    invoices: LinkInvoices
    invoice_expires_in: int
    redirect_url: str | None
    created_at: Time
    expires_at: Time | None
    closed_at: Time | None
    url: str


class LinkOrder(Struct, forbid_unknown_fields=True, frozen=True):
    """What to ask for: an `amount`, or from `min_amount` (to `max_amount`) as the payer chooses."""

    title: Annotated[Title, Meta(examples=["Two coffees"])]
    amount: Amount | None = None
    min_amount: Amount | None = None
    max_amount: Amount | None = None
    currency: Annotated[str, Meta(description="Default: the store's.", examples=["EUR"])] | None = None
    asset: (
        Annotated[AssetId, Meta(max_length=100, description="Price it in this asset, payable in nothing else.")] | None
    ) = None
    payment_options: (
        Annotated[list[AssetId], Meta(min_length=1, max_length=20, description="Default: every accepted asset.")] | None
    ) = None
    reusable: Annotated[bool, Meta(description="Whether it goes on after it was paid.")] = False
    show_received: (
        Annotated[bool, Meta(description="Whether the page tells what all paid; default: unless reusable.")] | None
    ) = None
    description: Description | None = None
    reference: Reference | None = None
    metadata: Metadata = field(default_factory=Raw)
    invoice_expires_in: Annotated[int, Meta(ge=60, le=604_800, description="Seconds that each invoice lasts.")] = 900
    redirect_url: Url | None = None
    expires_at: Moment | None = None


class LinkChange(Struct, forbid_unknown_fields=True, frozen=True):
    """What to change of a link. Invoices that were made keep their terms."""

    title: Title | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    reference: Reference | UnsetType | None = UNSET
    metadata: Metadata = field(default_factory=Raw)
    show_received: bool | UnsetType = UNSET
    redirect_url: Url | UnsetType | None = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    closed: bool | UnsetType = UNSET


class LinkQuery(PageQuery, forbid_unknown_fields=True, frozen=True):
    """Which links."""

    search: (
        Annotated[
            str,
            Meta(
                min_length=1, max_length=2048,
                description="An id, reference, address or txid, of the link or of an invoice of it, whole; or a link or"
                " payment URI that holds one.",
            ),
        ]
        | None
    ) = None  # fmt: skip
    status: LinkStatus | None = None
    reference: Annotated[str, Meta(max_length=200)] | None = None
