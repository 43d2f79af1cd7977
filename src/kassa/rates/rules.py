"""Which rate applies to a pair: the median of fresh sources that agree, directly or through a pivot. Pure.

No order of quotes, sources or dictionaries matters: the same facts at the same moment give the same rate.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from kassa.core.money import format_rate
from kassa.rates.markets import ANCHOR, PEGS, REFERENCE, is_fiat, market
from kassa.rates.model import (
    Alarm,
    AlarmKind,
    Dropped,
    Lack,
    Leg,
    NoRate,
    Pair,
    Policy,
    Quote,
    Quotes,
    Rate,
    Reason,
    Ticker,
)

PLACES = 10**18
"""A rate has at most this fine a grain: what is shown is then exactly what was reckoned with."""
AHEAD = timedelta(seconds=60)
"""How far a source's clock may be ahead of ours."""
LONGEST_BACKOFF_SECONDS = 600


def fault_of(ticker: Ticker, max_deviation: Fraction, now: datetime) -> str | None:
    """Say what makes a source's answer unusable, or None: its numbers, or a time that has not come yet."""
    numbers = [number for number in (ticker.price, ticker.bid, ticker.ask) if number is not None]
    if any(number <= 0 for number in numbers):
        return "a price is not above zero"
    if any(not Fraction(1, PLACES) <= number < PLACES for number in numbers):
        return "a price is beyond all measure"
    if ticker.bid is not None and ticker.ask is not None:
        if ticker.bid > ticker.ask:
            return "the bid is above the ask"
        if ticker.ask - ticker.bid > max_deviation * ticker.bid:
            return "bid and ask are too far apart to say anything"
    if ticker.at is not None and ticker.at - now > AHEAD:
        return "its time lies in the future"
    return None


def find(base: str, quote: str, quotes: Quotes, policy: Policy, now: datetime) -> Rate | NoRate:
    """Return the rate of a symbol in a currency at a moment, or why there is none.

    The same code on both sides needs no rate. A fixed pair holds at every moment: it is as fresh as `now`. Else the
    pair's own market decides; where too few sources quote it, the first pivot to which both sides have a rate. A market
    whose sources contradict each other, or have just jumped together, is not gone round, be it the pair's own or one on
    the way through a pivot: then there is no rate.
    """
    if base == quote:
        return Rate(Fraction(1), "same", now)
    pair = Pair(base, quote)
    direct = _leg(pair, quotes, policy, now)
    if isinstance(direct, Leg):
        return _rate((direct,), None, direct.how, now) or NoRate(pair, Lack.TOO_FEW)
    if direct.lack is Lack.TOO_FEW:
        for pivot in policy.pivots:
            if pivot in (base, quote):
                continue
            crossed = _cross(pair, pivot, quotes, policy, now)
            if isinstance(crossed, Rate) or crossed.lack is not Lack.TOO_FEW:
                return crossed
    return direct


def holds_until(quotes: Quotes, policy: Policy, now: datetime) -> datetime:
    """Return the last moment at which time alone has changed no rate that is made of these quotes at `now`.

    What needs no quote (`find`) is as of now, and the same later.
    """
    last = datetime.max.replace(tzinfo=UTC)
    for quote in (quote for said in quotes.values() for quote in said):
        if quote.fetched_at > now:
            last = min(last, quote.fetched_at - timedelta.resolution)
        for age in (policy.max_age, policy.fiat_max_age):
            if now - quote.at <= age:
                last = min(last, quote.at + age)
    return last


def with_spread(rate: Rate, spread_ppm: int) -> Rate:
    """Return the rate at which a payer is charged: lower by `spread_ppm` parts per million, so that more units are due.

    Rounded DOWN too, in the merchant's favour. What needs no rate bears no spread.
    """
    if spread_ppm == 0 or rate.source == "same":
        return rate
    charged = _floor(rate.value * (1_000_000 - spread_ppm) / 1_000_000)
    return replace(rate, value=charged, spread_ppm=spread_ppm) if charged > 0 else rate


def backoff_seconds(every: int, failures: int, retry_after: int) -> int:
    """Return how long to leave a source alone: twice as long after each failure, at most ten minutes by ourselves."""
    if failures == 0:
        return every
    return max(every, retry_after, min(every << min(failures, 10), LONGEST_BACKOFF_SECONDS))


