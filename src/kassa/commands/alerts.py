"""The commands about alerts."""

from typing import Annotated

import typer

from kassa.command import AsJson, Config, ask, reason, settings_of, tell, tell_table

alert_app = typer.Typer(help="What is wrong, and what you decided.", no_args_is_help=True)


AlertId = Annotated[str, typer.Argument(help="The alert's id: alt_…")]
Note = Annotated[str, typer.Option(help="Why: it is kept.", callback=reason)]


@alert_app.command("list")
def alert_list(
    closed: Annotated[bool, typer.Option("--all", help="The closed ones too.")] = False,
    kind: Annotated[str | None, typer.Option(help="Only those of this kind.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List what is wrong, newest first."""
    from kassa.operations import alerts as operations

    told = ask(operations.list_alerts(settings_of(config), closed=closed, kind=kind))
    tell_table(told, as_json, ("id", "severity", "kind", "status", "opened_at", "reason", "detail"))
    if told["more"] and not as_json:
        print(f"These are the newest {len(told['data'])}: there are more (--kind names some).")


@alert_app.command("acknowledge")
def alert_acknowledge(alert: AlertId, note: Note, config: Config = None, as_json: AsJson = False) -> None:
    """Say that somebody looks after an alert; it stays open."""
    from kassa.operations import alerts as operations

    told = ask(operations.acknowledge_alert(settings_of(config), alert, note))
    tell(told, as_json, f"{alert} is acknowledged")


@alert_app.command("close")
def alert_close(
    note: Note,
    alert: Annotated[str | None, typer.Argument(help="The alert's id: alt_…")] = None,
    kind: Annotated[str | None, typer.Option(help="Instead of an id: every open alert of this kind.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="End what was done by itself.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Close an alert, or all of a kind: your decision, which is kept."""
    from kassa.operations import alerts as operations

    if (alert is None) == (kind is None) or (undo and alert is None):
        raise typer.BadParameter("name an alert, or with --kind all of a kind; --undo is for one at a time")
    if kind is not None:
        told = ask(operations.close_alerts(settings_of(config), kind, note))
        tell(told, as_json, f"{told['closed']} alerts are closed")
        return
    assert alert is not None
    told = ask(operations.close_alert(settings_of(config), alert, note, undo=undo))
    tell(told, as_json, f"{alert} is closed" + (" and what was done is undone" if undo else ""))
