"""Rates and the quotes they were made of."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from kassa.api.shapes.words import Amount, Moment, PageQuery, Time


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

    dropped: Literal["stale", "outlier", "inverted", "disagrees", "jumped"] | None


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
