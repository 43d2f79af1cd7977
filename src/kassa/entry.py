"""Where the program begins: Ctrl-C ends it in silence also while it is still being loaded."""

import os
import signal
from types import FrameType


def main() -> None:
    """Load the command line, and run it."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # whoever started us may want it ignored
        signal.signal(signal.SIGINT, _end)
    from kassa.cli import main as run  # noqa: PLC0415 what takes time to load

    signal.signal(signal.SIGINT, before)
    run()


def _end(_signal: int, _frame: FrameType | None) -> None:
    # At once, for nothing is under way yet: an exception would be lost, and shown, where Python is just importing.
    os._exit(130)
