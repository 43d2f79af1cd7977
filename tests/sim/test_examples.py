"""Histories that once failed, or that the catalogue of faults names, as small examples."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kassa.db.pool import Database
from tests.sim.world import MAX_REORG, World, new_world


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    async with new_world(database, tmp_path / "house") as made:
        yield made


async def test_a_confirmed_rival_is_not_forgotten_for_one_that_only_waits(world: World) -> None:
    """A payment with two coins lost one in a block; that somebody tries to spend the other says nothing more."""
    invoice = await world.invoice()
    assert invoice is not None
    one, other = world.chain.coin(), world.chain.coin()
    world.chain.submit(world.paying(invoice, spends=[one, other]))
    await world.step()
    mined = world.tx((b"x" * 22, 1), spends=[one])
    world.chain.mine([mined])
    await world.step()
    world.chain.submit(world.tx((b"x" * 22, 1), spends=[other]))
    await world.step()
    assert (await world.shown(invoice))["payments"][0]["replaced_by"] == mined.txid


async def test_a4_flip_flop_between_two_branches(world: World) -> None:
    invoice = await world.invoice("150.00")
    assert invoice is not None
    paid = world.paying(invoice)
    world.chain.mine()
    world.chain.mine([paid])
    world.chain.mine()
    left = world.chain.tip
    await world.step()
    world.chain.fork(2, 3, [world.tx((world.script(invoice), 5), spends=paid.inputs)])
    right = world.chain.tip
    await world.step()
    for tip in [left, right] * 5:
        world.chain.switch(tip)
        await world.step()
        world.chain.mine(())
        left, right = (world.chain.tip, right) if tip == left else (left, world.chain.tip)
        await world.step()
    assert len((await world.shown(invoice))["payments"]) == 2


async def test_a_reorganisation_takes_from_the_sums_of_a_link_what_it_took_from_an_invoice(world: World) -> None:
    kept, lost = await world.invoice(), await world.invoice()
    assert kept is not None
    assert lost is not None
    world.chain.mine([world.paying(kept)])
    await world.step()
    world.chain.mine([taken := world.paying(lost)])
    world.chain.mine()
    await world.step()
    before = await world.link()
    world.chain.fork(2, 3, [world.tx((b"x" * 22, 1), spends=taken.inputs)])
    await world.step()
    after = await world.link()
    assert (before["amount_paid"], before["amount_settled"], before["invoices"]["settled"]) == ("100.00", "100.00", 2)
    assert (after["amount_paid"], after["amount_settled"], after["invoices"]["settled"]) == ("50.00", "50.00", 1)


async def test_a6_a_reorganisation_beyond_the_limit_halts_until_somebody_looked(world: World) -> None:
    invoice = await world.invoice()
    assert invoice is not None
    paid = world.paying(invoice)
    world.chain.mine()
    world.chain.mine([paid])
    for _ in range(MAX_REORG):
        world.chain.mine()
    await world.step()
    world.chain.fork(MAX_REORG + 1, MAX_REORG + 2, lose=[paid.txid])
    await world.step()
    assert (await world.position()).state == "halted"
    assert (await world.shown(invoice))["status"] == "settled"
    assert await world.invoice() is None
    await world.resume()
    await world.step()
    assert (await world.position()).tip.hash == world.chain.tip
    assert (await world.shown(invoice))["status"] == "processing"


async def test_a8_the_same_payment_mined_under_another_id_counts_once(world: World) -> None:
    invoice = await world.invoice()
    assert invoice is not None
    paid = world.paying(invoice)
    world.chain.submit(paid)
    await world.step()
    world.chain.mine([world.tx(*paid.outputs, spends=paid.inputs, name="malleated")])
    await world.step()
    shown = await world.shown(invoice)
    assert {p["txid"]: p["status"] for p in shown["payments"]} == {paid.txid: "replaced", "malleated": "settled"}
    assert (shown["status"], shown["amount_paid"]) == ("settled", "50.00")


async def test_a34_mined_between_reading_the_mempool_and_the_tip(world: World) -> None:
    """The mempool without the payment belongs to the block that holds it: it proves nothing at the block before."""
    invoice = await world.invoice(expires_in=30)
    assert invoice is not None
    world.clock.move(29)
    world.chain.submit(world.paying(invoice))
    world.clock.move(2)
    # Calls of a look: the tip, the mempool, the tip after it.
    world.source.faults += [None, lambda: world.chain.mine(skew=-10) and None]  # type: ignore[func-returns-value]
    await world.look()
    await world.step()
    shown = await world.shown(invoice)
    assert (shown["status"], shown["flags"]) == ("settled", [])


async def test_a_lagging_node_neither_undoes_nor_expires(world: World) -> None:
    invoice = await world.invoice(expires_in=30)
    assert invoice is not None
    world.chain.mine()
    world.chain.mine([world.paying(invoice)])
    await world.step()
    unpaid = await world.invoice(expires_in=30)
    assert unpaid is not None
    world.source.behind = 2
    world.clock.move(100)
    await world.step()
    assert (await world.shown(invoice))["status"] == "settled"
    assert (await world.shown(unpaid))["status"] == "new"
    world.source.behind = 0
    await world.step()
    assert (await world.shown(unpaid))["status"] == "expired"


async def test_what_needs_no_block_settles_when_the_doubt_about_its_asset_is_over(world: World) -> None:
    invoice = await world.invoice("15.00")
    assert invoice is not None
    await world.freeze()
    world.chain.submit(world.paying(invoice))
    await world.step()
    assert (await world.shown(invoice))["status"] == "processing"
    await world.thaw()
    await world.oracle.check()
    assert (await world.shown(invoice))["status"] == "settled"


async def test_what_hangs_on_a_transaction_ends_with_it_though_blocks_alone_ever_showed_both(world: World) -> None:
    invoice = await world.invoice()
    assert invoice is not None
    parent = world.tx((b"x" * 22, 200_000))
    child = world.paying(invoice, spends=[f"{parent.txid}:0"])
    world.chain.mine([parent])
    world.chain.mine([child])
    await world.step()
    assert (await world.shown(invoice))["status"] == "settled"
    rival = world.tx((b"x" * 22, 1), spends=parent.inputs)
    world.chain.fork(2, 3, [rival])
    await world.step()
    (payment,) = (await world.shown(invoice))["payments"]
    assert (payment["status"], payment["replaced_by"]) == ("reversed", rival.txid)
