"""The command line. Heavy modules are imported inside the commands, so that `kassa --help` answers at once."""

import errno
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Literal, TextIO

import typer

from kassa import __version__
from kassa.accounting import cli as accounting
from kassa.accounting.debtors import customer_app
from kassa.accounting.owners import payment_app
from kassa.auditing import cli as auditing
from kassa.auditing.cli import key_app as address_key_app
from kassa.auditing.cli import log_app as audit_app
from kassa.backup import cli as backups
from kassa.command import AsJson, Config, ask, file_of, forget_what_is_not_for_us, settings_of, tell
from kassa.commands.alerts import alert_app
from kassa.commands.networks import asset_app, network_app
from kassa.commands.people import user_app
from kassa.commands.stores import key_app, store_app
from kassa.commands.wallets import wallet_app
from kassa.commands.webhooks import webhook_app
from kassa.core.errors import KassaError, SettingsError
from kassa.sandbox.cli import app as sandbox_app

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What a volume says that takes no more."""

app = typer.Typer(
    name="kassa", help="Accept cryptocurrency on your own machine.", no_args_is_help=True,
    pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None,  # rich costs half a second to import
)  # fmt: skip
OfRole = Annotated[
    Literal["up", "api", "watch", "work"],
    typer.Option("--role", help="What this role leans on, and whether it can reach more."),
]
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
app.add_typer(customer_app, name="customer")
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
    _open_what_is_closed()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no arrow is told all the same
    try:
        _refuse_what_is_no_text(sys.argv[1:])
        _run_whole()
    except KassaError as fault:
        print(f"kassa: {fault}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output left; nothing is wrong here.
        _give_up(sys.stdout)
        sys.exit(1)
    except OSError as fault:
        if fault.errno not in _FULL:
            raise
        print(f"kassa: the answer could not be written: {fault.strerror}", file=sys.stderr)
        _give_up(sys.stdout)
        sys.exit(1)
    finally:
        _give_up_what_cannot_be_told()


def _open_what_is_closed() -> None:
    # The next file that is opened would get the number, and what a library prints would be written into it.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _run_whole() -> None:
    # What is left to Python's own end, and cannot be written, is code 120 and a riddle there.
    try:
        app()
    finally:
        # Not by printing nothing: unbuffered (PYTHONUNBUFFERED), that writes no byte, which a full volume refuses too.
        sys.stdout.flush()


def _refuse_what_is_no_text(words: list[str]) -> None:
    # Python makes surrogates of bytes that are no UTF-8; neither the database nor a terminal takes these.
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            shown = str(os.fsencode(word))[1:]
            raise SettingsError(f"{shown} is no text in UTF-8: type it again") from None


def _give_up_what_cannot_be_told() -> None:
    # Python ends with code 120 when the rest of a log cannot be written: a full disk made no command fail.
    try:
        sys.stderr.flush()
    except OSError:
        _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@app.callback()
def begin(
    env_file: Annotated[
        list[Path] | None,
        typer.Option(help="A file of variables, as the units name it by EnvironmentFile; the environment wins."),
    ] = None,
) -> None:
    """Accept cryptocurrency on your own machine."""
    if env_file:
        from kassa.settings.env_file import read_env_file

        found = dict[str, str]()
        for path in env_file:
            found |= read_env_file(path)
        os.environ.update(found | os.environ)
    forget_what_is_not_for_us(os.environ)


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
    from kassa.operations import migrations as operations

    told = ask(operations.migrate(settings_of(config)))
    tell(told, as_json, f"the database has {len(told['migrations'])} migrations, the last is {told['migrations'][-1]}")


@app.command()
def doctor(config: Config = None, as_json: AsJson = False, role: OfRole = "up") -> None:
    """Check database, nodes, clocks, disk, counters and what can be reached; exit code 1 when something is broken."""
    from kassa import doctor as examination

    findings = ask(examination.examine(settings_of(config), file_of(config), role))
    examination.print_findings(findings, as_json=as_json)
    if examination.is_ill(findings):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def _run(config: Path | None, roles: tuple[str, ...]) -> None:
    import logging

    import structlog

    from kassa import logs
    from kassa.main import run
    from kassa.privacy import exposures

    settings = settings_of(config)
    if "watch" in roles and not settings.networks:
        raise SettingsError("no network is configured, so nothing could be paid: add a section [networks.…]")
    logs.configure(level=logging.getLevelNamesMapping()[settings.log.level.upper()], form=settings.log.form)
    for each in exposures(settings, file_of(config)):
        structlog.get_logger().warning("open to others", path=str(each.path), reason=each.words, remedy=each.remedy)
    run(settings, roles)
