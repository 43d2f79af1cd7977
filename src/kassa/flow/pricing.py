"""What an asset is worth in a currency: the newest stored quotes now, or those of a moment that has passed."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from asyncpg.pool import Pool

import kassa.rates.store as rates
import kassa.stores.store as stores
from kassa.chains.base import Chain
from kassa.db.pool import Tx
from kassa.house import House
from kassa.rates import markets
from kassa.rates.model import Alarm, NoRate, Pair, Policy, Rate
from kassa.rates.rules import alarms, depegs, find
from kassa.settings import Settings

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


async def rates_now(house: House, asked: Iterable[Asked], now: datetime) -> Mapping[Asked, Rate | NoRate]:
    """Return the rates of symbols in currencies, without a question to anyone but, once a second, our own database."""
    demanded, pairs = policy(house.settings), set(asked)
    needed = {each for base, quote in pairs for each in markets.needed(base, quote, demanded)}
    quotes = await house.board.readings(house.database, needed, demanded.sources, now)
    return {(base, quote): find(base, quote, quotes, demanded, now) for base, quote in pairs}


async def rates_at(
    tx: "Tx | Pool[Any]", settings: Settings, asked: Iterable[Asked], moment: datetime
) -> Mapping[Asked, Rate | NoRate]:
    """Return rates as they were at a moment: by what was stored then, not by what is known now."""
    demanded, pairs = policy(settings), list(asked)
    needed = {each for base, quote in pairs for each in markets.needed(base, quote, demanded)}
    quotes = await rates.readings(tx, needed, demanded.sources, moment)
    return {(base, quote): find(base, quote, quotes, demanded, moment) for base, quote in pairs}


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
    return [*found, *depegs(symbols, quotes, demanded, now)]


def _pegs(priced: Iterable[Asked]) -> list[Asked]:
    """Return the stable coins among what is priced, each beside what it promises to be worth."""
    return [(base, markets.PEGS[base]) for base in {base for base, _ in priced} if base in markets.PEGS]
