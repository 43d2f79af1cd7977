"""What the books say of an address, and what a node shows of it: the two sides of a reconciliation."""

from collections.abc import Callable
from dataclasses import dataclass

Tell = Callable[[int, int], None]
"""Hear how far a long piece of work has come: done, and of how many."""


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that the books say has reached an address: `units` of all entries about it.

    `block` is the hash of the block that holds it, as far as we know (None: it has none).
    """

    txid: str
    position: str
    units: int
    block: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Everything that the books say has reached one address in one asset."""

    script: bytes
    asset: str
    movements: tuple[Movement, ...] = ()

    @property
    def units(self) -> int:
        return sum(movement.units for movement in self.movements)


@dataclass(frozen=True, slots=True)
class Received:
    """What a node shows to have reached an address; `exact`: all of it, otherwise at least so much."""

    units: int
    exact: bool = True
