"""What commands share. Heavy modules are imported late, so that `kassa --help` answers at once."""

import os
from collections.abc import Coroutine
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


def settings_of(config: Path | None) -> "Settings":
    """Read the settings from a file (kassa.toml, if there is one) and the environment; raises `SettingsError`."""
    from kassa.settings import read_settings

    if config is None and DEFAULT_FILE.exists():
        config = DEFAULT_FILE
    return read_settings(config, os.environ)


def ask(question: Coroutine[Any, Any, Any], *, silent: bool = False) -> Any:  # JSON, or a command's own value
    """Carry a question out; what is logged meanwhile is shown from warnings up, or (`silent`) not at all."""
    import asyncio
    import logging

    from kassa import logs

    logs.configure(level=logging.CRITICAL if silent else logging.WARNING)
    return asyncio.run(question)
