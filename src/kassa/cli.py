"""The command line. Heavy modules are imported inside the commands, so that `kassa --help` answers at once."""

import json
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kassa import __version__
from kassa.accounting import cli as accounting
from kassa.core.errors import KassaError, SettingsError
from kassa.sandbox.cli import app as sandbox_app

if TYPE_CHECKING:
    from kassa.settings import Settings

app = typer.Typer(
    name="kassa", help="Accept cryptocurrency on your own machine.", no_args_is_help=True,
    pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None,  # rich costs half a second to import
)  # fmt: skip
store_app = typer.Typer(help="Stores: the tenants of this installation.", no_args_is_help=True)
key_app = typer.Typer(help="API keys of a store.", no_args_is_help=True)
wallet_app = typer.Typer(help="The public halves of a store's wallets.", no_args_is_help=True)
webhook_app = typer.Typer(help="Receivers of a store's events.", no_args_is_help=True)
network_app = typer.Typer(help="Networks that are followed.", no_args_is_help=True)
asset_app = typer.Typer(help="Assets that can be asked for.", no_args_is_help=True)
alert_app = typer.Typer(help="What is wrong, and what you decided.", no_args_is_help=True)
ledger_app = typer.Typer(help="The books.", no_args_is_help=True)
app.add_typer(store_app, name="store")
app.add_typer(key_app, name="key")
app.add_typer(wallet_app, name="wallet")
app.add_typer(webhook_app, name="webhook")
app.add_typer(network_app, name="network")
app.add_typer(asset_app, name="asset")
app.add_typer(alert_app, name="alert")
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(ledger_app, name="ledger")
ledger_app.command("verify")(accounting.verify)
app.command("reconcile")(accounting.reconcile)
app.command("report")(accounting.report)
app.command("export")(accounting.export)

Config = Annotated[
    Path | None,
    typer.Option("--config", envvar="KASSA_CONFIG", help="The settings file; kassa.toml here, if there is one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer one JSON document, for programs.")]
StoreId = Annotated[str, typer.Option("--store", help="The store's id: sto_…")]

DEFAULT_FILE = Path("kassa.toml")


