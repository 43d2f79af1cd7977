"""What people do in the dashboard on a usual day, and the slips that they make."""

import json
import re

import pytest

import kassa.wallets.store as wallets
from kassa import flow
from kassa.core.ids import InvoiceId
from kassa.dashboard.pages import ACTIONS
from kassa.payments.model import Touched
from kassa.people.model import Role
from tests.dashboard.furnished import Ids, furnish
from tests.dashboard.visitor import Premises
from tests.house import BITCOIN


def fault_at(text: str, field: str) -> str:
    """Return what a page says at a field that is marked as wrong for every reader; empty where it is not."""
    said = re.search(rf'<p class="fault" id="e-{field}">([^<]*)</p>', text)
    marked = re.search(rf'<(input|select|textarea)[^>]*name="{field}"[^>]*aria-invalid="true"[^>]*e-{field}"', text)
    grouped = re.search(rf'<fieldset aria-describedby="e-{field}">', text)
    return said[1] if said and (marked or grouped) else ""


async def test_a_role_that_is_given_again_ends_no_session_and_is_no_change(premises: Premises) -> None:
    owner, admin = await premises.member(Role.OWNER), await premises.member(Role.ADMIN)
    pool = premises.house.database.pool
    for mine, email in ((owner, "owner@shop.example"), (admin, "admin@shop.example")):
        person = await pool.fetchval("select id from people where email = $1", email)
        await owner.open(premises.at("members"))
        await owner.submit(f"{person}/role")  # "Change", with nothing changed
        assert "That is their role already. Nothing was changed." in owner.seen.words
        assert (await mine.open(premises.at("account"))).status == 200
        assert mine.seen.url == premises.at("account")
    assert await pool.fetchval("select count(*) from acts where kind = 'member.changed'") == 0


async def test_the_list_of_wallets_goes_on_where_a_page_of_it_ends(premises: Premises) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    await pool.execute(
        """insert into wallets select (jsonb_populate_record(w, jsonb_build_object(
               'id', left(w.id, -3) || lpad(n::text, 3, '0'), 'retired_at', now()))).*
           from wallets w, generate_series(100, 225) n where w.network = $1""",
        BITCOIN,
    )
    seen, shown = await owner.open(premises.at("wallets")), set()
    for _ in range(20):
        shown |= set(re.findall(r"wallets/(wal_\w+)", seen.text))
        following = re.search(r'href="(\?[^"]*)" rel="next"', seen.text)
        if following is None:
            break
        seen = await owner.open(premises.at("wallets") + following[1])
    assert len(shown) == await pool.fetchval("select count(*) from wallets")
    assert len(await wallets.wallets_of(pool, premises.store.id, before=None, limit=1_000, retired=True)) == len(shown)


@pytest.mark.parametrize("deed", ["switch", "delete"])
async def test_nobody_silences_the_shop_by_a_session_alone(premises: Premises, deed: str) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    ids = await furnish(premises, await pool.fetchval("select id from people"))
    await pool.execute("delete from wallet_changes")
    await owner.open(premises.at(f"webhooks/{ids['whk']}"))
    premises.clock.move(11 * 60)
    await owner.submit(f"/{deed}")
    assert (owner.seen.status, "Confirm that it is you" in owner.seen.words) == (403, True)
    assert await pool.fetchval("select count(*) from webhooks where disabled_at is null and deleted_at is null") == 1


async def test_an_invoice_without_a_way_to_pay_is_not_made(premises: Premises) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    await owner.open(premises.at("invoices/new"))
    seen = await owner.submit("invoices/new", amount="5", payment_options=None)
    assert (seen.status, fault_at(seen.text, "payment_options")) == (422, "choose one at least")
    assert " checked" not in seen.text  # as they left it
    assert await pool.fetchval("select count(*) from invoices") == 0


