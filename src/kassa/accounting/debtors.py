"""The commands about what customers owe. Heavy modules are imported inside them."""

from typing import Annotated

import typer

from kassa.command import AsJson, Config, StoreId, ask, settings_of, tell, tell_table

customer_app = typer.Typer(help="What customers owe.", no_args_is_help=True)


@customer_app.command("owing")
def customer_owing(store: StoreId, config: Config = None, as_json: AsJson = False) -> None:
    """List the customers who spent credit that was then taken back, with what of it is written off."""
    from kassa.accounting import owing

    told = ask(owing.owing(settings_of(config), store))
    tell_table(told, as_json, ("customer_id", "reference", "asset", "owed", "written_off"))


@customer_app.command("write-off")
def customer_write_off(
    customer: Annotated[str, typer.Argument(help="The customer's id: cus_…")],
    store: StoreId,
    asset: Annotated[str, typer.Option(help="What they owe it in: BTC@bitcoin")],
    note: Annotated[str, typer.Option(help="Why: it is kept.")],
    amount: Annotated[str | None, typer.Option(help="How much; none: all that is not written off yet.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: you have seen the amount.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a loss of what a customer owes: your decision, which is kept and cannot be taken back."""
    from kassa.accounting import owing

    settings = settings_of(config)
    owing.check_note(note)
    if not yes:
        seen = ask(owing.preview(settings, store, customer, asset, amount))
        typer.confirm(
            f"{seen['amount']} {asset}, {seen['value']} {seen['currency']} in the books, become a loss of the store."
            f" {customer} still owes it, and what comes later takes the loss back; you cannot. Write it off?",
            abort=True,
            err=True,
        )
        amount = seen["amount"]
    told = ask(owing.write_off(settings, store, customer, asset, amount, note))
    tell(told, as_json, f"{customer} owes {told['owed']} {asset}, of which {told['written_off']} are written off")
