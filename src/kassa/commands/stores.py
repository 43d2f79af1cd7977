"""The commands about stores and their keys."""

from typing import Annotated

import typer

from kassa.command import AsJson, Config, StoreId, ask, settings_of, tell, tell_table

store_app = typer.Typer(help="Stores: the tenants of this installation.", no_args_is_help=True)
key_app = typer.Typer(help="API keys of a store.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="The key's id: key_…")]
From = Annotated[
    list[str] | None,
    typer.Option("--from", help="An IP address or network that it may be used from, once for each; none: anywhere."),
]


@store_app.command("create")
def store_create(
    name: Annotated[str, typer.Option(help="What people call it.")],
    currency: Annotated[str, typer.Option(help="What it prices in: EUR, USD, BTC, …")],
    test: Annotated[bool, typer.Option("--test", help="Test networks only, for ever.")] = False,
    tolerance: Annotated[str, typer.Option(help="The share of a price that may be missing: 0.5%")] = "0%",
    spread: Annotated[str, typer.Option(help="How much lower than the market's its rates are: 1%")] = "0%",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a store; its first API key is shown here and never again."""
    from kassa.operations import stores as operations

    made = operations.create_store(settings_of(config), name, currency, test=test, tolerance=tolerance, spread=spread)
    told = ask(made)
    tell(told, as_json, f"store    {told['store_id']}\nAPI key  {told['api_key']}   (shown only now: keep it)")


@store_app.command("spread")
def store_spread(
    store: StoreId,
    spread: Annotated[str, typer.Argument(help="How much lower than the market's its rates are: 1%")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Change a store's spread; invoices that are open keep theirs."""
    from kassa.operations import stores as operations

    told = ask(operations.set_spread(settings_of(config), store, spread))
    tell(told, as_json, f"the rates of {store} are {spread} below the market's from now on")


@store_app.command("list")
def store_list(config: Config = None, as_json: AsJson = False) -> None:
    """List every store."""
    from kassa.operations import stores as operations

    told = ask(operations.list_stores(settings_of(config)))
    tell_table(told, as_json, ("id", "name", "currency", "livemode", "created_at"))


@store_app.command("policy")
def store_policy(
    store: StoreId,
    tolerance: Annotated[str | None, typer.Option(help="The share of a price that may be missing: 0.5%")] = None,
    tolerance_amount: Annotated[str | None, typer.Option(help="Or this much, if it is more: 0.10")] = None,
    short: Annotated[str | None, typer.Option(help="A payment short in the end: flag, accept or credit.")] = None,
    short_limit: Annotated[str | None, typer.Option(help="Accept it when no more than this is missing: 5%")] = None,
    over: Annotated[str | None, typer.Option(help="What exceeds the price: flag or credit.")] = None,
    late_grace: Annotated[int | None, typer.Option(help="Accept payments up to so many seconds late.")] = None,
    late_rate: Annotated[str | None, typer.Option(help="If the rate had moved no more than this: 1%")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what becomes of short, excess and late payments, or change it for the invoices to come."""
    from kassa.operations import stores as operations

    given = {
        "tolerance_percent": _without_sign(tolerance), "tolerance_amount": tolerance_amount, "short": short,
        "short_limit_percent": _without_sign(short_limit), "over": over, "late_grace_seconds": late_grace,
        "late_rate_percent": _without_sign(late_rate),
    }  # fmt: skip
    asked = {name: value for name, value in given.items() if value is not None}
    told = ask(operations.store_policy(settings_of(config), store, asked))
    tell(told, as_json, "\n".join(f"{name:<21}{value}" for name, value in told["policy"].items()))


@key_app.command("create")
def key_create(
    store: StoreId,
    scope: Annotated[list[str] | None, typer.Option(help="A right, such as invoices:read; none: every one.")] = None,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    allowed_from: From = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make another API key; it is shown here and never again."""
    from kassa.operations import stores as operations

    told = ask(operations.create_key(settings_of(config), store, scope or (), label, allowed_from or ()))
    tell(told, as_json, f"key      {told['key_id']}\nAPI key  {told['api_key']}   (shown only now: keep it)")


@key_app.command("list")
def key_list(store: StoreId, config: Config = None, as_json: AsJson = False) -> None:
    """List a store's keys."""
    from kassa.operations import stores as operations

    told = ask(operations.list_keys(settings_of(config), store))
    tell_table(told, as_json, ("id", "label", "scopes", "allowed_from", "created_at", "last_used_at", "revoked_at"))


@key_app.command("bind")
def key_bind(
    key_id: KeyId,
    allowed_from: From = None,
    anywhere: Annotated[bool, typer.Option("--anywhere", help="Bind it to nothing any more.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Change the networks that a key may be used from, at once."""
    from kassa.core.errors import FieldFault, Invalid
    from kassa.operations import stores as operations

    if bool(allowed_from) == anywhere:
        raise Invalid(FieldFault("allowed_from", "say either --from, once for each network, or --anywhere"))
    told = ask(operations.bind_key(settings_of(config), key_id, allowed_from or ()))
    where = ", ".join(told["allowed_from"])
    tell(told, as_json, f"{key_id} may be used " + (f"from {where} alone" if where else "from anywhere"))


@key_app.command("revoke")
def key_revoke(key_id: KeyId, config: Config = None, as_json: AsJson = False) -> None:
    """End a key at once."""
    from kassa.operations import stores as operations

    told = ask(operations.revoke_key(settings_of(config), key_id))
    tell(told, as_json, f"{key_id} opens nothing any more")


def _without_sign(percent: str | None) -> str | None:
    return None if percent is None else percent.removesuffix("%")
