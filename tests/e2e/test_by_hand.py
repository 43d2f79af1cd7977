"""A command that is typed by hand has the settings that the units have."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.program import KASSA

ROOT = Path(__file__).parent.parent.parent
SUDO = """#!/bin/sh
# Keeps of the environment what it is asked to, as sudo does, and notes as whom.
keep=
while :; do case "$1" in
    -u) echo "$2" > "$NOTED"; shift 2 ;;
    --preserve-env=*) keep="${1#*=}"; shift ;;
    *) break ;;
esac; done
for name in $(env | sed -n 's/^\\(KASSA_[A-Z0-9_]*\\)=.*/\\1/p'); do
    case ",$keep," in *",$name,"*) ;; *) unset "$name" ;; esac
done
exec "$@"
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with what the units lean on, and `kassa` of ops/ that leans on it."""
    (tmp_path / "kassa.toml").write_text(f'data_dir = "{tmp_path}/data"\n[log]\nlevel = "debug"\n')
    (tmp_path / "kassa.env").write_text("KASSA_DATABASE_URL=postgresql://k:p&w'$x@127.0.0.1:9/kassa\n")
    (tmp_path / "bin").mkdir()
    script = (ROOT / "ops" / "kassa").read_text()
    for named, here in (("/etc/kassa", tmp_path), ("/opt/kassa/bin/kassa", KASSA)):
        assert named in script
        script = script.replace(named, str(here))
    for name, text in (("kassa", script), ("sudo", SUDO)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def database_asked(machine: Path, **environment: str) -> str:
    """Return what the doctor says of the database, run by hand."""
    found = subprocess.run(
        [machine / "bin" / "kassa", "doctor", "--json"],
        env=os.environ | {"PATH": f"{machine}/bin:{os.environ['PATH']}", "NOTED": str(machine / "as")} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout, found.stderr
    return next(each["detail"] for each in json.loads(found.stdout)["findings"] if each["check"] == "database")


def test_a_command_by_hand_is_the_services_users_and_has_the_units_variables(machine: Path) -> None:
    assert "('127.0.0.1', 9)" in database_asked(machine)
    assert (machine / "as").read_text() == "kassa\n"


def test_a_variable_that_is_given_by_hand_wins_and_is_not_lost_on_the_way(machine: Path) -> None:
    assert "('127.0.0.1', 13)" in database_asked(machine, KASSA_DATABASE_URL="postgresql://k:p@127.0.0.1:13/kassa")
