"""The store of a key, and its policy."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from kassa.api.shapes.words import Amount, Percent, Time

MAX_LOGO = 32_768


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
    colour: Annotated[str | None, Meta(description="Of the checkout page: #rrggbb.")]
    logo: Annotated[str | None, Meta(description="The path at which the logo is served.")]
    frame_ancestors: Annotated[list[str], Meta(description="The origins that may show the checkout in a frame.")]
    redirect_origins: Annotated[list[str], Meta(description="The origins that payers may be led back to; none: any.")]
    spread_percent: Percent
    policy: Policy
    created_at: Time


class StoreChange(Struct, forbid_unknown_fields=True, frozen=True):
    """What to change of a store that was read at a `version`; 409 `changed_meanwhile` when it has another by now."""

    version: Annotated[int, Meta(ge=1, le=2**62)]
    name: Annotated[str, Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    spread_percent: (
        Annotated[Percent, Meta(description="How much lower than the market's its rates are; at most 50.")] | UnsetType
    ) = UNSET
    policy: PolicyChange | UnsetType = UNSET
    colour: Annotated[str, Meta(max_length=7)] | UnsetType | None = UNSET
    logo: (
        Annotated[str, Meta(max_length=MAX_LOGO, description="A PNG or JPEG image of at most 16 KiB, in base64.")]
        | UnsetType
        | None
    ) = UNSET
    frame_ancestors: list[Annotated[str, Meta(max_length=300)]] | UnsetType = UNSET
    redirect_origins: list[Annotated[str, Meta(max_length=300)]] | UnsetType = UNSET
