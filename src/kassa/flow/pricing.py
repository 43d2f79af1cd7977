"""What an asset is worth in a currency: the newest stored quotes now, or those of a moment that has passed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from asyncpg.pool import Pool

import kassa.rates.store as rates
import kassa.stores.store as stores
from kassa.chains.base import Chain
from kassa.core.money import Asset
from kassa.db.pool import Tx
from kassa.house import House
from kassa.invoices.quote import Limit, tiers_of
from kassa.invoices.tariffs import Tariff
from kassa.rates import markets
from kassa.rates.model import Alarm, NoRate, Pair, Policy, Rate
from kassa.rates.resource import method_text
from kassa.rates.rules import alarms, depegs, find, holds_until, with_spread
from kassa.settings import Network, Settings

Asked = tuple[str, str]
"""A symbol and a currency."""


def policy(settings: Settings) -> Policy:
    """Return what the settings demand of a rate."""
    chosen = settings.rates
    return Policy(
        sources=chosen.sources,
        min_sources=chosen.min_sources,
        max_age=timedelta(seconds=chosen.max_age_seconds),
        fiat_max_age=timedelta(seconds=chosen.fiat_max_age_seconds),
        max_deviation=chosen.max_deviation,
        max_jump=chosen.max_jump,
        max_depeg=chosen.max_depeg,
        pivots=chosen.pivots,
        fixed=chosen.fixed,
    )


async def tariffs(
    house: House, assets: Sequence[Asset], code: str, spread_ppm: int, now: datetime
) -> dict[Asset, Tariff]:
    """Return what assets cost in a currency now, at a store's spread: worked out once while nothing changes it."""
    held, keys = house.tariffs, {asset: (asset.id, code, spread_ppm) for asset in assets}
    found = {asset: tariff for asset, key in keys.items() if (tariff := held.get(key, house.settings, now)) is not None}
    if left := [asset for asset in assets if asset not in found]:
        made, last = await _tariffs(house, left, code, spread_ppm, now)
        for asset, tariff in made.items():
            held.keep(keys[asset], house.settings, tariff, now, last)
        found |= made
    return found


async def _tariffs(
    house: House, assets: Sequence[Asset], code: str, spread_ppm: int, now: datetime
) -> tuple[dict[Asset, Tariff], datetime]:
    limits = {asset: limits_of(house.settings.networks[asset.network]) for asset in assets}
    wanted = {(asset.symbol, code) for asset in assets}
    valued = {(asset.symbol, limit.currency) for asset in assets for limit in limits[asset] if limit.currency}
    rates, last = await rates_until(house, wanted | valued, now)
    found = {}
    for asset in assets:
        market, known = rates[asset.symbol, code], _limit_rates(asset, limits[asset], rates)
        rate = market if isinstance(market, NoRate) else with_spread(market, spread_ppm)
        method = "{}" if isinstance(rate, NoRate) else method_text(rate)
        found[asset] = Tariff(rate, method, tiers_of(limits[asset], asset, known))
    return found, last


def _limit_rates(asset: Asset, limits: Sequence[Limit], rates: Mapping[Asked, Rate | NoRate]) -> dict[str, Rate]:
    found = {limit.currency: rates[asset.symbol, limit.currency] for limit in limits if limit.currency}
    return {code: rate for code, rate in found.items() if isinstance(rate, Rate)}


def limits_of(network: Network) -> list[Limit]:
    """Return which amounts need how many confirmations on a network."""
    # A bound says how much depth alone is trusted with; what lies above all bounds waits for the network's own word.
    by_network = network.finality != "blocks"
    return [
        Limit(tier.blocks, tier.up_to, tier.currency, final=by_network and tier.up_to is None)
        for tier in network.confirmations
    ]


async def rates_now(house: House, asked: Iterable[Asked], now: datetime) -> Mapping[Asked, Rate | NoRate]:
    """Return the rates of symbols in currencies, without a question to anyone but, once a second, our own database."""
    return (await rates_until(house, asked, now))[0]


