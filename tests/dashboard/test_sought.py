"""What is looked for in books and links: found by what people have at hand, and never said to be none of what is."""

import re

import pytest

from kassa.core.ids import InvoiceId
from kassa.events import store as events
from kassa.events.model import NewEvent
from kassa.people.model import Role
from tests.dashboard.furnished import furnish
from tests.dashboard.test_daily import fault_at
from tests.dashboard.visitor import Premises, Visitor


async def looked_at(premises: Premises) -> tuple[Visitor, dict[str, str]]:
    """Return an accountant and what stands in the books: an entry of the furnished invoice and payment."""
    pool, accountant = premises.house.database.pool, await premises.member(Role.ACCOUNTANT)
    ids = await furnish(premises, await pool.fetchval("select id from people"))
    await pool.execute("update invoices set reference = 'order-7' where id = $1", ids["inv"])
    await pool.execute("update payments set txid = repeat('ab', 32)")
    await pool.execute("update payments set invoice_id = $1, store_id = $2", ids["inv"], premises.store.id)
    await pool.execute(
        "insert into entries (store_id, payment_id, invoice_id, reason, booked_at)"
        " values ($1, $2, $3, 'settled', now())",
        premises.store.id, ids["pay"], ids["inv"],
    )  # fmt: skip
    return accountant, ids


async def test_the_ledger_finds_an_invoice_and_a_payment_as_their_lists_do(premises: Premises) -> None:
    accountant, ids = await looked_at(premises)
    for query in (
        {"invoice_id": ids["inv"]}, {"invoice_id": f" {ids['inv']} "}, {"invoice_id": "order-7 "},
        {"invoice_id": "ab" * 32}, {"payment_id": "ab" * 32}, {"payment_id": f"{ids['pay']} "},
        {"payment_id": "order-7"},
    ):  # fmt: skip
        seen = await accountant.send("GET", premises.at("books"), params=query)
        assert seen.status == 200, seen.words
        assert (seen.status, "There are none." in seen.words, seen.text.count('data-label="Booked"')) == (
            200,
            False,
            1,
        ), query


async def test_the_ledger_says_what_is_no_invoice_and_no_payment(premises: Premises) -> None:
    accountant, ids = await looked_at(premises)
    for query in ({"invoice_id": "order-8"}, {"invoice_id": "inv_" + "0" * 29}, {"payment_id": "cd" * 32}):
        (name,) = query
        seen = await accountant.send("GET", premises.at("books"), params=query)
        kind = name.removesuffix("_id")
        assert fault_at(seen.text, name) == f"is no {kind}&#39;s id, reference, address or transaction"
        assert (seen.status, "There are none." in seen.words, query[name] in seen.text) == (422, False, True)
    pool = premises.house.database.pool
    await pool.execute(
        "insert into invoices select (json_populate_record(i, json_build_object('id', 'inv_' || repeat('0', 29)))).*"
        " from invoices i where id = $1",
        ids["inv"],
    )
    seen = await accountant.send("GET", premises.at("books"), params={"invoice_id": "order-7"})
    assert fault_at(seen.text, "invoice_id") == "finds several invoices; give the id of one"
    seen = await accountant.send("GET", premises.at("books"), params={"invoice_id": "a" * 2_049})
    assert fault_at(seen.text, "invoice_id") != ""
    seen = await accountant.send("GET", premises.at("books"), params={"account": "a" * 101})
    assert fault_at(seen.text, "account") != ""


async def test_an_account_is_found_in_whatever_case(premises: Premises) -> None:
    accountant, ids = await looked_at(premises)
    await premises.house.database.pool.execute(
        "insert into postings (entry_id, account, asset, units, value_units) select id, account, asset, units, units"
        " from entries, payment_options o, (values ('sales', 5), ('fees', -5)) as posted (account, units)"
        " where entries.payment_id = $1 and o.invoice_id = $2 limit 2",
        ids["pay"], ids["inv"],
    )  # fmt: skip
    assert "There are none." not in (await accountant.open(premises.at("books?account=Sales+"))).words


@pytest.mark.parametrize(
    "days", ["from=2026-12-01&to=2026-11-01", "from=2020-01-01&to=2026-11-01", "from=never&to=2026-11-01"]
)
async def test_days_that_make_no_report_are_said_at_their_fields(premises: Premises, days: str) -> None:
    accountant = await premises.member(Role.ACCOUNTANT)
    for page in ("reports?report=sales&", "reports/file?report=sales&", "books/export?format=jsonl&"):
        if page.startswith("books") and "2020" in days:
            continue  # as long as it holds few entries
        seen = await accountant.open(premises.at(page + days))
        assert seen.status == 422, page
        assert fault_at(seen.text, "from") + fault_at(seen.text, "to") != "", page
        assert 'value="2026-11-01"' in seen.text, page
        assert "Nothing to report." not in seen.words
    assert "<option selected>jsonl" in seen.text or "reports" in seen.url


