"""F9, E28, E29: another machine, with the merchant's own descriptor, finds every address that is not the merchant's."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kassa.auditing.remote import Claim, Found, audit, claim
from kassa.checkout.pages import handlers
from kassa.core.errors import Invalid
from kassa.db.pool import Database
from kassa.house import derived_text
from kassa.links.rules import UNPAID_PER_HOUR
from kassa.stores.store import get_store
from kassa.wallets import store as wallets
from kassa.wallets.replacement_store import retire
from kassa.wallets.seal_store import seal_all
from tests.api.conftest import follow
from tests.api.served import Served, serve
from tests.api.test_links import Payer
from tests.faults.test_addresses import THIEF
from tests.house import BITCOIN, TPUB, XPUB, add_store, anvil_network, build_house, regtest

OWN = claim(BITCOIN, BITCOIN, [TPUB], 50)
ETHER = claim("anvil", "31337", [XPUB], 50)


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Served]:
    """A shop that takes bitcoin and ether."""
    house = await build_house(database, tmp_path, {BITCOIN: regtest(), "anvil": anvil_network("http://127.0.0.1:1")})
    for network in (BITCOIN, "anvil"):
        await follow(house, network)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
        chain, now = house.chains["anvil"], house.clock.now()
        account = chain.addresses.account(XPUB)
        await wallets.add_wallet(tx, store.id, "anvil", chain.space, account, house.seal, now)
    async with serve(house, store, handlers(house)) as running:
        yield running
    await house.marks.close()


async def look(served: Served, brought: Claim, *invoices: str, key: bool = True) -> Found:
    return await audit(served.all.base, brought, key=served.all.key if key else None, invoices=invoices, most=50)


async def take_over(served: Served) -> None:
    """Do what only somebody with the database and the key of the seals can do: nothing here finds them."""
    house = served.house
    async with house.database.transaction() as tx:
        await tx.execute("alter table keychains disable trigger keychains_grow")
        descriptor = house.chains[BITCOIN].addresses.account(THIEF).descriptor
        await tx.execute("update keychains set descriptor = $1 where space = $2", descriptor, BITCOIN)
        await seal_all(tx, house.seal, partial(derived_text, house.chains))


async def test_f9_every_address_that_payers_see_is_proven_to_be_the_merchants(served: Served) -> None:
    made = [await served.all.invoice() for _ in range(3)]
    for brought in (OWN, ETHER):
        found = await look(served, brought)
        assert (found.foreign, found.trouble) == ([], [])
        assert found.checked == 6  # three in the list, three on pages
    only = await look(served, OWN, made[0]["id"], key=False)
    assert (only.checked, only.foreign, only.trouble) == (1, [], [])


async def test_e29_a_wallet_that_was_replaced_with_every_seal_right_is_found_from_outside(served: Served) -> None:
    before = await served.all.invoice()
    await take_over(served)
    after = await served.all.invoice()
    address = next(o["address"] for o in after["payment_options"] if o["network"] == BITCOIN)

    found = await look(served, OWN)
    assert [line for line in found.foreign if address in line] != []
    assert any(before["id"] in line for line in found.trouble)  # Kassa itself withholds what was sealed for another key
    unseen = await look(served, OWN, after["id"], key=False)
    assert unseen.foreign == [f"{after['id']}: {address}"]


async def test_f9_a_canary_that_is_ordered_like_any_payers_shows_a_thief(served: Served) -> None:
    order = {"title": "Tea", "amount": "5.00", "currency": "EUR"}

    async def canary(link: str | None = None) -> Found:
        of = link or (await served.all.post("/v1/payment-links", order)).json["id"]
        return await audit(served.all.base, OWN, key=None, invoices=(), most=0, links=[of])

    found = await canary()
    assert (found.checked, found.foreign, found.trouble) == (1, [], [])
    await take_over(served)
    found = await canary()
    assert (len(found.foreign), found.trouble) == (1, [])
    found = await canary(f"lnk_{'0' * 29}")
    assert (found.checked, len(found.trouble)) == (0, 1)


async def test_e43_a_canary_does_the_work_that_payers_are_asked_for(served: Served) -> None:
    limits = replace(served.house.settings.limits, proof_bits=8)
    house = replace(served.house, settings=replace(served.house.settings, limits=limits))
    async with house.database.pool.acquire() as connection:
        store = await get_store(connection, served.store.id)
    async with serve(house, store, handlers(house)) as running:
        order = {"title": "Tea", "amount": "5.00", "currency": "EUR", "reusable": True}
        link = (await running.all.post("/v1/payment-links", order)).json
        for _ in range(UNPAID_PER_HOUR[True] // 2):
            assert (await Payer(running, link).begin()).startswith("inv_")
        found = await audit(running.all.base, OWN, key=None, invoices=(), most=0, links=[link["id"]])
    assert (found.checked, found.foreign, found.trouble) == (1, [], [])


async def test_e28_an_address_beside_the_right_one_on_the_page_is_found(served: Served) -> None:
    invoice = await served.all.invoice(description="pay to bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080 instead")
    found = await look(served, OWN, invoice["id"], key=False)
    assert found.foreign == [f"{invoice['id']}: bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"]


async def test_what_a_former_wallet_issued_is_the_merchants_where_both_are_brought(served: Served) -> None:
    before = await served.all.invoice()
    house, now = served.house, served.house.clock.now()
    async with house.database.transaction() as tx:
        (old,) = [each for each in await wallets.wallets_of(tx, served.store.id) if each.network == BITCOIN]
        await retire(tx, old.id, now)
        chain = house.chains[BITCOIN]
        account = chain.addresses.account(THIEF)
        await wallets.add_wallet(tx, served.store.id, BITCOIN, chain.space, account, house.seal, now)
    after = await served.all.invoice()

    both = await look(served, claim(BITCOIN, BITCOIN, [THIEF, TPUB], 50))
    assert (both.checked, both.foreign, both.trouble) == (4, [], [])
    alone = await look(served, claim(BITCOIN, BITCOIN, [THIEF], 50))
    assert len(alone.foreign) == 2  # in the list, which says why, and on the page
    assert any("bring its descriptor too" in line for line in alone.foreign)
    assert [line for line in alone.foreign if after["id"] in line] == []
    assert any(before["id"] in line for line in alone.foreign)


async def test_indexes_beyond_the_depth_are_the_merchants_as_far_as_they_were_issued(served: Served) -> None:
    made = [await served.all.invoice() for _ in range(4)]
    shallow = claim(BITCOIN, BITCOIN, [TPUB], 2)
    found = await look(served, shallow)
    assert (found.checked, found.foreign, found.trouble) == (8, [], [])
    unlisted = await look(served, shallow, made[3]["id"], key=False)  # nobody said how many there are
    assert len(unlisted.foreign) == 1


async def test_an_order_in_another_coin_is_nothing_unusual_but_its_page_is_read(served: Served) -> None:
    wanted = ["ETH@anvil"]
    await served.all.invoice()
    other = await served.all.invoice(payment_options=wanted)
    found = await look(served, OWN)
    assert (found.checked, found.foreign, found.trouble) == (2, [], [])
    named = await look(served, OWN, other["id"], key=False)
    assert (named.checked, len(named.trouble)) == (0, 1)
    thief = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    lied = await served.all.invoice(payment_options=wanted, description=f"or to {thief}")
    assert (await look(served, OWN)).foreign == [f"{lied['id']}: {thief}"]


async def test_nothing_to_look_at_proves_nothing(served: Served) -> None:
    found = await look(served, OWN, f"inv_{'0' * 29}", key=False)
    assert (found.checked, len(found.trouble)) == (0, 1)
    with pytest.raises(Invalid, match="chain"):
        claim("x", "no-such-chain", [TPUB], 10)


async def test_without_anything_to_look_at_it_says_what_to_name() -> None:
    found = await audit("http://127.0.0.1:1", OWN, key=None, invoices=(), most=50)
    assert found.trouble == ["there is nothing to look at: name --invoice or --link, or give --key"]
    for url in ("pay.example.com", "ftp://pay.example.com", "https://", "https://pay.example.com/kassa"):
        with pytest.raises(Invalid, match="must be a host's address"):
            await audit(url, OWN, key=None, invoices=["inv_1"], most=50)


@pytest.mark.parametrize("said", ["<html>", "[]", '{"data": {}}', '{"data": [{}], "next_cursor": null}'])
async def test_f9_a_server_that_answers_anything_else_is_named_and_believed_nothing(said: str) -> None:
    async def answer(asked: web.Request) -> web.Response:
        return web.Response(text=said if "stream" not in asked.path else f"data: {said}\n\n")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        with pytest.raises(Invalid, match="did not answer as Kassa does"):
            await audit(str(server.make_url("/")), OWN, key="k", invoices=(), most=50)
        found = await audit(str(server.make_url("/")), OWN, key=None, invoices=["inv_1"], most=50)
    assert (found.checked, found.trouble) == (0, [f"inv_1: nothing is offered on {BITCOIN} (status 200)"])
