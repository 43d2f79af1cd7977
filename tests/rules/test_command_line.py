"""What the command line refuses before anything is read or asked."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kassa import __version__, cli
from kassa.backup import archive
from kassa.core.errors import BackupError, SettingsError

NOWHERE = ("--config", "nowhere.toml")


@pytest.mark.parametrize(
    "command",
    [
        ("audit", "accept", "--reason"),
        ("address-key", "renew", "--reason"),
        ("alert", "acknowledge", "alt_1", "--note"),
        ("alert", "close", "alt_1", "--note"),
    ],
)
@pytest.mark.parametrize("reason", ["", " ", "a\x1b[31mb", "two\nlines", "x" * 1_001])
def test_a_decision_is_kept_with_a_reason_that_says_something(command: tuple[str, ...], reason: str) -> None:
    refused = CliRunner().invoke(cli.app, [*command, reason, *NOWHERE])
    assert refused.exit_code == 2, refused.output
    assert "say why" in refused.output
    assert isinstance(CliRunner().invoke(cli.app, [*command, "restored", *NOWHERE]).exception, SettingsError)


@pytest.mark.parametrize(
    "command",
    [
        ("network", "resume", "bitcoin", "--depth", str(2**63)),
        ("audit", "export", "--after", str(2**63)),
        ("restore", "file", "--identity", "key", "--skip", str(2**31)),
    ],
)
def test_a_number_that_nothing_can_hold_is_refused(command: tuple[str, ...]) -> None:
    assert CliRunner().invoke(cli.app, [*command, *NOWHERE]).exit_code == 2


def test_words_that_are_no_text_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["kassa", "store", "create", "--name", "\udcff", "--currency", "EUR", *NOWHERE])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "kassa: '\\xff' is no text in UTF-8: type it again\n"


def run(*words: str, **how: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from kassa.cli import main; main()", *words]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **how)


@pytest.mark.parametrize("words", [["--help"], ["version"]])
def test_an_answer_that_cannot_be_written_is_said_in_a_line(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = run(*words, stdout=full)
    assert (done.returncode, done.stderr) == (1, "kassa: the answer could not be written: No space left on device\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_fault(closed: str, tmp_path: Path) -> None:
    def code(*words: str) -> tuple[int, str]:
        program = [sys.executable, "-c", "from kassa.cli import main; main()", *words]
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", *program]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert code("version")[0] == 0
    assert code("store", "list", *NOWHERE) == (1, "")  # what is wrong belongs into no answer


@pytest.mark.parametrize("name", ["PGHOST", "PGPASSWORD", "SSLKEYLOGFILE", "PROMETHEUS_MULTIPROC_DIR"])
def test_a_variable_for_another_program_is_not_followed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "elsewhere")
    assert CliRunner().invoke(cli.app, ["version"]).exit_code == 0
    assert name not in os.environ


def test_a_terminal_without_arrows_is_told_all_the_same(tmp_path: Path) -> None:
    nothing = {"KASSA_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x", "KASSA_DATA_DIR": str(tmp_path)}
    done = run("doctor", stdout=subprocess.PIPE, cwd=tmp_path, env=os.environ | nothing | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (1, "")
    assert "? start it, or correct database_url" in done.stdout


def test_why_a_backup_or_its_identity_cannot_be_read_is_said(tmp_path: Path) -> None:
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "key.txt", "No such file or directory")):
        with pytest.raises(BackupError, match=f"cannot be read: {why}"):
            archive.identities(path)
        with pytest.raises(BackupError, match=f"cannot be read: {why}"):
            archive.read(path, [], None, lambda _: None)


INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from {} import {}
main()
"""


@pytest.mark.parametrize(("ignored", "end"), [(False, (130, b"", b"")), (True, (0, f"{__version__}\n".encode(), b""))])
def test_ctrl_c_ends_in_silence_also_what_is_still_being_loaded(ignored: bool, end: tuple[int, bytes, bytes]) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    program = INTERRUPTED.format(*project["project"]["scripts"]["kassa"].split(":"))
    # Inherited, as behind nohup; or not, where the tests themselves run behind it.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        done = subprocess.run([sys.executable, "-c", program, "version"], capture_output=True, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stdout, done.stderr) == end