def alarms(asked: Iterable[Pair], quotes: Quotes, policy: Policy, now: datetime) -> list[Alarm]:
    """Return what an operator should know of the rates of some pairs.

    Those that have none; those that will have none when their quotes grow twice as old; those that jumped; and quotes
    that contradict the others. A stale quote is no alarm of its own: its source has failed, or nobody trades there.
    """
    found = set()
    earlier = replace(policy, max_age=policy.max_age / 2)
    for pair in asked:
        rate = find(pair.base, pair.quote, quotes, policy, now)
        if isinstance(rate, NoRate):
            found.add(Alarm(AlarmKind.NO_RATE, "", str(pair), _lack(rate)))
            if rate.lack is Lack.JUMP:
                found.add(Alarm(AlarmKind.RATE_JUMPED, "", str(pair), _lack(rate)))
        elif isinstance(ageing := find(pair.base, pair.quote, quotes, earlier, now), NoRate):
            found.add(Alarm(AlarmKind.RATE_AGEING, "", str(pair), f"half of max_age has passed: {_lack(ageing)}"))
        dropped = rate.dropped if isinstance(rate, NoRate) else [each for leg in rate.legs for each in leg.dropped]
        found |= {
            Alarm(AlarmKind.QUOTE_DROPPED, each.quote.source, str(each.quote.pair), each.reason.value)
            for each in dropped
            if each.reason not in (Reason.STALE, Reason.JUMPED)
        }
    return sorted(found, key=lambda alarm: (alarm.kind, alarm.source, alarm.pair, alarm.detail))


def depegs(
    symbols: Iterable[str], quotes: Quotes, policy: Policy, now: datetime, standing: Iterable[Alarm] = ()
) -> list[Alarm]:
    """Return an alarm for each stable coin that is worth more or less than it promises, by more than `max_depeg`.

    One of the `standing` alarms is over when a rate says that the coin is within half of that again: a coin at the very
    bound would be offered and withdrawn by turns, and where a coin falls, sources contradict each other.
    """
    fallen = {alarm.pair: alarm for alarm in standing if alarm.kind is AlarmKind.DEPEGGED}
    found = []
    for coin in sorted(PEGS.keys() & set(symbols)):
        pair, rate = f"{coin}/{PEGS[coin]}", find(coin, PEGS[coin], quotes, policy, now)
        if isinstance(rate, NoRate):
            found += [fallen[pair]] if pair in fallen else []
        elif abs(rate.value - 1) > (policy.max_depeg / 2 if pair in fallen else policy.max_depeg):
            found.append(Alarm(AlarmKind.DEPEGGED, "", pair, f"{format_rate(rate.value)} instead of 1"))
    return found


def _lack(rate: NoRate) -> str:
    told = ", ".join(f"{each.quote.source} {each.reason}" for each in rate.dropped)
    return f"{rate.lack} ({told})" if told else str(rate.lack)


def _cross(pair: Pair, pivot: str, quotes: Quotes, policy: Policy, now: datetime) -> Rate | NoRate:
    first = _leg(Pair(pair.base, pivot), quotes, policy, now)
    second = _leg(Pair(pivot, pair.quote), quotes, policy, now)
    if isinstance(first, Leg) and isinstance(second, Leg):
        crossed = _rate((first, second), pivot, f"{first.how}*{second.how} via {pivot}", now)
        return crossed or NoRate(pair, Lack.TOO_FEW)
    lacking = [leg for leg in (first, second) if isinstance(leg, NoRate)]
    # A side that nobody quotes leads nowhere, whatever the other's sources say: the next pivot may.
    lack = Lack.TOO_FEW if any(leg.lack is Lack.TOO_FEW for leg in lacking) else lacking[0].lack
    return NoRate(pair, lack, tuple(each for leg in lacking for each in leg.dropped))


def _rate(legs: tuple[Leg, ...], pivot: str | None, source: str, now: datetime) -> Rate | None:
    first, *others = legs
    value, bid, ask = first.value, first.bid or first.value, first.ask or first.value
    for leg in others:
        value, bid, ask = value * leg.value, bid * (leg.bid or leg.value), ask * (leg.ask or leg.value)
    value = _floor(value)
    if value == 0:
        return None
    at = min((quote.at for leg in legs for quote in leg.used), default=now)
    sided = any(leg.bid is not None for leg in legs)
    return Rate(value, source, at, bid if sided else None, ask if sided else None, legs, pivot)


