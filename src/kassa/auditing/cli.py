"""The commands of the audit log. Heavy modules are imported inside them, so that `kassa --help` answers at once."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kassa.command import AsJson, Config, ask, settings_of
from kassa.command import reason as why

key_app = typer.Typer(help="The key that seals issued addresses.", no_args_is_help=True)
log_app = typer.Typer(help="Who did what to the safety of this installation.", no_args_is_help=True)


@log_app.command("verify")
def verify(
    head: Annotated[str | None, typer.Option(help="A head that you kept: NUMBER:HASH.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check that nothing was changed in the log or cut off from it; exit code 1 otherwise."""
    from kassa.auditing import log

    told = ask(log.verify(settings_of(config), head))
    since = f" after act {told['since']}, up to which it was accepted" if told["since"] else ""
    words = f"the audit log is whole{since}; keep its head somewhere else:\n{told['head']}"
    if told["anchor"] is None and head is None:
        words = f"{words}\nNo anchor is here (`kassa work` keeps one): a cut end would not be noticed without --head."
    if told["reason"] is not None:
        said = 'See docs/audit.md; `kassa audit accept --reason "…"` after you have looked.'
        words = f"the audit log is BROKEN: {told['reason']}\n{said}"
    print(json.dumps(told) if as_json else words)
    if told["reason"] is not None:
        raise typer.Exit(1)


@log_app.command("accept")
def accept(
    reason: Annotated[str, typer.Option(help="Why the log is as it is: a backup was restored, say.", callback=why)],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take the log as it is now for the whole log: your decision, which is recorded in it."""
    from kassa.auditing import log
    from kassa.operations.acting import operator

    told = ask(log.accept(settings_of(config), operator(), reason))
    print(json.dumps(told) if as_json else f"accepted; the head is now\n{told['head']}")


@key_app.command("renew")
def renew_key(
    reason: Annotated[str, typer.Option(help="Why: the machine with the old key burnt, say.", callback=why)],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Seal every address anew with a new key, when the old one is lost: compare all wallets' fingerprints before.

    Refused while Kassa runs: stop every process of it first, on every machine that works on this database.
    """
    from kassa.auditing import log
    from kassa.operations.acting import operator

    told = ask(log.renew_key(settings_of(config), operator(), reason))
    words = (
        f"{told['addresses']} addresses are sealed anew; {told['left']} are not as they were issued and stay withheld"
    )
    if told["wallets_left"]:
        words += f"\nNo right seal, and offered no more: {', '.join(told['wallets_left'])}. Who changed the database?"
    words += "\nCopy the new address-key to every machine of this installation, and start every process again."
    print(json.dumps(told) if as_json else words)


@log_app.command("export")
def export(
    after: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Only acts after this number.")] = 0,
    store: Annotated[str | None, typer.Option(help="Only acts of this store.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The file; none: standard output.")] = None,
    config: Config = None,
) -> None:
    """Write the log as JSON lines, oldest first, with the hashes that chain it."""
    from kassa.auditing import log

    ask(log.export(settings_of(config), after, store, output))


def addresses(
    url: Annotated[str, typer.Option(help="Where payers find this Kassa: https://pay.example.com")],
    network: Annotated[str, typer.Option(help="The network's name there, as in BTC@NAME.")],
    descriptor: Annotated[
        list[str],
        typer.Option(help="Your own descriptor or extended public key, from your own wallet; again for former ones."),
    ],
    chain: Annotated[str | None, typer.Option(help="The chain, such as bitcoin or 8453; none: as the network.")] = None,
    key: Annotated[
        str | None, typer.Option(envvar="KASSA_AUDIT_KEY", help="A key with invoices:read and wallets:read.")
    ] = None,
    invoice: Annotated[list[str] | None, typer.Option(help="Look at this invoice's page; may be repeated.")] = None,
    link: Annotated[
        list[str] | None, typer.Option(help="Order a canary by this payment link, and look at its page.")
    ] = None,
    most: Annotated[int, typer.Option(min=0, help="With a key: look at so many of the newest invoices.")] = 50,
    depth: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Try at least so many indexes of each descriptor.")
    ] = 20_000,
    as_json: AsJson = False,
) -> None:
    """Prove, from ANOTHER machine, that what payers see comes from your key; exit code 1 when not, or not provable.

    Needs no database and no settings, and believes nothing that the server says about its wallets.
    """
    from kassa.auditing import remote

    brought = remote.claim(network, chain or network, descriptor, depth)
    found = ask(remote.audit(url, brought, key=key, invoices=invoice or (), most=most, links=link or ()))
    lines = [f"FOREIGN  {line}" for line in found.foreign] + [f"unclear  {line}" for line in found.trouble]
    words = f"{found.checked} addresses were compared, {len(found.foreign)} are not yours"
    print(json.dumps(found.told()) if as_json else "\n".join([*lines, words]))
    if found.foreign or found.trouble or not found.checked:
        raise typer.Exit(1)