async def test_a_link_is_found_by_its_reference_with_a_blank_behind_it(premises: Premises) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    ids = await furnish(premises, await pool.fetchval("select id from people"))
    await pool.execute("update payment_links set reference = 'rent-7'")
    assert ids["lnk"] in (await owner.open(premises.at("links?search=rent-7+"))).text
    seen = await owner.send("GET", premises.at("links"), params={"search": "a" * 2_049})
    assert (seen.status, fault_at(seen.text, "search") != "", "None is like that" in seen.words) == (
        422,
        True,
        False,
    )


async def test_every_search_takes_what_people_paste(premises: Premises) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    ids = await furnish(premises, await pool.fetchval("select id from people"))
    await pool.execute("update payments set txid = repeat('ab', 32), conflict_txid = repeat('cd', 32)")
    await pool.execute("update payments set invoice_id = $1, store_id = $2", ids["inv"], premises.store.id)
    await pool.execute("update invoices set link_id = $1, customer_id = $2", ids["lnk"], ids["cus"])
    address = await pool.fetchval("select address from addresses where invoice_id = $1", ids["inv"])
    site = premises.house.settings.http.public_url
    of_payment = (
        f" {ids['inv'].upper()}\r\n", f"\t{ids['pay'].upper()} ", f"{site}/i/{ids['inv']}?lang=de#top",
        f"{site}/I/{ids['inv']}".upper(), premises.base + premises.at(f"invoices/{ids['inv']}"),
        "ab" * 32, "AB" * 32, "cd" * 32, "0x" + "CD" * 32, f"https://mempool.space/testnet4/tx/{'cd' * 32}#vout=0",
        f"https://blockstream.info/tx/{'AB' * 32}?expand", f"https://explorer.example/#/tx/{'ab' * 32}",
    )  # fmt: skip
    of_address = (
        address.upper(), f"bitcoin:{address}?amount=0.001&label=Tea%20%26%20cake",
        f"BITCOIN:{address.upper()}?AMOUNT=1", f"https://mempool.space/address/{address}",
        f"bitcoin:{address}?amount=1&label={'%F0%9F%8D%B5' * 80}",
    )  # fmt: skip
    of_link = (ids["lnk"].upper(), f"{site}/l/{ids['lnk']}?lang=de\n")
    for where, kind, takes in (
        ("invoices", "inv", of_payment + of_address + of_link),
        ("payments", "pay", of_payment + of_address + of_link),
        ("links", "lnk", of_payment + of_address + of_link),
        ("customers", "cus", of_payment + of_address),
    ):
        for text in takes:
            seen = await owner.send("GET", premises.at(where), params={"search": text})
            assert f"{where}/{ids[kind]}" in seen.text, (where, text)
        for text in (ids["inv"][:-1], ids["lnk"].upper()[:-1], f"{site}/i/{ids['inv'][:-1]}", "ab" * 31, address[:-1]):
            seen = await owner.send("GET", premises.at(where), params={"search": text})
            assert (seen.status, f"{where}/{ids[kind]}" in seen.text) == (200, False), (where, text)


async def test_the_ledger_takes_the_payment_that_replaced_another_for_what_is_asked(premises: Premises) -> None:
    accountant, ids = await looked_at(premises)
    await premises.house.database.pool.execute(
        "insert into payments select (json_populate_record(p, json_build_object('id', 'pay_' || repeat('2', 29),"
        " 'txid', repeat('cd', 32), 'conflict_txid', p.txid))).* from payments p where id = $1",
        ids["pay"],
    )
    for text, there in (("AB" * 32, True), (f"https://mempool.space/tx/{'ab' * 32}", True), ("cd" * 32, False)):
        seen = await accountant.send("GET", premises.at("books"), params={"payment_id": text})
        assert (seen.status, seen.text.count('data-label="Booked"')) == (200, int(there)), text
    seen = await accountant.send("GET", premises.at("books"), params={"invoice_id": f"\n{ids['inv'].upper()} "})
    assert seen.text.count('data-label="Booked"') == 1


async def listed(visitor: Visitor, path: str, **query: str) -> list[str]:
    """Return what a list shows of what is looked for, by its ids."""
    seen = await visitor.send("GET", path, params=query)
    assert seen.status == 200, seen.words
    assert ("None is like that." in seen.words) is ("data-key" not in seen.text)
    return re.findall('data-key="([^"]+)"', seen.text)