def _floor(value: Fraction) -> Fraction:
    # Down, in the merchant's favour: by less than 1 in 10**18.
    return Fraction(value.numerator * PLACES // value.denominator, PLACES)


def _leg(pair: Pair, quotes: Quotes, policy: Policy, now: datetime) -> Leg | NoRate:
    fixed = _fixed(pair, policy.fixed)
    if fixed is not None:
        return Leg(pair, fixed, "fixed")
    if is_fiat(pair.base) and is_fiat(pair.quote):
        return _reference(pair, quotes, policy, now)
    traded = market(pair.base, pair.quote)
    leg = _judge(traded, quotes.get(traded, ()), policy, now)
    if isinstance(leg, NoRate):
        return replace(leg, pair=pair)
    return leg if traded == pair else _inverse(leg)


def _fixed(pair: Pair, fixed: Mapping[str, Fraction]) -> Fraction | None:
    value = fixed.get(f"{pair.base}/{pair.quote}")
    if value is None and (inverse := fixed.get(f"{pair.quote}/{pair.base}")) is not None:
        return 1 / inverse
    return value


def _inverse(leg: Leg) -> Leg:
    bid, ask = (None if side is None else 1 / side for side in (leg.ask, leg.bid))
    return replace(leg, pair=Pair(leg.pair.quote, leg.pair.base), value=1 / leg.value, bid=bid, ask=ask)


def _reference(pair: Pair, quotes: Quotes, policy: Policy, now: datetime) -> Leg | NoRate:
    value, used = Fraction(1), []
    for code, side in ((pair.base, -1), (pair.quote, 1)):
        if code == ANCHOR:
            continue
        newest = _newest(quotes.get(Pair(ANCHOR, code), ()), (REFERENCE,), now)
        if not newest or now - newest[0].at > policy.fiat_max_age:
            return NoRate(pair, Lack.TOO_FEW, tuple(Dropped(quote, Reason.STALE) for quote in newest))
        value *= newest[0].price ** side
        used.append(newest[0])
    return Leg(pair, value, REFERENCE, used=tuple(used))


def _judge(pair: Pair, quotes: Iterable[Quote], policy: Policy, now: datetime) -> Leg | NoRate:
    """Return what fresh sources agree on; nothing where it is far from what they agreed on one reading before.

    Where each of a majority has said the same twice, the reading before says it too: then the jump is believed.
    """
    known = list(quotes)
    leg = _agreed(pair, known, policy, now)
    if isinstance(leg, NoRate):
        return leg
    before = _agreed(pair, _readings_before(known, now), replace(policy, max_age=timedelta.max), now)
    if isinstance(before, Leg) and max(leg.value / before.value, before.value / leg.value) - 1 > policy.max_jump:
        return NoRate(pair, Lack.JUMP, (*leg.dropped, *(Dropped(quote, Reason.JUMPED) for quote in leg.used)))
    return leg


def _readings_before(quotes: Sequence[Quote], now: datetime) -> list[Quote]:
    """Return what each source said before its newest quote; the same answer given again is no other reading."""
    newest = {quote.source: quote for quote in sorted(quotes, key=_age) if quote.fetched_at <= now}
    return [quote for quote in quotes if quote.source in newest and quote.at < newest[quote.source].at]


def _agreed(pair: Pair, quotes: Iterable[Quote], policy: Policy, now: datetime) -> Leg | NoRate:
    sources = [source for source in policy.sources if source != REFERENCE]
    newest = _newest(quotes, sources, now)
    stale = tuple(Dropped(quote, Reason.STALE) for quote in newest if now - quote.at > policy.max_age)
    fresh = [quote for quote in newest if now - quote.at <= policy.max_age]
    if len(fresh) < max(1, policy.min_sources):
        return NoRate(pair, Lack.TOO_FEW, stale)
    dropped = _odd_ones(fresh, policy.max_deviation)
    odd = [each.quote for each in dropped]
    used = tuple(quote for quote in fresh if quote not in odd)
    # Those who agree must be the majority: of three that all differ, the middle one is no witness.
    if len(used) < policy.min_sources or 2 * len(used) <= len(fresh):
        return NoRate(pair, Lack.DISAGREEMENT, (*stale, *dropped))
    return Leg(
        pair,
        _median([quote.price for quote in used]),
        f"median({','.join(quote.source for quote in used)})",
        _median([quote.bid or quote.price for quote in used]),
        _median([quote.ask or quote.price for quote in used]),
        used,
        (*stale, *dropped),
    )


def _newest(quotes: Iterable[Quote], sources: Sequence[str], now: datetime) -> list[Quote]:
    """Return the newest quote of each source that was known at `now`, in the order of `sources`."""
    newest: dict[str, Quote] = {}
    for quote in sorted(quotes, key=_age):
        if quote.fetched_at <= now:
            newest[quote.source] = quote
    return [newest[source] for source in sources if source in newest]


def _age(quote: Quote) -> tuple[object, ...]:
    return quote.fetched_at, quote.at, quote.price, quote.bid or 0, quote.ask or 0


def _odd_ones(fresh: Sequence[Quote], max_deviation: Fraction) -> list[Dropped]:
    middle = _median([quote.price for quote in fresh])
    if len(fresh) == 2:
        # Between two nobody can tell who is right: both or neither.
        low, high = sorted(quote.price for quote in fresh)
        if high - low <= max_deviation * low:
            return []
        reason = Reason.INVERTED if _near(1 / low, high, max_deviation) else Reason.DISAGREES
        return [Dropped(quote, reason) for quote in fresh]
    return [
        Dropped(quote, Reason.INVERTED if _near(1 / quote.price, middle, max_deviation) else Reason.OUTLIER)
        for quote in fresh
        if not _near(quote.price, middle, max_deviation)
    ]


def _near(price: Fraction, middle: Fraction, max_deviation: Fraction) -> bool:
    return abs(price - middle) <= max_deviation * middle


def _median(values: Sequence[Fraction]) -> Fraction:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
