"""The commands about networks and assets that wait for a decision."""

from typing import Annotated

import typer

from kassa.command import AsJson, Config, ask, settings_of, tell

network_app = typer.Typer(help="Networks that are followed.", no_args_is_help=True)
asset_app = typer.Typer(help="Assets that can be asked for.", no_args_is_help=True)


@asset_app.command("thaw")
def asset_thaw(
    asset: Annotated[str, typer.Argument(help="The asset, such as USDC@base.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Offer and settle a frozen asset again, with its contract as it is now: your decision, which is kept."""
    from kassa.operations import networks as operations

    told = ask(operations.thaw_asset(settings_of(config), asset))
    tell(told, as_json, f"{asset} is offered and settles again")


@network_app.command("resume")
def network_resume(
    network: Annotated[str, typer.Argument(help="The network's name in the settings.")],
    depth: Annotated[int, typer.Option(min=1, max=1_000_000, help="The deepest reorganisation that is allowed, once.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Follow a halted network again: your decision, which is kept."""
    from kassa.operations import networks as operations

    told = ask(operations.resume_network(settings_of(config), network, depth))
    tell(told, as_json, f"{network} is followed again; reorganisations of up to {depth} blocks are allowed once")


@network_app.command("give-up")
def network_give_up(
    network: Annotated[str, typer.Argument(help="The network's name, as it was in the settings.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say that a network will not be followed any more: what is sent after a restore waits for it no longer."""
    from kassa.operations import networks as operations

    told = ask(operations.give_up_network(settings_of(config), network))
    tell(told, as_json, f"nobody waits for {network} any more; following it again takes this back")
