"""What assets cost just now, in this process's memory: worked out once for all orders of the same moment."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from kassa.payments.model import Tier
from kassa.rates.model import NoRate, Rate

Key = tuple[str, str, int]
"""An asset's id, a currency, and a store's spread in parts per million."""

_MOST = 10_000  # some hundred bytes each


@dataclass(frozen=True, slots=True)
class Tariff:
    """An asset's part of all terms in a currency: the rate that payers are charged, how it came about, its tiers."""

    rate: Rate | NoRate
    method: str  # JSON
    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class _Held:
    tariff: Tariff
    first: datetime
    last: datetime
    of: object


class Tariffs:
    """Holds tariffs for the moments at which working them out anew would give the same."""

    def __init__(self) -> None:
        self._held: OrderedDict[Key, _Held] = OrderedDict()

    def get(self, key: Key, of: object, now: datetime) -> Tariff | None:
        """Return a tariff that holds now, if it is known; `of`: the settings that it must be of."""
        held = self._held.get(key)
        return held.tariff if held is not None and held.of is of and held.first <= now <= held.last else None

    def keep(self, key: Key, of: object, tariff: Tariff, first: datetime, last: datetime) -> None:
        """Hold a tariff for the moments from the first to the last."""
        self._held.pop(key, None)
        self._held[key] = _Held(tariff, first, last, of)
        if len(self._held) > _MOST:
            self._held.popitem(last=False)
