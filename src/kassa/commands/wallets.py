"""The commands about wallets."""

from typing import Annotated, Any

import typer

from kassa.command import AsJson, Config, StoreId, ask, settings_of, tell, tell_table

wallet_app = typer.Typer(help="The public halves of a store's wallets.", no_args_is_help=True)

NetworkName = Annotated[str, typer.Option("--network", help="The network's name in the settings.")]
Descriptor = Annotated[str, typer.Option(help="An output descriptor with an xpub; never a private key.")]
ChangeId = Annotated[str, typer.Argument(help="The change's id: wch_…")]


@wallet_app.command("add")
def wallet_add(
    store: StoreId,
    network: NetworkName,
    descriptor: Descriptor,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give a store a wallet on a network."""
    from kassa.operations import wallets as operations

    told = ask(operations.add_wallet(settings_of(config), store, network, descriptor))
    _compare(told, as_json, f"wallet   {told['wallet_id']}", "")


@wallet_app.command("list")
def wallet_list(store: StoreId, config: Config = None, as_json: AsJson = False) -> None:
    """List a store's wallets; compare each fingerprint with the signing device."""
    from kassa.operations import wallets as operations

    told = ask(operations.list_wallets(settings_of(config), store))
    tell_table(told, as_json, ("id", "network", "fingerprint", "next_index", "gap_limit", "created_at", "retired_at"))


@wallet_app.command("change")
def wallet_change(
    store: StoreId,
    network: NetworkName,
    descriptor: Descriptor,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Ask that a store's wallet be replaced; it holds once it is confirmed and the delay is over."""
    from kassa.operations import wallets as operations

    told = ask(operations.change_wallet(settings_of(config), store, network, descriptor))
    _compare(told, as_json, f"change   {told['id']}", f" Then `kassa wallet confirm {told['id']} --fingerprint …`.")


@wallet_app.command("confirm")
def wallet_confirm(
    change: ChangeId,
    fingerprint: Annotated[str, typer.Option(help="Of the new key, read from the signing device.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Confirm the change of a wallet."""
    from kassa.operations import wallets as operations

    told = ask(operations.confirm_wallet(settings_of(config), change, fingerprint))
    tell(told, as_json, f"{change} holds from {told['due_at']}; until then `kassa wallet cancel {change}`")


@wallet_app.command("cancel")
def wallet_cancel(
    change: ChangeId,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give the change of a wallet up."""
    from kassa.operations import wallets as operations

    told = ask(operations.cancel_wallet(settings_of(config), change))
    tell(told, as_json, f"{change} is {told['status']}")


def _compare(told: dict[str, Any], as_json: bool, named: str, then: str) -> None:
    """Tell a wallet's key and first addresses, which only its owner can tell from a thief's."""
    first = "\n         ".join(told["first_addresses"])
    words = "Compare fingerprint and addresses with what your signing wallet shows."
    tell(told, as_json, f"{named}\nkey      {told['fingerprint']}\nfirst    {first}\n{words}{then}")
