"""The commands about alerts."""

from typing import Annotated

import typer

from kassa.command import AsJson, Config, ask, settings_of, tell, tell_table

alert_app = typer.Typer(help="What is wrong, and what you decided.", no_args_is_help=True)


AlertId = Annotated[str, typer.Argument(help="The alert's id: alt_…")]
Note = Annotated[str, typer.Option(help="Why: it is kept.")]


@alert_app.command("list")
def alert_list(
    closed: Annotated[bool, typer.Option("--all", help="The closed ones too.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List what is wrong, newest first."""
    from kassa import operations

    told = ask(operations.list_alerts(settings_of(config), closed=closed))
    tell_table(told, as_json, ("id", "severity", "kind", "status", "opened_at", "reason", "detail"))


@alert_app.command("acknowledge")
def alert_acknowledge(alert: AlertId, note: Note, config: Config = None, as_json: AsJson = False) -> None:
    """Say that somebody looks after an alert; it stays open."""
    from kassa import operations

    told = ask(operations.acknowledge_alert(settings_of(config), alert, note))
    tell(told, as_json, f"{alert} is acknowledged")


@alert_app.command("close")
def alert_close(
    alert: AlertId,
    note: Note,
    undo: Annotated[bool, typer.Option("--undo", help="End what was done by itself.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Close an alert: your decision, which is kept."""
    from kassa import operations

    told = ask(operations.close_alert(settings_of(config), alert, note, undo=undo))
    tell(told, as_json, f"{alert} is closed" + (" and what was done is undone" if undo else ""))
