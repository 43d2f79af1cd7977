"""The commands about money without an owner. Heavy modules are imported inside them."""

import json
from typing import Annotated

import typer

from kassa.command import AsJson, Config, StoreId, ask, settings_of

payment_app = typer.Typer(help="Money without an owner.", no_args_is_help=True)


@payment_app.command("unassigned")
def unassigned(config: Config = None, as_json: AsJson = False) -> None:
    """List money without an owner, with whose it may be."""
    from kassa.operations import payments as operations

    told = ask(operations.unassigned_payments(settings_of(config)))
    lines = [
        f"{each['payment_id']}  {each['amount'] or 'an unknown amount of'} {each['asset']}"
        f"  {', '.join(each['stores']) or 'no store'}  suggested: {each['suggested']}"
        f"  {each['txid']} {each['position']}"
        for each in told["data"]
    ]
    print(json.dumps(told) if as_json else "\n".join(lines) or "all money has an owner")


@payment_app.command("assign")
def assign(
    payment: Annotated[str, typer.Argument(help="The payment's id, pay_…")],
    store: StoreId,
    customer: Annotated[str | None, typer.Option(help="The customer's id; none: the store's own income.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give money without an owner to a customer, or to the store's income: your decision, which is kept."""
    from kassa.operations import payments as operations

    told = ask(operations.assign_payment(settings_of(config), store, payment, customer))
    print(json.dumps(told) if as_json else f"{payment} belongs to {told['assigned_to']}")
