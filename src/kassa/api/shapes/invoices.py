"""Invoices, their payments, and what is done with them."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from kassa.api.shapes.stores import Policy, PolicyChange
from kassa.api.shapes.words import Amount, AssetId, Flag, Moment, PageQuery, PaymentStatus, Rule, Status, Time


class Payment(Struct):
    """A movement on a chain that reached one of our addresses."""

    object: Literal["payment"]
    id: str
    invoice_id: str | None
    customer_id: Annotated[str | None, Meta(description="Whose deposit it is; null for an invoice's payment.")]
    asset: AssetId
    address: str | None
    txid: str
    position: Annotated[str, Meta(description="The movement inside its transaction.", examples=["out:0"])]
    amount: Amount
    value: Amount
    currency: str
    rate: Annotated[Amount | None, Meta(description="Null for an asset that the invoice did not offer.")]
    rate_source: str | None
    rate_at: Annotated[Time | None, Meta(description="Of when the oldest price in the rate is.")]
    status: PaymentStatus
    confirmations: int
    confirmations_required: int
    block_height: int | None
    block_hash: str | None
    first_seen_at: Time
    settled_at: Time | None
    assigned_to: Annotated[
        str | None, Meta(description="Whose a person decided it to be, where it had no owner: a customer, or income.")
    ]
    replaced_by: str | None


class PaymentQuery(PageQuery, forbid_unknown_fields=True, frozen=True):
    """Which payments. Those of some time are listed by when they were first seen."""

    search: (
        Annotated[
            str,
            Meta(
                min_length=1, max_length=2048,
                description="An id, txid (also of what replaced it), address, or an invoice's id or reference, whole;"
                " or a link or payment URI that holds one.",
            ),
        ]
        | None
    ) = None  # fmt: skip
    status: PaymentStatus | None = None
    asset: Annotated[str, Meta(max_length=100)] | None = None
    invoice_id: Annotated[str, Meta(max_length=100)] | None = None
    first_seen_after: Moment | None = None
    first_seen_before: Moment | None = None


class PaymentRate(Struct):
    """How the rate of a payment came about."""

    object: Literal["payment_rate"]
    payment_id: str
    rate: Amount | None
    rate_source: str | None
    rate_at: Time | None
    rate_method: Annotated[
        dict[str, Any] | None,  # JSON
        Meta(description="Every price that went into the rate or was dropped, with its source and time."),
    ]


class PaymentOwner(Struct, forbid_unknown_fields=True, frozen=True):
    """Whose money without an owner is: a customer's, or (null) the store's own income."""

    customer_id: Annotated[str, Meta(max_length=100)] | None


class PaymentOption(Struct):
    """One way to pay an invoice."""

    asset: AssetId
    symbol: str
    network: str
    caip19: str | None
    decimals: int
    address: str | None
    withheld: Annotated[
        Literal["address_mismatch", "network_removed"] | None, Meta(description="Why the address is not shown.")
    ]
    amount: Amount
    amount_paid: Amount
    amount_due: Amount
    amount_to_send: Annotated[
        Amount,
        Meta(
            description="What `uri` asks for: what is due, rounded up to the 8 decimals that can be typed everywhere; "
            "or where the network carries no less, the least."
        ),
    ]
    rate: Amount
    rate_source: str
    rate_at: Time
    confirmations_required: int
    uri: Annotated[str | None, Meta(description="Null where nobody can pay by this option now.")]


class Spend(Struct):
    """Credit that paid a part of an invoice."""

    object: Literal["spend"]
    id: str
    customer_id: str
    invoice_id: str
    asset: AssetId
    amount: Amount
    rate: Annotated[Amount | None, Meta(description="Of the asset in the store's currency, when it was spent.")]
    rate_source: str | None
    rate_at: Time | None
    created_at: Time


class Invoice(Struct):
    """What was asked, and where it stands now."""

    object: Literal["invoice"]
    id: str
    store_id: str
    livemode: bool
    status: Status
    flags: list[Flag]
    rules: Annotated[list[Rule], Meta(description="What decided where the invoice and its money stand.")]
    is_final: bool
    amount: Amount
    currency: str
    amount_paid: Amount
    amount_settled: Amount
    amount_due: Amount
    amount_over: Amount
    reference: str | None
    description: str | None
    metadata: dict[str, Any]  # JSON
    customer_id: str | None
    payment_link_id: Annotated[str | None, Meta(description="The payment link that it was made for.")]
    created_at: Time
    expires_at: Time
    settled_at: Time | None
    checkout_url: str
    redirect_url: str | None
    policy: Policy
    payment_options: list[PaymentOption]
    payments: Annotated[
        list[Payment],
        Meta(
            max_length=50,
            description="At most 50, oldest first: those that count before dead ones, the largest before smaller ones.",
        ),
    ]
    payments_left_off: Annotated[
        int, Meta(description="How many more there are: list them by `invoice_id`. The sums are over all of them.")
    ]
    spends: list[Spend]


_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"


class InvoiceOrder(Struct, forbid_unknown_fields=True, frozen=True):
    """What to ask for."""

    amount: Amount
    currency: Annotated[str, Meta(description="A currency code.", examples=["EUR"])]
    payment_options: (
        Annotated[list[AssetId], Meta(min_length=1, max_length=20, description="Default: every accepted asset.")] | None
    ) = None
    reference: (
        Annotated[str, Meta(max_length=200, extra_json_schema={"pattern": _LINE}, examples=["order-1001"])] | None
    ) = None
    description: Annotated[str, Meta(max_length=1000, extra_json_schema={"pattern": _LINE})] | None = None
    metadata: Annotated[
        Raw,
        Meta(
            description="Any JSON object of at most 8 KiB; its numbers must fit 64 bits.",
            extra_json_schema={"type": ["object", "null"]},
        ),
    ] = field(default_factory=Raw)
    customer_id: Annotated[str, Meta(max_length=60)] | None = None
    expires_in: Annotated[int, Meta(ge=60, le=604_800, description="Seconds that the rate is held.")] = 900
    redirect_url: Annotated[str, Meta(max_length=2048, extra_json_schema={"format": "uri"})] | None = None
    webhook_url: Annotated[str, Meta(max_length=2048, extra_json_schema={"format": "uri"})] | None = None
    policy: Annotated[PolicyChange, Meta(description="What differs from the store's policy.")] | None = None


class Mark(Struct, forbid_unknown_fields=True, frozen=True):
    """A person's word on an invoice; the last one counts."""

    as_: Literal["settled", "invalid"] = field(name="as")


