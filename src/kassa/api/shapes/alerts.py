"""Alerts and what people decide about them."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from kassa.api.shapes.words import PageQuery, Time


class AlertAction(Struct):
    """What was done by itself, and to what."""

    action: str
    target: str
    blocks: Annotated[int | None, Meta(description="The confirmations that are needed at least, where it raised them.")]


class AlertDecided(Struct):
    """A person's word on an alert."""

    decision: Literal["acknowledged", "closed", "undone"]
    at: Time
    by: Annotated[str, Meta(description="The id of the API key, or `operator`.")]
    note: str


class Alert(Struct):
    """Something is wrong, or was."""

    object: Literal["alert"]
    id: str
    kind: Annotated[str, Meta(examples=["network_halted"])]
    subject: Annotated[str, Meta(description="With `kind` the cause: of one cause one alert is open.")]
    severity: Literal["info", "warning", "critical"]
    status: Literal["open", "closed"]
    store_id: Annotated[str | None, Meta(description="Null: it concerns every store on its network.")]
    network: str | None
    reason: str
    about: dict[str, Any]  # JSON
    actions: list[AlertAction]
    opened_at: Time
    acknowledged_at: Time | None
    over_at: Annotated[Time | None, Meta(description="Since when it is not so any more.")]
    undone_at: Annotated[Time | None, Meta(description="When a person ended what was done by itself.")]
    closed_at: Time | None
    closed_by: Annotated[str | None, Meta(description="A person, or `kassa` when it was over by itself.")]
    ended: str | None
    decisions: list[AlertDecided]


class AlertQuery(PageQuery, forbid_unknown_fields=True, frozen=True):
    """Which alerts."""

    status: Literal["open", "closed"] | None = None
    kind: Annotated[str, Meta(max_length=60)] | None = None
    severity: Literal["info", "warning", "critical"] | None = None


_Note = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1000,
        description="Why: it is kept.",
        extra_json_schema={"pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"},
        examples=["the second node was on an old version"],
    ),
]


class AlertNote(Struct, forbid_unknown_fields=True, frozen=True):
    """Why an alert is acknowledged."""

    note: _Note


class AlertClosing(Struct, forbid_unknown_fields=True, frozen=True):
    """Why an alert is closed; `undo` ends what was done by itself, which must not stay in force untold."""

    note: _Note
    undo: bool = False
