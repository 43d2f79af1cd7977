"""How slow a processor is, for bounds on what it may take of one: a figure of one machine is missed on another."""

from time import process_time

_USUAL = 0.02
"""Seconds for `_LOOPS` where the bounds were measured."""
_LOOPS = 1_000_000


def within(seconds: float, bound: float) -> bool:
    """Tell whether something took less of the processor than a bound for the machine where that was measured."""
    return seconds < bound or seconds < bound * _slowness()


def _slowness() -> float:
    began = process_time()
    for _ in range(_LOOPS):
        pass
    return (process_time() - began) / _USUAL
