"""Run another program to its end, and say why when it fails."""

import subprocess
from pathlib import Path

from kassa.core.errors import SandboxError

LIMIT_SECONDS = 120


def run(command: list[str], folder: Path | None = None) -> str:
    """Return what a program printed; raise `SandboxError` if it is missing, fails or takes more than two minutes."""
    try:
        done = subprocess.run(  # noqa: S603 the words are our own
            command, cwd=folder, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS
        )
    except FileNotFoundError as error:
        raise SandboxError(f"{command[0]} is missing") from error
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{command[0]} took more than two minutes") from error
    except (subprocess.CalledProcessError, OSError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        raise SandboxError(f"{command[0]} failed: {detail.strip()[-300:]}") from error
    return done.stdout
