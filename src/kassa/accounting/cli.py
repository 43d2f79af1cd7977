"""The commands about the books. Heavy modules are imported inside them, so that `kassa --help` answers at once."""

import json
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kassa.settings import Settings

Config = Annotated[
    Path | None,
    typer.Option("--config", envvar="KASSA_CONFIG", help="The settings file; kassa.toml here, if there is one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer one JSON document, for programs.")]
StoreId = Annotated[str, typer.Option("--store", help="The store's id: sto_…")]

DEFAULT_FILE = Path("kassa.toml")
_SAY_EVERY_SECONDS = 1


def reconcile(
    network: Annotated[str | None, typer.Option(help="The network's name in the settings; none: every one.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Compare the books with the nodes, address by address; exit code 1 where they differ."""
    from kassa.accounting import proving

    told = _ask(proving.reconcile(_settings(config), network, Progress()))
    print(json.dumps(told) if as_json else "\n".join(proving.reconciliation_lines(told)))
    if told["differences"] or told["failed"]:
        raise typer.Exit(1)


def verify(config: Config = None, as_json: AsJson = False) -> None:
    """Work the books out anew from the stored facts and compare; reads only; exit code 1 where something is wrong."""
    from kassa.accounting import proving

    told = _ask(proving.verify(_settings(config), Progress()))
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

    told = _ask(exporting.export(_settings(config), store, (first, last), form, output, Progress()))
    print(f"{told['entries']} entries", file=sys.stderr)


def report(
    name: Annotated[str, typer.Argument(help="sales, outstanding, liabilities or costs.")],
    store: StoreId,
    first: Annotated[str | None, typer.Option("--from", help="The first day, in UTC; none: the last 31.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last day, in UTC; none: today.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Sum up a store's books: sales, what is outstanding, what is owed to customers, what it cost."""
    from kassa.accounting import reporting

    told = _ask(reporting.report(_settings(config), store, name, (first, last)))
    print(json.dumps(told) if as_json else "\n".join(reporting.report_lines(told)))


class Progress:
    """Says on standard error how far a long piece of work has come, at most once a second."""

    def __init__(self) -> None:
        self._said = monotonic()

    def __call__(self, name: str, done: int, of: int | None) -> None:
        if monotonic() - self._said > _SAY_EVERY_SECONDS:
            self._said = monotonic()
            print(f"{name}: {done}" if of is None else f"{name}: {done} of {of}", file=sys.stderr, flush=True)


def _settings(config: Path | None) -> "Settings":
    from kassa.settings import read_settings

    if config is None and DEFAULT_FILE.exists():
        config = DEFAULT_FILE
    return read_settings(config, os.environ)


def _ask(question: Coroutine[Any, Any, Any]) -> Any:  # JSON
    import asyncio
    import logging

    from kassa import logs

    logs.configure(level=logging.CRITICAL)
    return asyncio.run(question)
