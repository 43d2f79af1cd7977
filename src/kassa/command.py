"""What commands share. Heavy modules are imported late, so that `kassa --help` answers at once."""

import json
import os
import re
import sys
from collections.abc import Coroutine, MutableMapping
from contextlib import suppress
from pathlib import Path
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
_REASON_LENGTH = 1_000
_NOT_FOR_US = re.compile(r"PG[A-Z]+|SSLKEYLOGFILE|(?i:prometheus_multiproc_dir)")


def reason(text: str) -> str:
    """Return why somebody decides; raise `BadParameter` for what says nothing to whoever reads it later."""
    if not text.strip() or not text.isprintable() or len(text) > _REASON_LENGTH:
        raise typer.BadParameter(f"say why, in a line of at most {_REASON_LENGTH} characters: it is kept")
    return text


def forget_what_is_not_for_us(environ: MutableMapping[str, str]) -> None:
    """Remove the variables by which a shell's user means other programs, and that our libraries would follow.

    To another database than the settings name (and than pg_dump is told), to a file of all our TLS keys, or to a folder
    of another program's metrics.
    """
    for name in filter(_NOT_FOR_US.fullmatch, list(environ)):
        del environ[name]


def settings_of(config: Path | None) -> "Settings":
    """Read the settings from a file (kassa.toml, if there is one) and the environment.

    Raises `SettingsError`, also for root where the data folder is somebody else's.
    """
    from kassa.core.files import refuse_root
    from kassa.privacy import keep_memory_private
    from kassa.settings import read_settings

    keep_memory_private()
    settings = read_settings(file_of(config), os.environ)
    refuse_root(settings.data_dir)
    return settings


def file_of(config: Path | None) -> Path | None:
    """Return the settings file that is meant, if there is one."""
    return DEFAULT_FILE if config is None and DEFAULT_FILE.exists() else config


def ask(question: Coroutine[Any, Any, Any], *, silent: bool = False) -> Any:  # JSON, or a command's own value
    """Carry a question out; what is logged meanwhile is shown from warnings up, or (`silent`) not at all."""
    import asyncio
    import logging

    from kassa import logs
    from kassa.db import embedded

    logs.configure(level=logging.CRITICAL if silent else logging.WARNING)
    embedded.tell.set(_tell_who_waits)
    return asyncio.run(question)


def _tell_who_waits(words: str) -> None:
    with suppress(OSError):
        print(words, file=sys.stderr, flush=True)


def tell(told: dict[str, Any], as_json: bool, words: str) -> None:
    """Print one JSON document, or words."""
    print(json.dumps(told) if as_json else words)


def tell_table(told: dict[str, Any], as_json: bool, columns: tuple[str, ...]) -> None:
    """Print one JSON document, or a line for each row of its data."""
    if as_json:
        print(json.dumps(told))
        return
    # Ids must come out whole, to be copied: columns are as wide as they need to be, whatever the terminal.
    rows = [columns, *([_cell(row[column]) for column in columns] for row in told["data"])]
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:  # JSON
    if value is None:
        return "-"
    text = ",".join(value) if isinstance(value, list) else str(value)
    return "".join(character if character.isprintable() else "?" for character in text)
