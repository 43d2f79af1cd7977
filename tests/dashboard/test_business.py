"""Pages about links, customers, books, wallets, webhooks, events, networks, alerts and the audit log."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from urllib.parse import urlencode

import pytest

import kassa.dashboard.pages as every
from kassa.alerts import store as alerts
from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.core.ids import CustomerId
from kassa.customers import store as customer_store
from kassa.dashboard.page import MEMBER
from kassa.dashboard.pages import alerts as alerts_page
from kassa.dashboard.pages import audit, books, customers, events, links, networks, wallets, webhooks
from kassa.events import store as numbered
from kassa.house import derived_text
from kassa.people.model import Role
from kassa.people.rules import rights
from kassa.watch import node_store, opinion_store
from kassa.watch.model import Opinion
from kassa.watch.node_store import Node
from tests.dashboard.furnished import bodies, furnish
from tests.dashboard.visitor import Premises, Visitor
from tests.house import BITCOIN, TPUB, add_store

MODULES = (links, customers, books, wallets, webhooks, events, networks, alerts_page, audit)
PAGES = tuple(page for module in MODULES for page in module.PAGES)
ACTIONS = tuple(action for module in MODULES for action in module.ACTIONS)
XPRV = (  # of BIP 32, test vector 1: nobody's money
    "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
)
OTHER_TPUB = f"wpkh({TPUB}/7/*)"
REVOKES = "members/{id}/revoke-keys"
"""Ends what somebody made who may be no member any more: there is nothing to be told of."""
HOSTILE = "<img src=x onerror=alert(1)>{{7*7}}"


@pytest.fixture
def shop(premises: Premises) -> Premises:
    return premises


async def made(owner: Visitor, shop: Premises, path: str, ending: str, **fields: str) -> str:
    """Fill in a form as the owner; return the id of what it made."""
    await owner.open(shop.at(path))
    seen = await owner.submit(ending, **fields)
    assert seen.status == 200, seen.words
    return seen.url.partition("?")[0].rpartition("/")[2]


async def test_a_link_is_made_by_hand_shown_changed_and_closed(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    link = await made(owner, shop, "links/new", "links/new", title=HOSTILE, amount="9.90", reference="r-1")

    assert link.startswith("lnk_")
    assert "The payment link was made." in owner.seen.words
    assert HOSTILE in owner.seen.words
    assert "<img" not in owner.seen.text
    await owner.submit(link, title="Tea", description="Green")
    assert "Tea" in owner.seen.words
    await owner.submit("/close")
    assert "The link begins no more payments." in owner.seen.words
    await owner.submit("/close")
    assert "The link can be paid again." in owner.seen.words
    assert "Tea" in (await owner.open(shop.at("links?status=open&reference=r-1"))).words
    assert "Tea" not in (await owner.open(shop.at("links?status=closed"))).words


async def test_a_form_that_is_wrong_comes_back_filled_and_one_sent_twice_does_it_once(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    await owner.open(shop.at("links/new"))
    seen = await owner.submit("links/new", title="Tea", amount="-1", min_amount="2")
    assert (seen.status, 'value="Tea"' in seen.text) == (422, True)
    page = seen.text
    first = await owner.submit("links/new", amount="1", min_amount="")
    owner.seen.text = page
    second = await owner.submit("links/new", amount="1", min_amount="")
    assert first.url == second.url


async def test_a_customer_is_found_with_balances_and_statement(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    customer = await made(owner, shop, "customers", "/customers", reference="user-17", name=HOSTILE)

    assert HOSTILE in owner.seen.words
    assert "Nothing was ever to their credit." in owner.seen.words
    given = (await owner.submit(customer, asset=f"BTC@{BITCOIN}")).words
    address = await shop.house.database.pool.fetchval("select address from addresses where customer_id = $1", customer)
    assert address in given
    assert customer in (await owner.open(shop.at("customers?reference=user-17"))).text


async def test_a_wallet_is_compared_before_it_counts(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    async with shop.house.database.transaction() as tx:
        await tx.execute("delete from wallets")
    await owner.open(shop.at("wallets/new"))
    compare = await owner.submit("wallets/compare", network=BITCOIN, descriptor=TPUB)
    first = derived_text(shop.house.chains, BITCOIN, f"wpkh({TPUB}/0/*)", 0) or "?"
    assert "Compare before it counts" in compare.words
    assert await shop.house.database.pool.fetchval("select count(*) from wallets") == 0
    page = compare.text
    refused = await owner.submit("wallets/new", compared=None)
    assert refused.status == 422
    owner.seen.text = page
    added = await owner.submit("wallets/new", compared="yes")
    assert "The wallet was added." in added.words
    assert "Set it in your own wallet, so that it shows every coin" in added.words
    assert ("First addresses" in added.words, first == "?" or first in added.words) == (True, True)


async def test_a_wallet_is_replaced_by_two_people_and_never_by_one(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    second = await shop.member(Role.OWNER, "second@shop.example")
    wallet = await shop.house.database.pool.fetchval("select id from wallets")
    await owner.open(shop.at(f"wallets/{wallet}"))
    asked = await owner.submit(wallet, descriptor=OTHER_TPUB)
    assert "Somebody else must confirm it." in asked.words
    change = (await shop.house.database.pool.fetchrow("select * from wallet_changes")) or {}
    assert (derived_text(shop.house.chains, BITCOIN, change["descriptor"], 0) or "?") in asked.words
    alone = await owner.submit("/confirm", fingerprint=change["fingerprint"])
    assert (alone.status, "another key or person" in alone.words) == (409, True)

    await second.open(shop.at("wallet-changes"))
    wrong = await second.submit("/confirm", fingerprint="00000000")
    assert wrong.status == 422
    confirmed = await second.submit("/confirm", fingerprint=change["fingerprint"])
    assert "The change was confirmed." in confirmed.words
    await owner.open(shop.at("wallet-changes"))
    assert "The change was given up." in (await owner.submit("/cancel")).words


async def test_a_wallet_is_not_replaced_by_an_owner_and_whom_they_invited(shop: Premises) -> None:
    owner, pool = await shop.member(Role.OWNER), shop.house.database.pool
    by = await pool.fetchval("select person_id from members")
    guest = await shop.member(Role.OWNER, "guest@shop.example", by=by)
    await guest.open(shop.at(f"wallets/{await pool.fetchval('select id from wallets')}"))
    await guest.submit(await pool.fetchval("select id from wallets"), descriptor=OTHER_TPUB)
    await owner.open(shop.at("wallet-changes"))
    refused = await owner.submit("/confirm", fingerprint=await pool.fetchval("select fingerprint from wallet_changes"))
    assert (refused.status, "may have made or invited the other" in refused.words) == (409, True)


@pytest.mark.parametrize("text", ["", XPRV, HOSTILE])
async def test_a_private_key_or_nonsense_is_refused_with_its_reason(shop: Premises, text: str) -> None:
    owner = await shop.member(Role.OWNER)
    await owner.open(shop.at("wallets/new"))
    seen = await owner.submit("wallets/compare", network=BITCOIN, descriptor=text)
    assert seen.status == 422
    assert "<img" not in seen.text


async def test_wallets_ask_for_a_fresh_proof(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    await owner.open(shop.at("wallets/new"))
    shop.clock.move(700)
    seen = await owner.submit("wallets/compare", network=BITCOIN, descriptor=TPUB)
    assert "Confirm that it is you" in seen.words


async def test_a_webhook_is_added_tested_and_its_delivery_sent_again(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    await owner.open(shop.at("webhooks"))
    seen = await owner.submit("/webhooks", url="https://shop.example/hook", events="invoice.* payment.settled")
    assert "whsec_" in seen.words
    webhook = (await shop.house.database.pool.fetchval("select id from webhooks")) or ""
    page = await owner.open(shop.at(f"webhooks/{webhook}"))
    assert "whsec_" not in page.text
    assert "invoice.*, payment.settled" in page.words
    await owner.submit("/test")
    assert "webhook.test" in owner.seen.words
    await owner.submit("/retry")
    assert "It is being sent again." in owner.seen.words
    await owner.open(shop.at(f"webhooks/{webhook}"))
    first = await shop.house.database.pool.fetchval("select secret from webhooks")
    assert "The one before signs, too" in (await owner.submit("/secret")).words
    assert await shop.house.database.pool.fetchval("select secret <> $1 from webhooks", first)
    await owner.open(shop.at(f"webhooks/{webhook}"))
    await owner.submit("/switch")
    assert "disabled" in owner.seen.words
    await owner.submit("/delete")
    assert "Nobody is told yet." in owner.seen.words


async def test_what_was_given_up_is_reached_from_the_overview_and_sent_again(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    await made(owner, shop, "webhooks", "/webhooks", url="https://shop.example/hook", events="*")
    await owner.open(shop.at("webhooks"))
    assert "None was given up." in (await owner.open(shop.at("deliveries"))).words
    (hook,) = [each["id"] for each in await shop.house.database.pool.fetch("select id from webhooks")]
    await owner.open(shop.at(f"webhooks/{hook}"))
    await owner.submit("/test")
    await shop.house.database.pool.execute("update deliveries set state = 'failed', due_at = null")

    assert f'href="{shop.at("deliveries")}?from=' in (await owner.open(shop.at("overview"))).text
    seen = await owner.open(shop.at("deliveries"))
    assert "https://shop.example/hook" in seen.words
    assert "webhook.test" in seen.words
    await owner.submit("/retry")
    assert "It is being sent again." in owner.seen.words
    assert "None was given up." in (await owner.open(shop.at("deliveries"))).words


async def test_events_are_listed_newest_first_and_shown_as_they_were_told(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    await made(owner, shop, "links/new", "links/new", title="Tea", amount="1")
    await owner.submit("/close")
    async with shop.house.database.transaction() as tx:
        await numbered.number(tx)  # as the role `work` does
    words = (await owner.open(shop.at("events"))).words
    assert words.index("Payment link closed") < words.index("Payment link created")
    assert "Payment link" not in (await owner.open(shop.at("events?type=invoice.*"))).words.partition("Show")[2]
    event = await shop.house.database.pool.fetchval("select id from events where type = 'payment_link.created'")
    assert '"title": "Tea"' in (await owner.open(shop.at(f"events/{event}"))).words


async def test_invoices_are_found_by_their_days_both_included(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    day = shop.clock.now().date()
    await made(owner, shop, "invoices/new", "invoices/new", amount="5", reference="today's")
    for query, found in (
        (f"from={day}&to={day}", True), (f"from={day}", True), (f"to={day}", True), ("from=0001-01-01", False),
        (f"to={day - timedelta(days=1)}", False), (f"from={day + timedelta(days=1)}", False), ("from=1972-01-01", True),
        ("to=2999-12-31", True), (f"from={day + timedelta(days=1)}&to={day}", False),
    ):  # fmt: skip
        words = (await owner.open(shop.at(f"invoices?{query}"))).words
        assert ("today's" in words) == found, query
    assert "is not a day" in (await owner.open(shop.at("invoices?from=yesterday"))).words


async def test_what_needs_attention_leads_to_as_many_as_were_counted(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    pool = shop.house.database.pool
    for number in range(3):
        await made(owner, shop, "invoices/new", "invoices/new", amount="5", reference=f"order-{number}")
    await pool.execute("update invoices set flags = '{late}', rules = '{short.flag}' where reference = 'order-1'")
    await pool.execute("update invoices set flags = '{late,marked}' where reference = 'order-2'")
    shop.clock.move(6 * 3_600)
    for days in ("", "?days=7"):
        await owner.open(shop.at(f"overview{days}"))
        assert "1 invoice , paid after the time" in owner.seen.words
        lead = unescape(re.findall(r'href="([^"]*flag=late[^"]*)"', owner.seen.text)[0])
        words = (await owner.open(lead)).words
        assert [f"order-{number}" in words for number in range(3)] == [False, True, False]
    await owner.open(shop.at("overview?days=7"))
    made_of = unescape(re.findall(r'href="([^"]*status=new[^"]*)"', owner.seen.text)[0])
    assert f"from={shop.clock.now().date() - timedelta(days=6)}" in made_of
    assert "order-0" in (await owner.open(made_of)).words


async def test_the_overview_says_that_there_are_more_alerts_than_it_shows(shop: Premises) -> None:
    owner, now = await shop.member(Role.OWNER), shop.clock.now()
    for number in range(6):
        assert "More alerts are open" not in (await owner.open(shop.at("overview"))).words
        finding = Finding(Kind.CREDIT_LOST, f"subject {number}", Severity.WARNING, f"why {number}", shop.store.id)
        async with shop.house.database.transaction() as tx:
            await alerts.open_alert(tx, finding, now)
    lead = f'href="{shop.at("alerts")}?status=open"'
    assert lead in (await owner.open(shop.at("overview"))).text
    words = (await owner.open(shop.at("alerts?status=open"))).words
    assert all(f"why {number}" in words for number in range(6))


async def test_an_invoice_leads_to_all_that_belongs_to_it_and_is_told_again_from_there(shop: Premises) -> None:
    owner, viewer = await shop.member(Role.OWNER), await shop.member(Role.VIEWER)
    person = await shop.house.database.pool.fetchval("select min(id) from people")
    ids = await furnish(shop, person)
    pool, invoice = shop.house.database.pool, f"invoices/{ids['inv']}"
    await pool.execute("update payments set invoice_id = $2 where id = $1", ids["pay"], ids["inv"])
    await pool.execute(
        "update payments set store_id = a.store_id from addresses a where a.id = address_id and payments.id = $1",
        ids["pay"],
    )
    await pool.execute("update deliveries set invoice_id = $2, state = 'failed', due_at = null where id = $1",
                       ids["dlv"], ids["inv"])  # fmt: skip
    text = (await owner.open(shop.at(invoice))).text
    url = f"{shop.house.settings.http.public_url}/i/{ids['inv']}"
    assert f'<code id="c-url">{url}</code>' in text
    assert 'aria-label="QR code of the payer' in text
    assert f'href="{shop.at("payments/" + ids["pay"])}"' in text
    await owner.submit("/resend")
    assert (owner.seen.url.partition("?")[0], "It is being sent again." in owner.seen.words) == (shop.at(invoice), True)
    assert await pool.fetchval("select state from deliveries where id = $1", ids["dlv"]) == "due"
    await pool.execute("update webhooks set disabled_at = now()")
    await owner.submit("/resend")
    assert "the webhook is disabled" in owner.seen.words
    assert "resend" not in (await viewer.open(shop.at(invoice))).text


async def test_a_payment_leads_to_a_public_site_where_its_network_has_one(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    person = await shop.house.database.pool.fetchval("select min(id) from people")
    payment = f"payments/{(await furnish(shop, person))['pay']}"
    await shop.house.database.pool.execute(
        "update payments set store_id = a.store_id, invoice_id = a.invoice_id from addresses a where a.id = address_id"
    )
    assert "Look at it on" not in (await owner.open(shop.at(payment))).words
    chain = shop.house.chains[BITCOIN]
    shop.house.chains[BITCOIN] = replace(chain, explorer="https://explorer.example")  # type: ignore[index]
    text = (await owner.open(shop.at(payment))).text
    assert (
        '<a href="https://explorer.example/tx/ab" rel="noopener noreferrer" target="_blank">explorer.example</a>'
        in text
    )


async def test_customers_are_found_by_what_they_are_called_with_what_they_have(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    ada = await made(owner, shop, "customers", "/customers", reference="user-17", name="Ada_Lovelace")
    await made(owner, shop, "customers", "/customers", reference="user-18", name="Grace 100%")
    async with shop.house.database.transaction() as tx:
        await customer_store.move(tx, {(CustomerId(ada), f"BTC@{BITCOIN}"): 12_345})
    for text, who in (
        ("ada_", "user-17"), ("ADA", "user-17"), ("user-17", "user-17"), (ada, "user-17"), ("grace 1", "user-18"),
        ("a%", ""), ("lovelace", ""), ("user", ""),
    ):  # fmt: skip
        words = (await owner.open(shop.at("customers") + "?" + urlencode({"search": text}))).words
        assert [who for who in ("user-17", "user-18") if f" {who} " in words] == ([who] if who else []), text
        assert ("0.00012345 BTC" in words) == (who == "user-17")


async def test_an_invoice_is_made_by_hand_for_a_customer_with_metadata(shop: Premises) -> None:
    owner, pool = await shop.member(Role.OWNER), shop.house.database.pool
    ada = await made(owner, shop, "customers", "/customers", reference="user-17", name="Ada")
    await owner.open(shop.at(f"customers/{ada}"))
    lead = re.findall(r'href="([^"]*invoices/new[^"]*)"', owner.seen.text)[0]
    await owner.open(lead)
    wrong = await owner.submit("invoices/new", amount="5", metadata="table 7")
    assert (wrong.status, "is not a line such as" in wrong.words, "table 7" in wrong.words) == (422, True, True)
    wrong = await owner.submit("invoices/new", amount="5", customer="nobody", metadata="")
    assert (wrong.status, "is no customer" in wrong.words) == (422, True)
    for who in (ada, "user-17"):
        await owner.open(lead)
        done = await owner.submit("invoices/new", amount="5", customer=who, metadata="table = 7\r\n\r\nnote = a = b")
        row = await pool.fetchrow("select customer_id, metadata from invoices order by id desc limit 1")
        assert (done.status, row["customer_id"]) == (200, ada)
        assert json.loads(row["metadata"]) == {"table": "7", "note": "a = b"}


async def test_the_networks_say_how_far_they_are_and_how_their_nodes_do(shop: Premises) -> None:
    viewer, now = await shop.member(Role.VIEWER), shop.clock.now()
    words = (await viewer.open(shop.at("networks"))).words
    for word in (BITCOIN, "ok", "120", "123", "3 behind", "by asking", "there is none", f"BTC@{BITCOIN}"):
        assert word in words
    told = Node("/Node:29.0/", False, "new rules: secret host", 8, "1.5 sat/vB", -7, now, None, now)
    async with shop.house.database.transaction() as tx:
        await node_store.note_words(tx, BITCOIN, told)
        await node_store.note_clock(tx, BITCOIN, told.skew_seconds, now)
        await tx.execute("update networks set node_time = $1", now - timedelta(minutes=9))
        await opinion_store.put(tx, Opinion(BITCOIN, now, "", False, 120, 120, 119, "aa", "bb", 118))
    words = (await viewer.open(shop.at("networks"))).words
    for word in ("/Node:29.0/", "8", "1.5 sat/vB", "7 s behind ours", "differs", "warns", "last block 9 min old"):
        assert word in words
    assert "secret host" not in viewer.seen.text
    assert "a second node holds another chain" in (await viewer.open(shop.at("overview"))).words
    async with shop.house.database.transaction() as tx:
        await opinion_store.put(tx, Opinion(BITCOIN, now, "", False, 120, 120, 119, "aa", "aa"))
    assert "agrees" in (await viewer.open(shop.at("networks"))).words


async def test_an_alert_is_acknowledged_and_closed_with_a_word(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    alert = await _alert(shop)
    await owner.open(shop.at("alerts"))
    assert alert in owner.seen.text
    await owner.open(shop.at(f"alerts/{alert}"))
    await owner.submit("/acknowledge", note="I look")
    await owner.submit("/close", note=HOSTILE)
    assert "The alert was closed." in owner.seen.words
    assert HOSTILE in owner.seen.words
    assert "<img" not in owner.seen.text
    assert alert not in (await owner.open(shop.at("alerts"))).text
    assert alert in (await owner.open(shop.at("alerts?status=any"))).text


async def test_what_only_the_operator_may_close_has_no_form_to_close_it(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    async with shop.house.database.transaction() as tx:
        finding = Finding(Kind.CUSTOMER_IN_DEBIT, "cus/BTC", Severity.CRITICAL, "less than nothing", shop.store.id)
        alert = await alerts.open_alert(tx, finding, shop.clock.now())
    assert alert is not None
    await owner.open(shop.at(f"alerts/{alert.id}"))
    assert f"alerts/{alert.id}/close" not in owner.seen.text
    assert "the operator closes it" in owner.seen.words
    await owner.submit("/acknowledge", note="I ask")
    assert "I ask" in owner.seen.words


async def test_the_audit_log_tells_who_did_what(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    await owner.open(shop.at("webhooks"))
    await owner.submit("/webhooks", url="https://shop.example/hook", events="*")
    words = (await owner.open(shop.at("audit"))).words
    assert "webhook" in words
    assert "https://shop.example/hook" in words


ASKED = {"events": "?type=invoice.*", "books/export": "?from=2026-01-01&to=2026-01-31"}
"""For which a page reads something else, or reads at all."""


async def test_e11_another_stores_things_are_as_absent_as_what_never_was(shop: Premises) -> None:
    owner, pool = await shop.member(Role.OWNER), shop.house.database.pool
    ids = await furnish(shop, await pool.fetchval("select id from people"))
    filled = bodies(shop, ids)
    del ids["fingerprint"]  # both stores have the same wallet
    ids["evt"] = await pool.fetchval("select min(id) from events")
    await pool.execute("update payments set store_id = $1", shop.store.id)
    async with shop.house.database.transaction() as tx:
        await numbered.number(tx)
        other = await add_store(tx, shop.house)
    theirs = await shop.member(Role.OWNER, "other@shop.example", other)
    await theirs.open(f"/dashboard/stores/{other.id}/account")
    token = theirs.seen.text.partition('name="csrf" value="')[2].partition('"')[0]
    named = [
        (each, sent) for all_, sent in ((every.PAGES, False), (every.ACTIONS, True)) for each in all_ if each.id_of
    ]
    assert {each.id_of for each, _ in named} <= set(ids)
    for each, sent in named:
        answers = set()
        for id_ in (ids[each.id_of or ""], f"{each.id_of}_{'0' * 29}"):
            path = f"/dashboard/stores/{other.id}/{each.path.replace('{id}', id_)}"
            body = {"data": {"csrf": token, "once": id_} | filled[each.path]} if sent else {}
            seen = await theirs.send("POST" if sent else "GET", path, follow=False, **body)
            same = re.sub(r'name="csrf" value="[0-9a-f]*"', "", seen.text)  # under another mask in each answer
            answers.add((seen.status, same.replace(id_, "id")))
        [(status, _)] = answers  # the same for both
        assert status in ((303,) if each.path == REVOKES else (404, 422)), (each.path, seen.words[:300])
    for page in every.PAGES:
        if page.id_of is None:
            for query in ("", ASKED.get(page.path, "")):
                seen = await theirs.open(f"/dashboard/stores/{other.id}/{page.path}{query}")
                assert [id_ for id_ in ids.values() if id_ in seen.text] == [], page.path + query
        else:  # its own store is shown it
            assert (await owner.open(shop.at(page.path.replace("{id}", ids[page.id_of])))).status == 200, page.path
    for path, query in ASKED.items():
        shown = (await owner.open(shop.at(path + query))).text
        assert any(id_ in shown for id_ in ids.values()), path
    assert (await theirs.open(shop.at("links"))).status == 404
    assert (await owner.open(shop.at(f"links/{ids['lnk']}"))).status == 200
    kept = "select count(*) from api_keys where revoked_at is null and store_id = $1"
    assert await pool.fetchval(kept, shop.store.id) == 2
    assert (await owner.open(shop.at("members"))).text.count("guest@shop.example") > 0


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_sees_and_may_do_what_the_table_says(shop: Premises, role: Role) -> None:
    visitor = await shop.member(role)
    mine = rights(role) | {MEMBER}
    home = (await visitor.open()).text
    for page in PAGES:
        if page.id_of is None:
            status = (await visitor.open(shop.at(page.path))).status
            # A download is asked for days first.
            shown = 422 if page.path == "books/export" else 200
            assert status == (shown if page.access in mine else 403), page.path
        if page.nav:
            assert (f'href="{shop.at(page.path)}"' in home) == (page.access in mine), page.path
    await visitor.open(shop.at("account"))
    token = visitor.seen.text.partition('name="csrf" value="')[2].partition('"')[0]
    for action in ACTIONS:
        path = shop.at(action.path.replace("{id}", f"{action.id_of}_{'0' * 29}"))
        seen = await visitor.send("POST", path, data={"csrf": token})
        assert (seen.status == 403) == (action.access not in mine), action.path


async def test_no_form_is_taken_without_its_token_and_none_by_get(shop: Premises) -> None:
    owner = await shop.member(Role.OWNER)
    for action in ACTIONS:
        path = shop.at(action.path.replace("{id}", f"{action.id_of}_{'0' * 29}"))
        assert (await owner.send("POST", path, data={"csrf": "0" * 64})).status == 403, action.path
    assert await shop.house.database.pool.fetchval("select count(*) from payment_links") == 0
    only_posted = [a for a in ACTIONS if a.path not in {page.path for page in PAGES}]
    for action in only_posted:
        path = shop.at(action.path.replace("{id}", f"{action.id_of}_{'0' * 29}"))
        assert (await owner.send("GET", path, follow=False)).status == 303, action.path  # to the page that has it


async def _alert(shop: Premises) -> str:
    finding = Finding(
        Kind.WEBHOOK_DISABLED, "whk_x", Severity.WARNING, HOSTILE, shop.store.id, about={"url": HOSTILE},
        actions=(Action(Deed.DISABLED, "whk_x"),),
    )  # fmt: skip
    async with shop.house.database.transaction() as tx:
        opened = await alerts.open_alert(tx, finding, shop.clock.now())
    assert opened is not None
    return opened.id
