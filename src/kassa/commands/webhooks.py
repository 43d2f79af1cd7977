"""The commands about receivers of events."""

from typing import Annotated

import typer

from kassa.command import AsJson, Config, StoreId, ask, settings_of, tell, tell_table

webhook_app = typer.Typer(help="Receivers of a store's events.", no_args_is_help=True)


@webhook_app.command("add")
def webhook_add(
    store: StoreId,
    url: Annotated[str, typer.Option(help="Where to post.")],
    events: Annotated[list[str] | None, typer.Option(help="A type such as invoice.settled; none: every one.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Add a receiver; the secret that signs its deliveries is shown here and never again."""
    from kassa.operations import webhooks as operations

    told = ask(operations.add_webhook(settings_of(config), store, url, events or ()))
    tell(told, as_json, f"webhook  {told['webhook_id']}\nsecret   {told['secret']}   (shown only now: keep it)")


@webhook_app.command("list")
def webhook_list(store: StoreId, config: Config = None, as_json: AsJson = False) -> None:
    """List a store's receivers, without their secrets."""
    from kassa.operations import webhooks as operations

    told = ask(operations.list_webhooks(settings_of(config), store))
    tell_table(told, as_json, ("id", "url", "events", "created_at", "disabled_at", "disabled_reason"))


@webhook_app.command("secret")
def webhook_secret(
    store: StoreId,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new one; the old one stays valid for a day.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the secret that signs deliveries to an invoice's own webhook_url; endpoints have their own."""
    from kassa.operations import webhooks as operations

    told = ask(operations.webhook_secret(settings_of(config), store, rotate=rotate))
    old = f"\nold one  signs too until {told['previous_secret_until']}" if rotate else ""
    tell(told, as_json, f"secret   {told['secret']}{old}")
