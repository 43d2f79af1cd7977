"""`kassa sandbox …`: what can be typed. Everything heavy is imported inside the commands, so that --help is at once."""
# ruff: noqa: PLC0415

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kassa.sandbox.commands import Bench

app = typer.Typer(
    help="Try everything on your own machine: private Bitcoin and Ethereum nodes, a demo store, webhooks to watch.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar="KASSA_SANDBOX_DIR", help="Where it keeps its data; .kassa/sandbox if not said."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one document a line, for programs.")]


@app.callback(invoke_without_command=True)
def sandbox(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Play one payment from invoice to webhook, check each step, and exit.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Start a sandbox, or continue the one that was here, until Ctrl-C."""
    context.obj = data_dir
    if context.invoked_subcommand is not None:
        return
    from kassa.sandbox import run

    play = run.once if once else run.interactive
    raise typer.Exit(play(data_dir, as_json=as_json))


@app.command()
def invoice(
    context: typer.Context,
    amount: Annotated[str, typer.Option(help="In whole units: 49.90")] = "49.90",
    currency: Annotated[str, typer.Option(help="Of the price; the sandbox has rates in EUR.")] = "EUR",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make another invoice of the demo store."""
    from kassa.sandbox import commands

    _command(context, data_dir, as_json, lambda bench: commands.make_invoice(bench, amount, currency))


@app.command()
def pay(
    context: typer.Context,
    invoice: Annotated[str, typer.Argument(metavar="INVOICE", help="Its id, or last: the newest one.")] = "last",
    amount: Annotated[str | None, typer.Option(help="In whole coins: 0.0005. If not said: what is still due.")] = None,
    asset: Annotated[str | None, typer.Option(help="BTC, ETH or USDC. If not said: the first that is offered.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Pay an invoice, as its payer would."""
    from kassa.sandbox import commands

    _command(context, data_dir, as_json, lambda bench: commands.pay(bench, invoice, amount, asset))


@app.command()
def mine(
    context: typer.Context,
    count: Annotated[int, typer.Argument(metavar="COUNT", min=1, max=1000, help="How many blocks.")] = 1,
    network: Annotated[str | None, typer.Option(help="Only on this one; if not said, on each.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Mine blocks, which confirm what is waiting."""
    from kassa.sandbox import commands

    _command(context, data_dir, as_json, lambda bench: commands.mine(bench, count, network))


@app.command()
def reorg(
    context: typer.Context,
    depth: Annotated[
        int | None, typer.Argument(metavar="DEPTH", min=1, max=1000, help="How many blocks are replaced.")
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Leave the invoice's payments out of the new blocks.")] = False,
    invoice: Annotated[str, typer.Option(help="For --drop: an invoice's id, or last.")] = "last",
    network: Annotated[str | None, typer.Option(help="Of this network; if not said, of the payment's.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Replace the last blocks by others: one, or with --drop as many as it takes."""
    from kassa.sandbox import commands

    _command(context, data_dir, as_json, lambda bench: commands.reorganise(bench, depth, invoice, network, drop=drop))


@app.command()
def reset(context: typer.Context, data_dir: DataDir = None) -> None:
    """Delete the sandbox's data: chain, database and demo store."""
    from kassa.sandbox import run

    run.reset(data_dir or context.obj)


def _command(
    context: typer.Context, data_dir: Path | None, as_json: bool, work: "Callable[[Bench], Coroutine[Any, Any, None]]"
) -> None:
    from kassa.sandbox.commands import reached
    from kassa.sandbox.screen import Screen
    from kassa.sandbox.state import DEFAULT, Folder

    async def run() -> None:
        async with reached(Folder(data_dir or context.obj or DEFAULT), Screen(as_json=as_json)) as bench:
            await work(bench)

    asyncio.run(run())
