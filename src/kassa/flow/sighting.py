"""What is fixed of a transfer when it is first seen: what it is worth then, and how deep a deposit must lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

import kassa.invoices.store as invoices
import kassa.payments.store as payments
import kassa.stores.store as stores
import kassa.watch.store as watch
from kassa.db.pool import Tx
from kassa.flow.picture import assets
from kassa.flow.pricing import Asked, limits_of, rates_at
from kassa.house import House
from kassa.invoices.quote import Limit, tiers_of
from kassa.invoices.store import Lock
from kassa.payments.model import Basis
from kassa.payments.rules import Found
from kassa.payments.settling import after
from kassa.rates.model import NoRate, Rate
from kassa.rates.rules import with_spread
from kassa.wallets.model import Owner

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Case:
    """A transfer, and what its value depends on: its invoice's lock or a deposit's limits, and the books' currency.

    `at_risk`: units of the same customer in the same asset that came before a deposit and do not lie deep yet.
    """

    found: Found
    lock: Lock | None
    limits: tuple[Limit, ...]
    books_in: str
    at_risk: int

    @property
    def symbol(self) -> str:
        return self.found.transfer.asset.partition("@")[0]

    @property
    def late_in(self) -> str | None:
        """The currency of an invoice whose rates were no longer held."""
        return self.lock.currency if self.lock is not None and self.found.first_seen_at > self.lock.until else None

    @property
    def priced(self) -> bool:
        """Whether an option's rate says what it is worth in the books."""
        lock = self.lock
        return lock is not None and self.found.transfer.asset in lock.assets and lock.currency == self.books_in

    def asked(self) -> set[Asked]:
        codes = {limit.currency for limit in self.limits} | {self.late_in, None if self.priced else self.books_in}
        return {(self.symbol, code) for code in codes if code is not None}


async def bases(tx: Tx, house: House, found: Sequence[tuple[Found, Owner]]) -> dict[int, Basis]:
    """Return what is fixed of transfers at their first sight, by their place in `found`.

    By the rates that were stored at that moment, not by what is known now.
    """
    cases = await _cases(tx, house, found)
    asked: dict[datetime, set[Asked]] = {}
    for case in cases.values():
        asked.setdefault(case.found.first_seen_at, set()).update(case.asked())
    rates = {
        moment: await rates_at(tx, house.settings, pairs, moment) if pairs else {} for moment, pairs in asked.items()
    }
    return {place: _basis(house, case, rates[case.found.first_seen_at]) for place, case in cases.items()}


async def _cases(tx: Tx, house: House, found: Sequence[tuple[Found, Owner]]) -> dict[int, _Case]:
    ids = sorted({owner.invoice_id for _, owner in found if owner.invoice_id is not None})
    locks = await invoices.locks(tx, ids) if ids else {}
    owned = sorted({owner.store_id for _, owner in found if owner.store_id is not None})
    currencies = await stores.currencies_of(tx, owned) if owned else {}
    cases, at_risk = {}, await _at_risk(tx, house, found)
    for place, (f, owner) in enumerate(found):
        if owner.store_id is None:
            continue
        lock = None if owner.invoice_id is None else locks[owner.invoice_id]
        limits = () if lock is not None else tuple(limits_of(house.settings.networks[f.transfer.key.network]))
        cases[place] = _Case(f, lock, limits, currencies[owner.store_id], at_risk.get(place, 0))
    return cases


async def _at_risk(tx: Tx, house: House, found: Sequence[tuple[Found, Owner]]) -> dict[int, int]:
    """Return what each deposit adds to: many small ones must not become credit sooner than one of the same sum."""
    deposits = [
        (place, f, owner.customer_id) for place, (f, owner) in enumerate(found) if owner.customer_id is not None
    ]
    if not deposits:
        return {}
    network = deposits[0][1].transfer.key.network
    deep = await _deep(tx, house, network)
    owners, txids = {owner for _, _, owner in deposits}, {f.transaction.txid for _, f, _ in deposits}
    sums = await payments.shallow(tx, network, owners, deep, txids)
    before = {}
    for place, f, owner in deposits:
        purse = owner, f.transfer.asset
        before[place] = sums.get(purse, 0)
        if f.block is None or f.block.height > deep:
            sums[purse] = before[place] + f.transfer.units
    return before


async def _deep(tx: Tx, house: House, network: str) -> int:
    """Return the height up to which blocks lie as deep as the largest amount demands; -1 for none."""
    position, limits = (await watch.positions(tx))[network], limits_of(house.settings.networks[network])
    if position.tip is None:
        return -1
    deep = position.tip.height - max(limit.blocks for limit in limits) + 1
    if any(limit.final for limit in limits):
        deep = min(deep, -1 if position.final is None else position.final)
    return deep


def _basis(house: House, case: _Case, rates: Mapping[Asked, Rate | NoRate]) -> Basis:
    late = None if case.late_in is None else _rate(case, rates, case.late_in)
    book = None if case.priced else _rate(case, rates, case.books_in)
    if case.lock is None:
        named = {limit.currency for limit in case.limits if limit.currency is not None}
        valued = {code: rate for code in named if (rate := _rate(case, rates, code)) is not None}
        tiers = tiers_of(case.limits, assets(house)[case.found.transfer.asset], valued)
        return Basis(book=book, tiers=after(tiers, case.at_risk))
    return Basis(late=None if late is None else with_spread(late, case.lock.spread_ppm), book=book)


def _rate(case: _Case, rates: Mapping[Asked, Rate | NoRate], code: str) -> Rate | None:
    rate = rates[case.symbol, code]
    if isinstance(rate, Rate):
        return rate
    # A late payment is then valued at the locked rate, a deposit settles by the strictest tier.
    log.warning("no rate for a transfer at its first sight", txid=case.found.transfer.key.txid, asset=case.symbol)
    return None