def main() -> None:
    """Run the command line; a foreseen error is one line on standard error and exit code 1."""
    try:
        app()
    except KassaError as fault:
        print(f"kassa: {fault}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output left; nothing is wrong here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@app.command()
def up(config: Config = None) -> None:
    """Run every role in this process, on the embedded database if none is configured."""
    _run(config, ("api", "watch", "work"))


@app.command()
def api(config: Config = None) -> None:
    """Serve the HTTP API and the payment pages."""
    _run(config, ("api",))


@app.command()
def watch(config: Config = None) -> None:
    """Follow the configured networks."""
    _run(config, ("watch",))


@app.command()
def work(config: Config = None) -> None:
    """Send webhooks and keep deadlines."""
    _run(config, ("work",))


@app.command()
def migrate(config: Config = None, as_json: AsJson = False) -> None:
    """Bring the database to this version."""
    from kassa import operations

    told = _ask(operations.migrate(_settings(config)))
    _tell(told, as_json, f"the database has {len(told['migrations'])} migrations, the last is {told['migrations'][-1]}")


@app.command()
def doctor(config: Config = None, as_json: AsJson = False) -> None:
    """Check database, nodes, clocks, disk and counters; exit code 1 when something is broken."""
    from kassa import doctor as examination

    findings = _ask(examination.examine(_settings(config)))
    examination.print_findings(findings, as_json=as_json)
    if examination.is_ill(findings):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


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
    from kassa import operations

    made = operations.create_store(_settings(config), name, currency, test=test, tolerance=tolerance, spread=spread)
    told = _ask(made)
    _tell(told, as_json, f"store    {told['store_id']}\nAPI key  {told['api_key']}   (shown only now: keep it)")


@store_app.command("spread")
def store_spread(
    store: StoreId,
    spread: Annotated[str, typer.Argument(help="How much lower than the market's its rates are: 1%")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Change a store's spread; invoices that are open keep theirs."""
    from kassa import operations

    told = _ask(operations.set_spread(_settings(config), store, spread))
    _tell(told, as_json, f"the rates of {store} are {spread} below the market's from now on")


@store_app.command("list")
def store_list(config: Config = None, as_json: AsJson = False) -> None:
    """List every store."""
    from kassa import operations

    told = _ask(operations.list_stores(_settings(config)))
    _tell_table(told, as_json, ("id", "name", "currency", "livemode", "created_at"))


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
    from kassa import operations

    given = {
        "tolerance_percent": _without_sign(tolerance), "tolerance_amount": tolerance_amount, "short": short,
        "short_limit_percent": _without_sign(short_limit), "over": over, "late_grace_seconds": late_grace,
        "late_rate_percent": _without_sign(late_rate),
    }  # fmt: skip
    asked = {name: value for name, value in given.items() if value is not None}
    told = _ask(operations.store_policy(_settings(config), store, asked))
    _tell(told, as_json, "\n".join(f"{name:<21}{value}" for name, value in told["policy"].items()))


@key_app.command("create")
def key_create(
    store: StoreId,
    scope: Annotated[list[str] | None, typer.Option(help="A right, such as invoices:read; none: every one.")] = None,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make another API key; it is shown here and never again."""
    from kassa import operations

    told = _ask(operations.create_key(_settings(config), store, scope or (), label))
    _tell(told, as_json, f"key      {told['key_id']}\nAPI key  {told['api_key']}   (shown only now: keep it)")


@key_app.command("list")
def key_list(store: StoreId, config: Config = None, as_json: AsJson = False) -> None:
    """List a store's keys."""
    from kassa import operations

    told = _ask(operations.list_keys(_settings(config), store))
    _tell_table(told, as_json, ("id", "label", "scopes", "created_at", "last_used_at", "revoked_at"))


@key_app.command("revoke")
def key_revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id: key_…")], config: Config = None, as_json: AsJson = False
) -> None:
    """End a key at once."""
    from kassa import operations

    told = _ask(operations.revoke_key(_settings(config), key_id))
    _tell(told, as_json, f"{key_id} opens nothing any more")


@wallet_app.command("add")
def wallet_add(
    store: StoreId,
    network: Annotated[str, typer.Option(help="The network's name in the settings.")],
    descriptor: Annotated[str, typer.Option(help="An output descriptor with an xpub; never a private key.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give a store a wallet on a network."""
    from kassa import operations

    told = _ask(operations.add_wallet(_settings(config), store, network, descriptor))
    first = "\n         ".join(told["first_addresses"])
    words = f"wallet   {told['wallet_id']}\nkey      {told['fingerprint']}\nfirst    {first}"
    _tell(told, as_json, f"{words}\nCompare fingerprint and addresses with what your signing wallet shows.")


@webhook_app.command("add")
def webhook_add(
    store: StoreId,
    url: Annotated[str, typer.Option(help="Where to post.")],
    events: Annotated[list[str] | None, typer.Option(help="A type such as invoice.settled; none: every one.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Add a receiver; the secret that signs its deliveries is shown here and never again."""
    from kassa import operations

    told = _ask(operations.add_webhook(_settings(config), store, url, events or ()))
    _tell(told, as_json, f"webhook  {told['webhook_id']}\nsecret   {told['secret']}   (shown only now: keep it)")


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
    from kassa import operations

    told = _ask(operations.webhook_secret(_settings(config), store, rotate=rotate))
    old = f"\nold one  signs too until {told['previous_secret_until']}" if rotate else ""
    _tell(told, as_json, f"secret   {told['secret']}{old}")


@asset_app.command("thaw")
def asset_thaw(
    asset: Annotated[str, typer.Argument(help="The asset, such as USDC@base.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Offer and settle a frozen asset again, with its contract as it is now: your decision, which is kept."""
    from kassa import operations

    told = _ask(operations.thaw_asset(_settings(config), asset))
    _tell(told, as_json, f"{asset} is offered and settles again")


@network_app.command("resume")
def network_resume(
    network: Annotated[str, typer.Argument(help="The network's name in the settings.")],
    depth: Annotated[int, typer.Option(min=1, help="The deepest reorganisation that is allowed, once.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Follow a halted network again: your decision, which is kept."""
    from kassa import operations

    told = _ask(operations.resume_network(_settings(config), network, depth))
    _tell(told, as_json, f"{network} is followed again; reorganisations of up to {depth} blocks are allowed once")


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

    told = _ask(operations.list_alerts(_settings(config), closed=closed))
    _tell_table(told, as_json, ("id", "severity", "kind", "status", "opened_at", "reason", "detail"))


@alert_app.command("acknowledge")
def alert_acknowledge(alert: AlertId, note: Note, config: Config = None, as_json: AsJson = False) -> None:
    """Say that somebody looks after an alert; it stays open."""
    from kassa import operations

    told = _ask(operations.acknowledge_alert(_settings(config), alert, note))
    _tell(told, as_json, f"{alert} is acknowledged")


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

    told = _ask(operations.close_alert(_settings(config), alert, note, undo=undo))
    _tell(told, as_json, f"{alert} is closed" + (" and what was done is undone" if undo else ""))


def _without_sign(percent: str | None) -> str | None:
    return None if percent is None else percent.removesuffix("%")


def _settings(config: Path | None) -> "Settings":
    from kassa.settings import read_settings

    if config is None and DEFAULT_FILE.exists():
        config = DEFAULT_FILE
    return read_settings(config, os.environ)


def _run(config: Path | None, roles: tuple[str, ...]) -> None:
    from kassa import logs
    from kassa.main import run

    settings = _settings(config)
    if "watch" in roles and not settings.networks:
        raise SettingsError("no network is configured, so nothing could be paid: add a section [networks.…]")
    logs.configure()
    run(settings, roles)


def _ask(question: Coroutine[Any, Any, Any]) -> Any:  # JSON, or a command's own value
    import asyncio
    import logging

    from kassa import logs

    logs.configure(level=logging.WARNING)
    return asyncio.run(question)


def _tell(told: dict[str, Any], as_json: bool, words: str) -> None:
    print(json.dumps(told) if as_json else words)


def _tell_table(told: dict[str, Any], as_json: bool, columns: tuple[str, ...]) -> None:
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
