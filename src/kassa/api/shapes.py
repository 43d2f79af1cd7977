"""What goes in and out, as msgspec structs: bodies are decoded into them, and the OpenAPI document is made of them."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from kassa.api.errors import Problem

__all__ = ["Problem"]

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


# ---------------------------------------------------------------- the store and its policy


class Policy(Struct):
    """What happens without asking anyone when a payment is short, too much or late. Bounds are inclusive."""

    tolerance_percent: Percent
    tolerance_amount: Amount
    short: Literal["flag", "accept", "credit"]
    short_limit_percent: Percent
    over: Literal["flag", "credit"]
    late_grace_seconds: int
    late_rate_percent: Percent


class PolicyChange(Struct, forbid_unknown_fields=True, frozen=True):
    """The parts of a policy that shall differ."""

    tolerance_percent: Annotated[Percent, Meta(description="Of the price may be missing; at most 50.")] | UnsetType = (
        UNSET
    )
    tolerance_amount: (
        Annotated[
            Amount, Meta(description="May be missing, in the invoice's currency (of a store: in its own), if larger.")
        ]
        | UnsetType
    ) = UNSET
    short: Literal["flag", "accept", "credit"] | UnsetType = UNSET
    short_limit_percent: (
        Annotated[Percent, Meta(description="Of the price may be missing in the end, if `short` is accept.")]
        | UnsetType
    ) = UNSET
    over: Literal["flag", "credit"] | UnsetType = UNSET
    late_grace_seconds: Annotated[int, Meta(ge=0, le=604_800)] | UnsetType = UNSET
    late_rate_percent: (
        Annotated[Percent, Meta(description="By how much the rate of a late payment may differ.")] | UnsetType
    ) = UNSET


class Store(Struct):
    """The store of a key, and the policy of its invoices to come."""

    object: Literal["store"]
    id: str
    name: str
    currency: str
    livemode: bool
    version: int
    policy: Policy
    created_at: Time


class StoreChange(Struct, forbid_unknown_fields=True, frozen=True):
    """What to change of a store that was read at a `version`; 409 `changed_meanwhile` when it has another by now."""

    version: Annotated[int, Meta(ge=1, le=2**62)]
    name: Annotated[str, Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    policy: PolicyChange | UnsetType = UNSET


# ---------------------------------------------------------------- invoices and payments


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
    status: PaymentStatus
    confirmations: int
    confirmations_required: int
    block_height: int | None
    block_hash: str | None
    first_seen_at: Time
    settled_at: Time | None
    replaced_by: str | None


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
    created_at: Time
    expires_at: Time
    settled_at: Time | None
    checkout_url: str
    redirect_url: str | None
    policy: Policy
    payment_options: list[PaymentOption]
    payments: list[Payment]
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


class PageQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which part of a list."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 25
    cursor: Annotated[str, Meta(max_length=100)] | None = None


Moment = Annotated[datetime, Meta(tz=True)]


class InvoiceQuery(PageQuery, forbid_unknown_fields=True, frozen=True):
    """Which invoices."""

    status: Status | None = None
    reference: Annotated[str, Meta(max_length=200)] | None = None
    customer_id: Annotated[str, Meta(max_length=60)] | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


# ---------------------------------------------------------------- customers and the books

Signed = Annotated[str, Meta(description="A decimal string in whole units; negative: taken, or owed.")]


class Customer(Struct):
    """Whom a store can credit."""

    object: Literal["customer"]
    id: str
    store_id: str
    reference: str | None
    name: str | None
    metadata: dict[str, Any]  # JSON
    created_at: Time


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


class Balance(Struct):
    """What a customer can spend, and what they sent that is not yet settled."""

    object: Literal["balance"]
    asset: AssetId
    available: Amount
    pending: Amount


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
    """When; without it, now."""

    at: Moment | None = None


class EntryQuery(PageQuery, forbid_unknown_fields=True, frozen=True):
    """Which entries."""

    account: Annotated[str, Meta(max_length=100, examples=["sales"])] | None = None
    payment_id: Annotated[str, Meta(max_length=60)] | None = None
    invoice_id: Annotated[str, Meta(max_length=60)] | None = None


# ---------------------------------------------------------------- events and webhooks


class EventData(Struct):
    """The resource as it was when the event happened."""

    object: dict[str, Any]  # JSON


class Event(Struct):
    """Something changed, and this is what it looked like then."""

    object: Literal["event"]
    id: str
    type: str
    sequence: int
    created_at: Time
    livemode: bool
    data: EventData


class EventQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which events, oldest first. `cursor` is another name for `after`."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 25
    after: Annotated[str, Meta(max_length=100)] | None = None
    cursor: Annotated[str, Meta(max_length=100)] | None = None
    type: Annotated[str, Meta(max_length=60)] | None = None


Url = Annotated[str, Meta(max_length=2000, extra_json_schema={"format": "uri"}, examples=["https://shop.example/hook"])]
Types = Annotated[list[str], Meta(min_length=1, max_length=50, examples=[["*"]])]
Secret = Annotated[str, Meta(max_length=200, description="whsec_ and 24 to 64 bytes in base 64.")]


class Webhook(Struct):
    """A receiver of events."""

    object: Literal["webhook"]
    id: str
    store_id: str
    url: str
    events: list[str]
    created_at: Time
    previous_secret_until: Time | None
    disabled_at: Time | None
    disabled_reason: str | None


class NewWebhook(Webhook):
    """A receiver that was just added, with the secret that signs what it gets."""

    secret: str


class Attempt(Struct):
    """One try to deliver. Without a `status_code` there was no answer, and `error` says why."""

    number: int
    started_at: Time
    duration_ms: int
    status_code: int | None
    error: str | None
    response: Annotated[str | None, Meta(description="The start of the answer.")]


class Delivery(Struct):
    """An event on its way to a receiver. `webhook_id` is null for an invoice's own `webhook_url`."""

    object: Literal["delivery"]
    id: str
    event_id: str
    event_type: str
    webhook_id: str | None
    url: str
    state: Literal["due", "delivered", "failed"]
    created_at: Time
    next_attempt_at: Time | None
    attempts: list[Attempt]


