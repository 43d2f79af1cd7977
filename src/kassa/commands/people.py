"""The commands about people."""

from typing import Annotated, Any

import typer

from kassa.command import AsJson, Config, StoreId, ask, settings_of, tell

user_app = typer.Typer(help="People who may sign in to the dashboard.", no_args_is_help=True)


@user_app.command("invite")
def user_invite(
    store: StoreId,
    email: Annotated[str, typer.Option(help="What they will sign in with.")],
    role: Annotated[str, typer.Option(help="owner, admin, accountant, support or viewer.")] = "owner",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Invite somebody to a store's dashboard; whoever opens the link first is let in, so send it to them alone."""
    from kassa.operations import people as operations

    told = ask(operations.invite_user(settings_of(config), store, email, role))
    _tell_link(told, as_json)


@user_app.command("link")
def user_link(
    email: Annotated[str, typer.Option(help="What they sign in with.")],
    lost: Annotated[
        bool,
        typer.Option("--lost", help="Their phone is gone: password, app, codes, passkeys and sessions become void."),
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a link that signs somebody in once, without password or code: for who has lost them."""
    from kassa.operations import people as operations

    told = ask(operations.link_user(settings_of(config), email, lost=lost))
    _tell_link(told, as_json)


def _tell_link(told: dict[str, Any], as_json: bool) -> None:
    tell(told, as_json, f"link     {told['link']}\nvalid until {told['expires_at']}, once")
