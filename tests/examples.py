"""How many examples a property is tried with: a few and always the same, or in `make fuzz` many and always others."""

import os
from typing import Any

from hypothesis import settings

TIMES = int(os.environ.get("KASSA_FUZZ", "1"))


def examples(count: int) -> Any:  # a decorator, or settings to be loaded
    """Try so many examples, times as many while fuzzing."""
    return settings(max_examples=count * TIMES, derandomize=TIMES == 1)
