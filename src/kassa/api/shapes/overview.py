"""The figures of a store's last days."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from kassa.api.shapes.words import Amount


class DayVolume(Struct):
    """What invoices in one currency that settled on a day were settled with."""

    day: Annotated[str, Meta(description="A day in UTC.", examples=["2026-01-02"])]
    currency: str
    invoices: int
    amount: Amount


class Overview(Struct):
    """How business went from one day to another, both included; what waits for a person, of whatever age."""

    object: Literal["overview"]
    since: str
    until: str
    currency: Annotated[str, Meta(description="The store's own.")]
    invoices: Annotated[dict[str, int], Meta(description="How many that were made in these days stand where.")]
    conversion_percent: Annotated[
        str | None, Meta(description="Of those whose time is over or that are paid: the share that is paid.")
    ]
    volume: list[DayVolume]
    flagged: Annotated[
        dict[str, int],
        Meta(
            description="Invoices of whatever age that wait for a person's decision, by flag, as `decision=none` lists"
            " them. At most 1,001: there are more than 1,000."
        ),
    ]
    failed_deliveries: Annotated[
        int, Meta(description="Deliveries of these days that were given up. At most 1,001: there are more than 1,000.")
    ]


class OverviewQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """How many days, today included."""

    days: Literal["7", "30", "90"] = "30"
