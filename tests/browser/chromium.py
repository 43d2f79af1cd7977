"""Find Chromium on this machine, or install Debian's: `python -m tests.browser.chromium` says which one is used.

A browser is no file that could be unpacked beside the system, as the nodes are: it starts itself again by its path.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
# In a container of root, the sandbox of Chromium has nothing to stand on; every page that it sees is our own.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


class NoBrowser(Exception):
    """There is no Chromium here, and it could not be installed; the text says what to do."""


def find_or_install() -> str:
    """Return the path of a Chromium: from PATH, else installed by apt-get as root (a minute, 400 MB).

    Safe when several processes ask at once. Raises `NoBrowser`.
    """
    with (Path(tempfile.gettempdir()) / f"kassa-chromium-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _on_path()
        if found is None:
            _install()
            found = _on_path()
    if found is None:
        raise NoBrowser("chromium was installed and is not on PATH: put it there and start again")
    return found


def _on_path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


def _install() -> None:
    remedy = "install it (Debian: apt-get install chromium), or put one on PATH, and start again"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise NoBrowser(f"the tests of the pages need Chromium, and only root can install it with apt-get: {remedy}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        done = subprocess.run(["apt-get", "-qq", *words], capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0:
            raise NoBrowser(f"apt-get {words[0]} failed ({done.stderr.strip()[-300:]}): {remedy}")


def main() -> int:
    """Install Chromium if need be; return 1 when it could not be had, having said why."""
    try:
        path = find_or_install()
    except NoBrowser as error:
        print(f"chromium: {error}", file=sys.stderr)
        return 1
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    print(f"chromium: {version} ({path})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