async def test_what_is_wrong_in_a_list_is_said_at_its_field(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open(premises.at("webhooks"))
    seen = await owner.submit("/webhooks", url="https://shop.example/hook", events="invoice.* odd invoice.odd")
    assert seen.status == 422
    assert fault_at(seen.text, "events").count("odd&#39; is no event type") == 2
    await owner.open(premises.at("settings"))
    seen = await owner.submit("/settings", frame_ancestors="https://a.example http:/b", tolerance_percent="x")
    assert seen.status == 422
    assert fault_at(seen.text, "frame_ancestors") or fault_at(seen.text, "tolerance_percent")
    seen = await owner.open(premises.at("payments?status=odd"))
    assert fault_at(seen.text, "status")


@pytest.mark.parametrize(
    ("typed", "units"), [("1,200.00", 120_000), ("12,50", 1_250), (".5", 50), ("€12", 1_200), ("007", 700)]
)
async def test_an_amount_is_typed_as_people_write_it(premises: Premises, typed: str, units: int) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    await owner.open(premises.at("invoices/new"))
    assert (await owner.submit("invoices/new", amount=typed)).status == 200, owner.seen.words
    assert await pool.fetchval("select amount_units from invoices") == units
    await owner.open(premises.at("links/new"))
    assert (await owner.submit("links/new", title="Tea", amount=typed, currency="eur")).status == 200, owner.seen.words
    assert await pool.fetchval("select amount_units from payment_links") == units


async def test_what_is_no_number_is_said_in_words_for_people_and_stays(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    for page, fields in (("invoices/new", {"amount": "1.2.3"}), ("settings", {"spread_percent": "a lot"})):
        await owner.open(premises.at(page))
        seen = await owner.submit(f"/{page}", **fields)
        for name, typed in fields.items():
            assert "is no number that can be read in one way only" in fault_at(seen.text, name)
            assert f'value="{typed}"' in seen.text
    await owner.open(premises.at("settings"))
    assert (await owner.submit("/settings", spread_percent="1,5 %", tolerance_amount="1,000")).status == 200
    row = await premises.house.database.pool.fetchrow("select spread_ppm, tolerance_units from stores")
    assert (row["spread_ppm"], row["tolerance_units"]) == (15_000, 100_000)


async def test_the_search_takes_what_is_at_hand(premises: Premises) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    ids = await furnish(premises, await pool.fetchval("select id from people"))
    await pool.execute("update payments set txid = '0x' || repeat('ab', 32)")
    await pool.execute("update payments set invoice_id = $1, store_id = $2", ids["inv"], premises.store.id)
    page = f"{premises.house.settings.http.public_url}/i/{ids['inv']}"
    for text in ("AB" * 32, "0x" + "ab" * 32, page, f"{page}?lang=de#top"):
        for where, found in (("invoices", ids["inv"]), ("payments", ids["pay"])):
            seen = await owner.send("GET", premises.at(where), params={"search": text})
            assert f"{where}/{found}" in seen.text, (where, text)


async def test_who_opens_it_where_no_cookie_is_kept_is_told_where_to_go(premises: Premises) -> None:
    visitor = premises.visitor()
    await visitor.open("/dashboard/sign-in")
    visitor.session.cookie_jar.clear()  # as a browser drops one that is `Secure` and came over http
    seen = await visitor.submit("/sign-in", email="a@shop.example", password="x")
    assert seen.status == 403
    assert f"open {premises.house.settings.http.public_url}/dashboard, and allow cookies" in seen.words


async def test_the_address_of_a_form_leads_to_its_page_with_what_was_asked_of_it(premises: Premises) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    ids = await furnish(premises, await pool.fetchval("select id from people"))
    await owner.open(premises.at(f"invoices/{ids['inv']}"))
    refused = await owner.submit("/mark", **{"as": "odd"})
    assert (refused.status, refused.url) == (422, premises.at(f"invoices/{ids['inv']}/mark"))
    again = await owner.open(refused.url + "?cursor=")  # "First", a restored tab, Enter in the address bar
    assert (again.status, again.url) == (200, premises.at(f"invoices/{ids['inv']}") + "?cursor=")
    for action in ACTIONS:
        led = await owner.open(premises.at(action.path.replace("{id}", ids.get(action.id_of or "", "x"))))
        assert led.headers["content-type"].startswith("text/html"), action.path


async def test_what_is_not_there_is_said_on_a_page(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    for path in ("/dashboard/x", premises.at("x"), premises.at("").rstrip("/"), "/dashboard/stores/x/overview"):
        seen = await owner.open(path)
        assert (seen.status, "There is no such page" in seen.words) == (404, True), path


async def test_files_are_packed_for_whom_they_can_be(premises: Premises) -> None:
    visitor = premises.visitor()
    page = await visitor.open("/dashboard/sign-in")
    [style] = re.findall(r'href="([^"]*[.]css)"', page.text)
    plain = await visitor.send("GET", style, headers={"accept-encoding": "identity"})
    packed = await visitor.send("GET", style, headers={"accept-encoding": "gzip"})
    assert packed.text == plain.text
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "accept-encoding")
    assert "content-encoding" not in plain.headers


async def test_a_decision_is_asked_for_on_top_only_where_one_may_be_due(premises: Premises) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    ids = await furnish(premises, await pool.fetchval("select id from people"))
    page, due = premises.at(f"invoices/{ids['inv']}"), await pool.fetchval("select due_units from payment_options")
    paid = "update payments set invoice_id = $1, store_id = $2, units = $3, block_height = null, block_hash = null"
    for units, status, on_top in ((0, "new", False), (due, "processing", False), (2 * due, "overpaid", True)):
        if units:
            await pool.execute(paid, ids["inv"], premises.store.id, units)
        seen = await owner.open(page)
        assert f">{status}</span>" in seen.text
        assert (seen.text.index("Your decision") < seen.text.index("Ways to pay")) is on_top, status


async def test_a_customer_is_named_by_reference_whatever_others_are_called(premises: Premises) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    ids = await furnish(premises, await pool.fetchval("select id from people"))
    await pool.execute("update customers set reference = 'anna', name = null")
    await pool.execute(
        "insert into customers select (json_populate_record(c, json_build_object('id', 'cus_' || lpad('z' || n, 29,"
        " 'z'), 'reference', 'user-' || n, 'name', 'Anna ' || n))).* from customers c, generate_series(1, 30) n"
    )
    for typed in ("anna", " anna ", ids["cus"]):
        await owner.open(premises.at("invoices/new"))
        assert (await owner.submit("invoices/new", amount="5", customer=typed)).status == 200, owner.seen.words
    assert await pool.fetchval("select count(*) from invoices where customer_id = $1", ids["cus"]) == 3
    for typed in ("Anna", "Anna 1", "cus_" + "0" * 29, "a" * 201, "\x07"):
        await owner.open(premises.at("invoices/new"))
        seen = await owner.submit("invoices/new", amount="5", customer=typed)
        assert fault_at(seen.text, "customer") == "is no customer&#39;s id or reference", typed


@pytest.mark.parametrize(
    ("final", "said"),
    [
        (99, "needs 2, has 21; not final yet"),
        (100, "confirmed, final: needs 2, has 21"),
        (None, "confirmed: needs 2, has 21"),
    ],
)
async def test_a_payment_with_more_confirmations_than_it_needs_is_said_to_have_them(
    premises: Premises, final: int | None, said: str
) -> None:
    owner = await premises.member(Role.OWNER)
    pool = premises.house.database.pool
    ids = await furnish(premises, await pool.fetchval("select id from people"))
    await settle(premises, ids, final)

    for path in (f"payments/{ids['pay']}", "payments", f"invoices/{ids['inv']}"):
        page = await owner.open(premises.at(path))
        assert said in page.words, path
        assert "21 of 2" not in page.words


async def settle(premises: Premises, ids: Ids, final: int | None) -> None:
    """Let the payment, in block 100, need two confirmations; and finality, where the network calls a block final."""
    house = premises.house
    pool = house.database.pool
    tiers = json.dumps([[None, 2]] if final is None else [[None, 2, True]])
    await pool.execute("update payment_options set confirmations = $2 where invoice_id = $1", ids["inv"], tiers)
    await pool.execute(
        "update payments set store_id = $2, invoice_id = $3 where id = $1", ids["pay"], premises.store.id, ids["inv"]
    )
    await pool.execute("update networks set final_height = $1", final)
    async with house.database.transaction() as tx:
        await flow.reassess(tx, house, Touched(frozenset([InvoiceId(ids["inv"])])), house.clock.now())
