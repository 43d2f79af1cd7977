"""Events, webhooks and deliveries."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from kassa.api.shapes.words import Moment, PageQuery, Time


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
    """Of which invoice; those that were given up, of any day or made since a moment; or what to look for."""

    search: (
        Annotated[
            str,
            Meta(
                min_length=1, max_length=2048,
                description=(
                    "Whole: the id of a delivery, an event, an endpoint or of what an event is about; an invoice's "
                    "reference, an address or a txid. Or a link or payment URI that holds one."
                ),
            ),
        ]
        | None
    ) = None  # fmt: skip
    invoice_id: Annotated[str, Meta(max_length=60)] | None = None
    state: Literal["failed"] | None = None
    created_after: Moment | None = None


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
