"""Payments that only a balance showed, of blocks that were undone: which of them may be found again."""

from dataclasses import replace

from kassa.core.facts import BY_BALANCE, Transaction
from tests.db.test_flow import World
from tests.db.test_flow import world as world  # noqa: PLC0414  # a fixture
from tests.house import BITCOIN


def _grown(world: World, block: str, invoice: dict, units: int = 100_000) -> Transaction:  # type: ignore[type-arg]
    """What a balance grew by in a block."""
    paying = world.paying(block, invoice, units=units)
    (transfer,) = paying.transfers
    renamed = replace(transfer, key=replace(transfer.key, position=BY_BALANCE + "0x01"))
    return replace(paying, transfers=(renamed,), inputs=())


async def _undone(world: World, block: str) -> dict:  # type: ignore[type-arg]
    """Pay an invoice in a block that another takes the place of; it is not seen in the mempool either."""
    invoice = await world.invoice()
    await world.mine(_grown(world, block, invoice))
    await world.mine(undo=1, empty=1)
    await world.look()
    return invoice


async def test_what_was_dropped_is_not_the_same_amount_that_comes_later(world: World) -> None:
    invoice = await _undone(world, "b1")
    world.clock.move(world.house.settings.networks[BITCOIN].drop_after_seconds + 1)
    await world.look()
    (lost,) = (await world.shown(invoice))["payments"]
    await world.mine(_grown(world, "b2", invoice))
    old, new = sorted((await world.shown(invoice))["payments"], key=lambda each: each["txid"])
    assert (old["id"], old["txid"], old["status"]) == (lost["id"], "b1", "reversed")
    assert (new["txid"], new["status"]) == ("b2", "settled")


async def test_what_still_waits_is_the_same_amount_that_comes_again(world: World) -> None:
    invoice = await _undone(world, "b1")
    (waiting,) = (await world.shown(invoice))["payments"]
    await world.mine(_grown(world, "b2", invoice))
    (found,) = (await world.shown(invoice))["payments"]
    assert (found["id"], found["txid"], found["status"]) == (waiting["id"], "b2", "settled")


async def test_what_a_block_showed_to_be_nothing_waits_again_once_that_is_undone(world: World) -> None:
    invoice = await world.invoice()
    await world.mine(_grown(world, "b1", invoice))
    await world.mine(_grown(world, "b2", invoice, 60_000), undo=1)
    before = {each["txid"]: each for each in (await world.shown(invoice))["payments"]}
    assert {txid: each["status"] for txid, each in before.items()} == {"b1": "reversed", "b2": "settled"}
    await world.mine(_grown(world, "b3", invoice), undo=1)
    after = {each["txid"]: each for each in (await world.shown(invoice))["payments"]}
    assert (after["b3"]["id"], after["b3"]["status"]) == (before["b1"]["id"], "settled")
    assert after["b2"]["status"] == "detected"
