"""Quotes of sources, the rates that are made of them, and what makes them: values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from kassa.core.words import Words


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """What is priced, and in what: whole units of `quote` per whole unit of `base`."""

    base: str
    quote: str

    def __str__(self) -> str:
        return f"{self.base}/{self.quote}"


@dataclass(frozen=True, slots=True)
class Ticker:
    """What a source's answer says of a pair. `at`: its own time, where it tells one."""

    bid: Fraction | None
    ask: Fraction | None
    price: Fraction
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Quote:
    """What a source said of a pair. `at` is the source's time (ours where it tells none), `fetched_at` ours."""

    pair: Pair
    source: str
    bid: Fraction | None
    ask: Fraction | None
    price: Fraction
    at: datetime
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings demand of a rate. `sources` are in their order.

    Shares: `max_deviation` of the median, `max_jump` of the reading before, `max_depeg` of what a stable coin promises.
    """

    sources: tuple[str, ...] = ()
    min_sources: int = 2
    max_age: timedelta = timedelta(seconds=300)
    fiat_max_age: timedelta = timedelta(days=6)
    max_deviation: Fraction = Fraction(2, 100)
    max_jump: Fraction = Fraction(20, 100)
    max_depeg: Fraction = Fraction(2, 100)
    pivots: tuple[str, ...] = ("USD", "BTC")
    fixed: Mapping[str, Fraction] = field(default_factory=dict)


class Reason(StrEnum):
    """Why a quote was not used."""

    STALE = "stale"
    OUTLIER = "outlier"
    INVERTED = "inverted"
    DISAGREES = "disagrees"
    JUMPED = "jumped"


class Lack(StrEnum):
    """Why there is no rate."""

    TOO_FEW = "too few fresh sources"
    DISAGREEMENT = "the sources disagree"
    JUMP = "the rate jumped, and no second reading has confirmed it yet"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A quote that was looked at and not used."""

    quote: Quote
    reason: Reason


@dataclass(frozen=True, slots=True)
class Leg:
    """One step of a rate, in one direction: its value, and the quotes it is made of, which may be of the inverse pair.

    `how` is "median(kraken,coinbase)", "ecb" or "fixed".
    """

    pair: Pair
    value: Fraction
    how: str
    bid: Fraction | None = None
    ask: Fraction | None = None
    used: tuple[Quote, ...] = ()
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True, slots=True)
class Rate:
    """`value` whole units of currency per whole unit of an asset's symbol, from where and of when.

    `at` is the time of the oldest quote that was used. `bid` and `ask` are those of the market, before the spread;
    `value` includes it.
    """

    value: Fraction
    source: str
    at: datetime
    bid: Fraction | None = None
    ask: Fraction | None = None
    legs: tuple[Leg, ...] = ()
    pivot: str | None = None
    spread_ppm: int = 0


@dataclass(frozen=True, slots=True)
class NoRate:
    """There is no rate of a pair now. `dropped`: the quotes that there were."""

    pair: Pair
    lack: Lack
    dropped: tuple[Dropped, ...] = ()


Quotes = Mapping[Pair, tuple[Quote, ...]]
"""Quotes by market pair."""


class AlarmKind(Words):
    """What is wrong with a source, a quote or a rate. The table of alarms takes these and no others."""

    SOURCE_FAILED = "source_failed"
    ANSWER_REFUSED = "answer_refused"
    QUOTE_DROPPED = "quote_dropped"
    RATE_AGEING = "rate_ageing"
    RATE_JUMPED = "rate_jumped"
    DEPEGGED = "depegged"
    NO_RATE = "no_rate"


@dataclass(frozen=True, slots=True)
class Alarm:
    """What an operator should know; '' where no source or pair is meant."""

    kind: AlarmKind
    source: str
    pair: str
    detail: str
