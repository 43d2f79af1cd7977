"""The audit log."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from kassa.api.shapes.words import Time


class Act(Struct):
    """Something done that matters to safety: who did what, from where, and what changed by it."""

    object: Literal["act"]
    id: str
    at: Time
    kind: Annotated[str, Meta(description="thing.deed, such as api_key.created.")]
    subject: Annotated[str, Meta(description="The id or name of the thing.")]
    actor: Annotated[str, Meta(description="The id of an API key or person, `operator NAME`, or `kassa`.")]
    address: Annotated[str | None, Meta(description="The network address it came from, if known.")]
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class ActQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which acts, newest first."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 25
    cursor: Annotated[str, Meta(max_length=100)] | None = None
    kind: Annotated[str, Meta(max_length=60)] | None = None
