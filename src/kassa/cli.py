"""The command line. Heavy modules are imported inside the commands, so that `kassa --help` answers at once."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kassa import __version__
from kassa.accounting import cli as accounting
from kassa.accounting.owners import payment_app
from kassa.auditing import cli as auditing
from kassa.auditing.cli import key_app as address_key_app
from kassa.auditing.cli import log_app as audit_app
from kassa.backup import cli as backups
from kassa.command import AsJson, Config, StoreId, ask, settings_of
from kassa.core.errors import KassaError, SettingsError
from kassa.sandbox.cli import app as sandbox_app

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
user_app = typer.Typer(help="People who may sign in to the dashboard.", no_args_is_help=True)
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
app.add_typer(payment_app, name="payment")
app.add_typer(audit_app, name="audit")
app.add_typer(user_app, name="user")
app.add_typer(address_key_app, name="address-key")
ledger_app.command("verify")(accounting.verify)
app.command("reconcile")(accounting.reconcile)
app.command("audit-addresses")(auditing.addresses)
app.command("report")(accounting.report)
app.command("export")(accounting.export)
app.command("backup")(backups.backup)
app.command("restore")(backups.restore)


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

    told = ask(operations.migrate(settings_of(config)))
    _tell(told, as_json, f"the database has {len(told['migrations'])} migrations, the last is {told['migrations'][-1]}")


@app.command()
def doctor(config: Config = None, as_json: AsJson = False) -> None:
    """Check database, nodes, clocks, disk and counters; exit code 1 when something is broken."""
    from kassa import doctor as examination

    findings = ask(examination.examine(settings_of(config)))
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

    made = operations.create_store(settings_of(config), name, currency, test=test, tolerance=tolerance, spread=spread)
    told = ask(made)
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

    told = ask(operations.set_spread(settings_of(config), store, spread))
    _tell(told, as_json, f"the rates of {store} are {spread} below the market's from now on")


@store_app.command("list")
def store_list(config: Config = None, as_json: AsJson = False) -> None:
    """List every store."""
    from kassa import operations

    told = ask(operations.list_stores(settings_of(config)))
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
    told = ask(operations.store_policy(settings_of(config), store, asked))
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

    told = ask(operations.create_key(settings_of(config), store, scope or (), label))
    _tell(told, as_json, f"key      {told['key_id']}\nAPI key  {told['api_key']}   (shown only now: keep it)")


@key_app.command("list")
def key_list(store: StoreId, config: Config = None, as_json: AsJson = False) -> None:
    """List a store's keys."""
    from kassa import operations

    told = ask(operations.list_keys(settings_of(config), store))
    _tell_table(told, as_json, ("id", "label", "scopes", "created_at", "last_used_at", "revoked_at"))


@key_app.command("revoke")
def key_revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id: key_…")], config: Config = None, as_json: AsJson = False
) -> None:
    """End a key at once."""
    from kassa import operations

    told = ask(operations.revoke_key(settings_of(config), key_id))
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

    told = ask(operations.add_wallet(settings_of(config), store, network, descriptor))
    first = "\n         ".join(told["first_addresses"])
    words = f"wallet   {told['wallet_id']}\nkey      {told['fingerprint']}\nfirst    {first}"
    _tell(told, as_json, f"{words}\nCompare fingerprint and addresses with what your signing wallet shows.")


@wallet_app.command("change")
def wallet_change(
    store: StoreId,
    network: Annotated[str, typer.Option(help="The network's name in the settings.")],
    descriptor: Annotated[str, typer.Option(help="The output descriptor or xpub that shall be used from then on.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Ask that a store's wallet be replaced; it holds once it is confirmed and the delay is over."""
    from kassa import operations

    told = ask(operations.change_wallet(settings_of(config), store, network, descriptor))
    first = "\n         ".join(told["first_addresses"])
    words = f"change   {told['id']}\nkey      {told['fingerprint']}\nfirst    {first}"
    _tell(told, as_json, f"{words}\nCompare them with your signing wallet; then `kassa wallet confirm`.")


@wallet_app.command("confirm")
def wallet_confirm(
    change: Annotated[str, typer.Argument(help="The change's id: wch_…")],
    fingerprint: Annotated[str, typer.Option(help="Of the new key, read from the signing device.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Confirm the change of a wallet."""
    from kassa import operations

    told = ask(operations.confirm_wallet(settings_of(config), change, fingerprint))
    _tell(told, as_json, f"{change} holds from {told['due_at']}; until then `kassa wallet cancel {change}`")


@wallet_app.command("cancel")
def wallet_cancel(
    change: Annotated[str, typer.Argument(help="The change's id: wch_…")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give the change of a wallet up."""
    from kassa import operations

    told = ask(operations.cancel_wallet(settings_of(config), change))
    _tell(told, as_json, f"{change} is {told['status']}")


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

    told = ask(operations.add_webhook(settings_of(config), store, url, events or ()))
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

    told = ask(operations.webhook_secret(settings_of(config), store, rotate=rotate))
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

    told = ask(operations.thaw_asset(settings_of(config), asset))
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

    told = ask(operations.resume_network(settings_of(config), network, depth))
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

    told = ask(operations.list_alerts(settings_of(config), closed=closed))
    _tell_table(told, as_json, ("id", "severity", "kind", "status", "opened_at", "reason", "detail"))


@alert_app.command("acknowledge")
def alert_acknowledge(alert: AlertId, note: Note, config: Config = None, as_json: AsJson = False) -> None:
    """Say that somebody looks after an alert; it stays open."""
    from kassa import operations

    told = ask(operations.acknowledge_alert(settings_of(config), alert, note))
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

    told = ask(operations.close_alert(settings_of(config), alert, note, undo=undo))
    _tell(told, as_json, f"{alert} is closed" + (" and what was done is undone" if undo else ""))


@user_app.command("invite")
def user_invite(
    store: StoreId,
    email: Annotated[str, typer.Option(help="What they will sign in with.")],
    role: Annotated[str, typer.Option(help="owner, admin, accountant, support or viewer.")] = "owner",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Invite somebody to a store's dashboard; whoever opens the link first is let in, so send it to them alone."""
    from kassa import operations

    told = ask(operations.invite_user(settings_of(config), store, email, role))
    _tell(told, as_json, f"link     {told['link']}\nvalid until {told['expires_at']}, once")


@user_app.command("link")
def user_link(
    email: Annotated[str, typer.Option(help="What they sign in with.")],
    lost: Annotated[
        bool, typer.Option("--lost", help="Their phone is gone: old app, codes, passkeys and sessions become void.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a link that signs somebody in once, without password or code: for who has lost them."""
    from kassa import operations

    told = ask(operations.link_user(settings_of(config), email, lost=lost))
    _tell(told, as_json, f"link     {told['link']}\nvalid until {told['expires_at']}, once")


def _without_sign(percent: str | None) -> str | None:
    return None if percent is None else percent.removesuffix("%")


def _run(config: Path | None, roles: tuple[str, ...]) -> None:
    import logging

    from kassa import logs
    from kassa.main import run

    settings = settings_of(config)
    if "watch" in roles and not settings.networks:
        raise SettingsError("no network is configured, so nothing could be paid: add a section [networks.…]")
    logs.configure(level=logging.getLevelNamesMapping()[settings.log.level.upper()], form=settings.log.form)
    run(settings, roles)


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