async def rates_until(
    house: House, asked: Iterable[Asked], now: datetime
) -> tuple[Mapping[Asked, Rate | NoRate], datetime]:
    """Return what `rates_now` does, and the last moment at which it would find the same."""
    demanded, pairs = policy(house.settings), set(asked)
    needed = {each for base, quote in pairs for each in markets.needed(base, quote, demanded)}
    quotes, read_until = await house.board.readings_until(house.database, needed, demanded.sources, now)
    rates = {(base, quote): find(base, quote, quotes, demanded, now) for base, quote in pairs}
    return rates, min(read_until, holds_until(quotes, demanded, now))


async def rates_at(
    tx: "Tx | Pool[Any]", settings: Settings, asked: Iterable[Asked], moment: datetime
) -> Mapping[Asked, Rate | NoRate]:
    """Return rates as they were at a moment: by what was stored then, not by what is known now."""
    demanded, pairs = policy(settings), list(asked)
    needed = {each for base, quote in pairs for each in markets.needed(base, quote, demanded)}
    quotes = await rates.readings(tx, needed, demanded.sources, moment)
    return {(base, quote): find(base, quote, quotes, demanded, moment) for base, quote in pairs}


async def markets_at(
    tx: "Tx | Pool[Any]", settings: Settings, asked: Collection[tuple[Asked, datetime]]
) -> Mapping[tuple[Asked, datetime], Rate | NoRate]:
    """Return what the market said, each at a moment of its own, whatever rates the settings fix: by one query."""
    demanded = policy(replace(settings, rates=replace(settings.rates, fixed={})))
    needed = {each: list(markets.needed(*each, demanded)) for each, _ in asked}
    read = await rates.readings_at(tx, {(pair, at) for each, at in asked for pair in needed[each]}, demanded.sources)
    found = {}
    for each, at in asked:
        base, quote = each
        found[each, at] = find(base, quote, {pair: read[pair, at] for pair in needed[each]}, demanded, at)
    return found


async def priced_pairs(tx: "Tx | Pool[Any]", settings: Settings, chains: Mapping[str, Chain]) -> list[Asked]:
    """Return each symbol of a configured network beside each currency that a store or a tier is in."""
    symbols = {asset.symbol for chain in chains.values() for asset in chain.assets}
    tiers = [tier for network in settings.networks.values() for tier in network.confirmations]
    currencies = {*await stores.currencies(tx), *(tier.currency for tier in tiers if tier.currency is not None)}
    return [(symbol, code) for symbol in sorted(symbols) for code in sorted(currencies)]


async def wanted_markets(tx: Tx, house: House) -> set[Pair]:
    """Return the market pairs to ask the sources for."""
    demanded, priced = policy(house.settings), await priced_pairs(tx, house.settings, house.chains)
    reference = {Pair(markets.ANCHOR, code) for code in markets.REFERENCE_CODES}
    asked = [*priced, *_pegs(priced)]
    return reference | {each for base, quote in asked for each in markets.needed(base, quote, demanded)}


async def rate_alarms(tx: Tx, house: House, now: datetime) -> list[Alarm]:
    """Return what an operator should know of the rates that this installation needs."""
    demanded, priced = policy(house.settings), await priced_pairs(tx, house.settings, house.chains)
    asked = [*priced, *_pegs(priced)]
    needed = {each for base, quote in asked for each in markets.needed(base, quote, demanded)}
    quotes = await rates.readings(tx, needed, demanded.sources, now)
    symbols = {base for base, _ in priced}
    found = alarms([Pair(*each) for each in priced], quotes, demanded, now)
    standing = [each.alarm for each in await rates.open_alarms(tx, demanded.sources)]
    return [*found, *depegs(symbols, quotes, demanded, now, standing)]


def _pegs(priced: Iterable[Asked]) -> list[Asked]:
    """Return the stable coins among what is priced, each beside what it promises to be worth."""
    return [(base, markets.PEGS[base]) for base in {base for base, _ in priced} if base in markets.PEGS]