class DeliveryQuery(PageQuery, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Of which invoice."""

    invoice_id: Annotated[str, Meta(max_length=60)]


class WebhookOrder(Struct, forbid_unknown_fields=True, frozen=True):
    """Where to send events, and which."""

    url: Url
    events: Types = field(default_factory=lambda: ["*"])
    secret: Secret | None = None


class WebhookChange(Struct, forbid_unknown_fields=True, frozen=True):
    """What to change of an endpoint. A new secret is given beside the old one, which stays valid for a day."""

    url: Url | UnsetType = UNSET
    events: Types | UnsetType = UNSET
    secret: Secret | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


# ---------------------------------------------------------------- wallets, assets, networks, rates


class Wallet(Struct):
    """The public half of a wallet on one network."""

    object: Literal["wallet"]
    id: str
    store_id: str
    network: str
    descriptor: str
    fingerprint: Annotated[str, Meta(description="Compare it with what the signing device shows.")]
    created_at: Time


class WalletOrder(Struct, forbid_unknown_fields=True, frozen=True):
    """A network, and the descriptor or extended PUBLIC key of a wallet there."""

    network: Annotated[str, Meta(max_length=60, examples=["bitcoin-regtest"])]
    descriptor: Annotated[str, Meta(max_length=2000)]


class Address(Struct):
    """An address that was issued."""

    object: Literal["address"]
    id: str
    network: str
    address: Annotated[str | None, Meta(description="Null when it is not what the wallet derives.")]
    index: int
    invoice_id: str | None
    customer_id: str | None
    created_at: Time


class Asset(Struct):
    """What can be asked for. `accepted`: this store has a wallet for it."""

    object: Literal["asset"]
    id: AssetId
    symbol: str
    network: str
    decimals: int
    caip19: str
    accepted: bool


class Network(Struct):
    """How far a network is followed: our height, the node's, and the difference."""

    object: Literal["network"]
    id: str
    chain: str
    state: Literal["ok", "syncing", "stalled", "halted", "unreachable"]
    height: int | None
    hash: str | None
    node_height: int | None
    lag_blocks: int | None
    lag_seconds: Annotated[int | None, Meta(description="Since everything the node had was last seen.")]
    contacted_at: Time | None


class Said(Struct):
    """What a source said of a pair. `at` is the source's time, `fetched_at` ours."""

    base: str
    quote: str
    source: str
    bid: Amount | None
    ask: Amount | None
    rate: Amount
    at: Time | None
    fetched_at: Time | None


class RateInput(Said):
    """A quote that was looked at. `dropped` says why it was not used; null: it was."""

    dropped: Literal["stale", "outlier", "inverted", "disagrees"] | None


class Quote(Said):
    """A quote of the history."""

    object: Literal["quote"]
    id: str


class Rate(Struct):
    """Whole units of `quote` per whole unit of `base`, before a store's spread."""

    object: Literal["rate"]
    base: str
    quote: str
    rate: Amount
    bid: Amount | None
    ask: Amount | None
    source: Annotated[str, Meta(examples=["median(kraken,coinbase,bitstamp)"])]
    at: Annotated[Time, Meta(description="The time of the oldest quote that was used.")]
    pivot: Annotated[str | None, Meta(description="The currency through which the rate was crossed.")]
    inputs: list[RateInput]


_Code = Annotated[str, Meta(pattern="^[A-Z0-9]{2,12}$", examples=["BTC"])]


class RateQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which pair."""

    base: _Code
    quote: Annotated[_Code, Meta(examples=["EUR"])]


class RateHistoryQuery(PageQuery, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which pair, and the time in which it was fetched, both ends included."""

    base: _Code
    quote: Annotated[_Code, Meta(examples=["EUR"])]
    from_: Moment | None = field(name="from", default=None)
    to: Moment | None = None
