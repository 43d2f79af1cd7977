"""A rate and where it came from."""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Rate:
    """`value` whole units of currency per whole unit of an asset's symbol, as told by `source` at the time `at`."""

    value: Fraction
    source: str
    at: datetime
