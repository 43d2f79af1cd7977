"""Find which of a few 64-bit keys are among many watched ones, which are sorted."""

import numpy as np
from numpy.typing import NDArray

from kassa.chains.base import Keys

NO_KEYS: Keys = np.empty(0, np.int64)


def members(keys: Keys, watched: Keys) -> NDArray[np.bool_]:
    """Tell for each key whether it is among the watched ones."""
    if not watched.size or not keys.size:
        return np.zeros(keys.size, np.bool_)
    place = np.searchsorted(watched, keys)
    place[place == watched.size] = 0
    found: NDArray[np.bool_] = watched[place] == keys
    return found
