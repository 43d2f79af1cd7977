"""The commands about the books, as the real program runs them."""

import json
from pathlib import Path

from tests.e2e.test_cli import new_shell


def test_the_books_of_an_empty_installation_are_verified_reported_and_exported() -> None:
    with new_shell() as shell:
        made = json.loads(shell.run("store", "create", "--name", "N", "--currency", "EUR", "--test", "--json").stdout)
        store = made["store_id"]
        told = json.loads(shell.run("ledger", "verify", "--json").stdout)
        assert (told["failures"], told["counts"]["entries"]) == (0, 0)
        assert json.loads(shell.run("report", "sales", "--store", store, "--json").stdout) == {"data": []}
        days = ("--from", "2026-01-01", "--to", "2026-01-31")
        file = Path(shell.folder) / "books.csv"
        # Who may write in the folder lays a link where the file is made.
        theirs = file.with_name("theirs")
        theirs.write_text("")
        file.with_name("books.csv.part").symlink_to(theirs)
        shell.run("export", "--store", store, *days, "--format", "csv", "-o", str(file))
        assert file.read_text().startswith("entry_id,booked_at,")
        assert (file.is_symlink(), file.stat().st_mode & 0o777, theirs.read_text()) == (False, 0o600, "")
        wrong = shell.run("export", "--store", store, *days, "--format", "xls", code=1)
        assert "one of csv, jsonl, beancount" in wrong.stderr
        for first, last in (("2026-01-01", "9999-12-31"), ("2026-02-01", "2026-01-31")):
            refused = shell.run("export", "--store", store, "--from", first, "--to", last, code=1)
            assert refused.stdout == ""
            assert "Traceback" not in refused.stderr
        # Its node is not there: that is said, and is no success.
        failed = json.loads(shell.run("reconcile", "--json", code=1).stdout)
        assert [each["network"] for each in failed["failed"]] == ["bitcoin-regtest"]
