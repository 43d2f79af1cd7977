"""Named points at which the process can be told to kill itself: how crashes are tested from outside.

`KASSA_CRASH=chain.commit:3` kills the process (SIGKILL, nothing is cleaned up) at its third pass of `chain.commit`.
Without the variable a point costs one comparison.
"""

import os
import signal

_point, _, _passes = os.environ.get("KASSA_CRASH", "").partition(":")
_to_come = iter(range(int(_passes or 1) - 1, -1, -1))


def crashpoint(name: str) -> None:
    """Kill this process here if the environment asks for it."""
    if name == _point and next(_to_come, None) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