async def named(premises: Premises, ids: dict[str, str]) -> tuple[str, str, str, str]:
    """Name the furnished invoice and payment, and add a deposit; return reference, address, txid, and the deposit's."""
    pool, store, invoice = premises.house.database.pool, premises.store.id, ids["inv"]
    await pool.execute("update invoices set reference = 'order-7' where id = $1", invoice)
    await pool.execute("update payments set txid = repeat('ab', 32), invoice_id = $1, store_id = $2", invoice, store)
    await pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, first_seen_at,
               replaceable, block_height, block_hash, store_id)
           select 'pay_' || repeat('2', 29), network, repeat('cd', 32), 'out:0', asset, units, 0, address_id,
               first_seen_at, false, 100, 'cd', store_id from payments"""
    )
    address = await pool.fetchval("select address from addresses where invoice_id = $1", invoice)
    return "order-7", address, "ab" * 32, "cd" * 32


async def test_an_event_is_found_by_its_id_or_by_that_of_what_it_is_about(premises: Premises) -> None:
    owner, pool, store = await premises.member(Role.OWNER), premises.house.database.pool, premises.store.id
    ids = await furnish(premises, await pool.fetchval("select id from people"))
    deposit, invoice = f"pay_{'2' * 29}", InvoiceId(ids["inv"])
    reference, address, txid, own = await named(premises, ids)
    amount = {"amount": "1", "asset": "BTC", "hostile": "\x00"}
    told = (
        NewEvent(store, "payment.detected", {"object": "payment", "id": ids["pay"]} | amount, invoice),
        NewEvent(store, "payment.detected", {"object": "payment", "id": deposit} | amount),
        NewEvent(store, "customer.credited", {"object": "credit", "customer_id": ids["cus"]}, invoice),
        NewEvent(store, "alert.opened", {"object": "alert", "id": ids["alt"], "kind": "credit_lost"}, invoice),
    )
    async with premises.house.database.transaction() as tx:
        paid, deposited, credited, opened = await events.write(tx, told, premises.clock.now())
        await events.number(tx)
    rows = await pool.fetch("select id, type from events where store_id = $1 order by sequence", store)
    by_type = {row["type"]: row["id"] for row in rows}
    here, of_invoice = premises.at("events"), [opened, credited, paid, by_type["invoice.created"]]
    of_address = [opened, credited, deposited, paid, by_type["invoice.created"]]
    for text, expected in (
        (paid, [paid]), (f" {paid.upper()}\n", [paid]), (premises.base + premises.at(f"events/{paid}"), [paid]),
        (invoice, of_invoice), (ids["pay"], [paid]), (deposit, [deposited]),
        (ids["cus"], [credited]), (ids["lnk"], [by_type["payment_link.created"]]),
        (ids["whk"], [by_type["webhook.test"]]), (ids["wch"], [by_type["wallet.change_asked"]]),
        (reference, of_invoice), (txid, of_invoice), (address, of_address),
        (f"bitcoin:{address}?amount=1", of_address),
        (f"https://mempool.space/tx/{own}", [deposited]),
        (paid[:-1], []), ("order-8", []),
    ):  # fmt: skip
        assert await listed(owner, here, search=text) == expected, text
    assert opened in await listed(owner, here, search=ids["alt"])
    assert await listed(owner, here, search=invoice, type="payment.*") == [paid]
    seen = await owner.send("GET", here, params={"search": "a" * 2_049})
    assert (seen.status, fault_at(seen.text, "search") != "", "None is like" in seen.words) == (422, True, False)


async def test_a_delivery_is_found_by_its_id_its_receivers_or_by_what_finds_its_event(premises: Premises) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    ids = await furnish(premises, await pool.fetchval("select id from people"))
    reference, address, txid, own = await named(premises, ids)
    told = (
        NewEvent(premises.store.id, "payment.detected", {"object": "payment", "id": ids["pay"]}, InvoiceId(ids["inv"])),
        NewEvent(premises.store.id, "payment.detected", {"object": "payment", "id": f"pay_{'2' * 29}"}),
    )
    async with premises.house.database.transaction() as tx:
        made = await events.write(tx, told, premises.clock.now())
        await events.number(tx)
    paid, deposited = [await pool.fetchval("select id from deliveries where event_id = $1", each) for each in made]
    both = sorted((paid, deposited), reverse=True)
    rows = await pool.fetch("select id, event_id from deliveries where webhook_id = $1 order by id desc", ids["whk"])
    every = [row["id"] for row in rows]
    (event,) = [row["event_id"] for row in rows if row["id"] == ids["dlv"]]
    here = premises.at("deliveries")
    assert len(every) > 1
    for text, expected in (
        (ids["dlv"], [ids["dlv"]]), (f"\t{ids['dlv'].upper()} ", [ids["dlv"]]), (event, [ids["dlv"]]),
        (premises.base + premises.at(f"events/{event}"), [ids["dlv"]]), (ids["whk"], every), (event[:-1], []),
        (premises.base + premises.at(f"webhooks/{ids['whk']}"), every), (ids["inv"], [paid]),
        (ids["pay"], [paid]), (reference, [paid]), (address, both), (txid, [paid]), (own, [deposited]),
        (f"bitcoin:{address}?amount=1", both), ("order-8", []),
    ):  # fmt: skip
        assert await listed(owner, here, search=text) == expected, text
    seen = await owner.send("GET", here, params={"search": "a" * 2_049})
    assert (seen.status, fault_at(seen.text, "search") != "", "None is like" in seen.words) == (422, True, False)