class SpendOrder(Struct, forbid_unknown_fields=True, frozen=True):
    """Which credit to spend. Without an amount, all that is due; never more than that."""

    asset: Annotated[AssetId, Meta(max_length=100)]
    amount: Amount | None = None


class TimelineItem(Struct):
    """Something that happened: a decision, a spend, an event, or a book entry, under the name of its kind."""

    object: Literal["timeline_item"]
    at: Time
    kind: Literal["decision", "spend", "event", "entry"]
    decision: dict[str, Any] | UnsetType = UNSET  # JSON
    spend: dict[str, Any] | UnsetType = UNSET  # JSON
    event: dict[str, Any] | UnsetType = UNSET  # JSON
    entry: dict[str, Any] | UnsetType = UNSET  # JSON


class InvoiceQuery(PageQuery, forbid_unknown_fields=True, frozen=True):
    """Which invoices."""

    status: Status | None = None
    flag: Flag | None = None
    decision: (
        Annotated[
            Literal["none"],
            Meta(
                description="Those with a flag that wait for a person's decision: not those on which somebody decided,"
                " nor those on which the policy did, by accepting or crediting what came."
            ),
        ]
        | None
    ) = None
    search: (
        Annotated[
            str,
            Meta(
                min_length=1, max_length=2048,
                description="An id, reference, address or txid (also of what replaced a payment), whole; or a link or"
                " payment URI that holds one.",
            ),
        ]
        | None
    ) = None  # fmt: skip
    reference: Annotated[str, Meta(max_length=200)] | None = None
    customer_id: Annotated[str, Meta(max_length=60)] | None = None
    payment_link_id: Annotated[str, Meta(max_length=60)] | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
