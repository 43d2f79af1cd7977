"""The commands about the books. Heavy modules are imported inside them, so that `kassa --help` answers at once."""

import json
import sys
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from kassa.command import AsJson, Config, StoreId, ask, settings_of

_SAY_EVERY_SECONDS = 1


def reconcile(
    network: Annotated[str | None, typer.Option(help="The network's name in the settings; none: every one.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Compare the books with the nodes, address by address; exit code 1 where they differ."""
    from kassa.accounting import proving

    told = ask(proving.reconcile(settings_of(config), network, Progress()), silent=True)
    print(json.dumps(told) if as_json else "\n".join(proving.reconciliation_lines(told)))
    if told["differences"] or told["failed"]:
        raise typer.Exit(1)


def verify(config: Config = None, as_json: AsJson = False) -> None:
    """Work the books out anew from the stored facts and compare; reads only; exit code 1 where something is wrong."""
    from kassa.accounting import proving

    told = ask(proving.verify(settings_of(config), Progress()), silent=True)
    print(json.dumps(told) if as_json else "\n".join(proving.verification_lines(told)))
    if told["failures"]:
        raise typer.Exit(1)


def export(
    store: StoreId,
    first: Annotated[str, typer.Option("--from", help="The first day, in UTC: 2026-01-01")],
    last: Annotated[str, typer.Option("--to", help="The last day, in UTC: 2026-12-31")],
    form: Annotated[str, typer.Option("--format", help="csv, jsonl or beancount.")] = "csv",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The file; none: standard output.")] = None,
    config: Config = None,
) -> None:
    """Write a store's books of some days: every entry with its postings, values and rates."""
    from kassa.accounting import export as exporting

    told = ask(exporting.export(settings_of(config), store, (first, last), form, output, Progress()), silent=True)
    print(f"{told['entries']} entries", file=sys.stderr)


def report(
    name: Annotated[str, typer.Argument(help="sales, outstanding, liabilities, receivables, costs or spread.")],
    store: StoreId,
    first: Annotated[str | None, typer.Option("--from", help="The first day, in UTC; none: the last 31.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last day, in UTC; none: today.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Sum up a store's books: sales, what is outstanding, what is owed to customers, what it cost, its real spread."""
    from kassa.accounting import reporting

    told = ask(reporting.report(settings_of(config), store, name, (first, last), Progress()), silent=True)
    print(json.dumps(told) if as_json else "\n".join(reporting.report_lines(told)))


class Progress:
    """Says on standard error how far a long piece of work has come, at most once a second."""

    def __init__(self) -> None:
        self._said = monotonic()

    def __call__(self, name: str, done: int, of: int | None) -> None:
        if monotonic() - self._said > _SAY_EVERY_SECONDS:
            self._said = monotonic()
            print(f"{name}: {done}" if of is None else f"{name}: {done} of {of}", file=sys.stderr, flush=True)
