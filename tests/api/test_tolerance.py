"""C14: at the edge of a tolerance, one unit decides, and API, page and webhook say the same."""

import json

import pytest

from kassa import flow
from kassa.core.facts import Block, BlockRef, Transaction, Transfer, TransferKey
from kassa.watch import store as watch
from kassa.watch.model import ChainUpdate
from tests.api.served import Served
from tests.house import BITCOIN


async def pay(served: Served, address: str, units: int) -> None:
    """Bring units to an address in a block."""
    house, now = served.house, served.house.clock.now()
    to = house.chains[BITCOIN].addresses.parse(address)
    transfer = Transfer(TransferKey(BITCOIN, "tx", "out:0"), to, "BTC@bitcoin-regtest", units)
    async with house.database.transaction() as tx:
        position = (await watch.positions(tx))[BITCOIN]
    assert position.tip is not None
    ref = BlockRef(position.tip.height + 1, "cd" * 32)
    update = ChainUpdate((), (Block(ref, position.tip.hash, now, (Transaction("tx", (transfer,), ()),)),))
    await house.database.run(lambda tx: flow.on_chain_update(tx, house, position, update, 60, now))


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize(
    ("order", "due", "enough"),
    [
        ({"amount": "50.00", "currency": "EUR"}, "0.00100000", 99_000),
        ({"amount": "0.00200000", "currency": "BTC"}, "0.00200000", 198_000),
    ],
)
async def test_c14_one_unit_at_the_edge_of_a_percentage_decides_and_everybody_hears_the_same(
    served: Served, order: dict[str, str], due: str, enough: int, more: int
) -> None:
    invoice = await served.all.invoice(**order, policy={"tolerance_percent": "1"})
    [option] = invoice["payment_options"]
    assert option["amount"] == due
    await pay(served, option["address"], enough + more)

    shown = (await served.all.get(f"/v1/invoices/{invoice['id']}")).json
    accepted = more >= 0
    assert shown["status"] == ("settled" if accepted else "new")
    assert shown["rules"] == (["tolerance"] if accepted else [])
    page = (await served.caller(None).get(f"/i/{invoice['id']}")).body.decode()
    assert ("Paid" in page) == accepted
    told = await served.house.database.pool.fetch(
        "select object from events where type like 'invoice.%' order by position"
    )
    last = json.loads(told[-1]["object"])
    for field in ("status", "rules", "amount_paid", "amount_due"):
        assert last[field] == shown[field]
