"""Who may call what: every endpoint, scope and store, without a key, with an ended or a foreign one; from the document.

`POLICY` is written by hand, beside what the endpoints declare of themselves: one that is not listed here fails.
"""

from datetime import timedelta
from fractions import Fraction
from typing import Any

import msgspec
import pytest

import kassa.alerts.store as alerts
import kassa.rates.spread_store as spreads
from kassa import flow
from kassa.alerts.model import Finding, Kind, Severity
from kassa.api.document import document
from kassa.api.routes import ENDPOINTS
from kassa.core.ids import CustomerId
from kassa.customers import store as customers
from kassa.ledger import store as ledger
from kassa.ledger.model import LOSSES, RECEIVABLES, SALES, Entry, Posting
from kassa.ledger.model import customer as customer_account
from kassa.rates.spreads import Valued, measure
from kassa.stores import store as stores
from kassa.stores.model import SCOPES
from tests.api.served import ORDER, Answer, Caller, Served
from tests.faults.test_addresses import THIEF
from tests.house import BITCOIN

ANY = "any key"
POLICY = {
    "create_invoice": "invoices:write",
    "list_invoices": "invoices:read",
    "get_invoice": "invoices:read",
    "mark_invoice": "invoices:write",
    "pay_from_credit": "customers:write",
    "get_invoice_timeline": "invoices:read",
    "list_payments": "payments:read",
    "get_payment": "payments:read",
    "get_payment_rate": "payments:read",
    "assign_payment": "payments:write",
    "create_payment_link": "invoices:write",
    "list_payment_links": "invoices:read",
    "get_payment_link": "invoices:read",
    "change_payment_link": "invoices:write",
    "list_events": "events:read",
    "create_webhook": "webhooks:write",
    "list_webhooks": "webhooks:read",
    "get_webhook": "webhooks:read",
    "change_webhook": "webhooks:write",
    "delete_webhook": "webhooks:write",
    "test_webhook": "webhooks:write",
    "list_deliveries": "webhooks:read",
    "list_invoice_deliveries": "webhooks:read",
    "retry_delivery": "webhooks:write",
    "list_alerts": "alerts:read",
    "get_alert": "alerts:read",
    "acknowledge_alert": "alerts:write",
    "close_alert": "alerts:write",
    "add_wallet": "wallets:write",
    "list_wallets": "wallets:read",
    "get_wallet": "wallets:read",
    "list_addresses": "wallets:read",
    "ask_wallet_change": "wallets:write",
    "list_wallet_changes": "wallets:read",
    "confirm_wallet_change": "wallets:write",
    "cancel_wallet_change": "wallets:write",
    "create_customer": "customers:write",
    "list_customers": "customers:read",
    "get_customer": "customers:read",
    "issue_deposit_address": "customers:write",
    "list_customer_balances": "customers:read",
    "write_off_customer": "payments:write",
    "get_customer_statement": "customers:read",
    "list_ledger_balances": "ledger:read",
    "list_ledger_entries": "ledger:read",
    "get_store": "store:read",
    "change_store": "store:write",
    "list_assets": ANY,
    "list_networks": ANY,
    "get_rate": ANY,
    "list_quotes": ANY,
    "report_sales": "ledger:read",
    "report_outstanding": "ledger:read",
    "report_liabilities": "ledger:read",
    "report_receivables": "ledger:read",
    "report_costs": "ledger:read",
    "report_spread": "ledger:read",
    "list_acts": "audit:read",
    "get_overview": "invoices:read",
}
DOCUMENT = msgspec.json.decode(document(ENDPOINTS, "http://kassa.test"))
OPERATIONS = [(method.upper(), path, one) for path, item in DOCUMENT["paths"].items() for method, one in item.items()]
WRITING = ("POST", "PATCH")
ASSET = {"asset": f"BTC@{BITCOIN}"}
BODIES: dict[str, Any] = {
    "mark_invoice": {"as": "invalid"},
    "assign_payment": {"customer_id": None},
    "write_off_customer": {"asset": "BTC@bitcoin-regtest", "note": "gone"},
    "ask_wallet_change": {"descriptor": THIEF},
    "confirm_wallet_change": {"fingerprint": "00000000"},
    "pay_from_credit": ASSET,
    "issue_deposit_address": ASSET,
    "acknowledge_alert": {"note": "x"},
    "close_alert": {"note": "x"},
}


def prefix(one: Any) -> str | None:
    """Return the prefix of the id in an operation's path."""
    pattern = next((p["schema"]["pattern"] for p in one["parameters"] if p["in"] == "path"), None)
    return None if pattern is None else pattern[1:4]


async def send(caller: Caller, method: str, path: str, one: Any, id_: str | None = None) -> Answer:
    at = path.replace("{id}", id_ or f"{prefix(one)}_{'0' * 29}")
    return await caller.send(method, at, BODIES.get(one["operationId"], {}) if method in WRITING else None)


def test_g9_every_endpoint_has_a_policy_that_was_decided() -> None:
    assert {one["operationId"]: one["x-access"] for _, _, one in OPERATIONS} == POLICY
    assert set(POLICY.values()) - {ANY} <= set(SCOPES)
    assert [scope for scope in SCOPES if scope not in POLICY.values()] == []


async def test_e10_a_scope_opens_exactly_its_own_endpoints(served: Served) -> None:
    callers = {scope: await served.key(scope) for scope in SCOPES}
    for method, path, one in OPERATIONS:
        for scope, caller in callers.items():
            answer = await send(caller, method, path, one)
            allowed = POLICY[one["operationId"]] in (ANY, scope)
            assert (answer.status not in (401, 403)) == allowed, (method, path, scope, answer.body)
            if not allowed:
                assert (answer.status, answer.code) == (403, "forbidden")


async def test_e9_e10_no_key_and_no_key_that_has_ended_opens_anything(served: Served) -> None:
    now = served.house.clock.now()
    async with served.house.database.transaction() as tx:
        revoked, text = await stores.create_key(tx, served.store, now)
        await stores.revoke_key(tx, revoked, now)
        _, expired = await stores.create_key(tx, served.store, now, expires_at=now - timedelta(seconds=1))
    unknown = "kassa_test_" + "A" * 43
    for key in (None, text, expired, unknown, unknown.replace("test", "live")):
        bodies = set()
        for method, path, one in [*OPERATIONS, ("GET", "/v1/openapi.json", {"operationId": "", "parameters": []})]:
            answer = await send(served.caller(key), method, path, one)
            assert (answer.status, answer.code) == (401, "unauthorized"), (key, path)
            assert answer.headers["www-authenticate"] == "Bearer"  # type: ignore[index,call-overload]
            bodies.add(answer.body)
        assert len(bodies) == 1  # nobody learns which key it was, or what is there


async def owned(served: Served) -> dict[str, str]:
    """Make one thing of each kind that an id in a path can name."""
    mine = served.all
    now, store = served.house.clock.now(), served.store
    hook = (await mine.post("/v1/webhooks", {"url": "https://shop.example/hook"})).json  # before what it is told of
    invoice, customer = await mine.invoice(), (await mine.post("/v1/customers", {})).json
    link = (await mine.post("/v1/payment-links", {"title": "Tea", "amount": "5.00", "currency": "EUR"})).json
    async with served.house.database.transaction() as tx:
        found = Finding(Kind.CREDIT_LOST, "x", Severity.WARNING, "why", store_id=store.id)
        alert = await alerts.open_alert(tx, found, now)
        assert alert is not None
        # Of a network, which the others do not use.
        halted = Finding(Kind.NETWORK_HALTED, BITCOIN, Severity.CRITICAL, "why", network=BITCOIN)
        shared = await alerts.open_alert(tx, halted, now)
        assert shared is not None
        payment = f"pay_{'1' * 29}"
        await tx.execute(
            """insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id,
                   invoice_id, first_seen_at, replaceable, conflict_txid)
               select $1, network, repeat('ab', 32), 'out:0', $2, 1000, 0, id, store_id, invoice_id, $3, false,
                   repeat('ef', 32)
               from addresses where invoice_id = $4""",
            payment, ASSET["asset"], now, invoice["id"],
        )  # fmt: skip
    wallet = (await mine.get("/v1/wallets")).json["data"][0]["id"]
    change = (await mine.post(f"/v1/wallets/{wallet}/change", {"descriptor": THIEF})).json
    return {
        "wch": change["id"],
        "inv": invoice["id"],
        "cus": customer["id"],
        "wal": wallet,
        "whk": hook["id"],
        "dlv": (await mine.post(f"/v1/webhooks/{hook['id']}/test")).json["id"],
        "lnk": link["id"],
        "alt": alert.id,
        "alt of the network": shared.id,
        "pay": payment,
    }


async def test_e11_what_is_anothers_is_as_absent_as_what_never_was(served: Served) -> None:
    mine = await owned(served)
    async with served.house.database.transaction() as tx:
        other = await stores.create_store(tx, "Other", "EUR", False, served.house.clock.now())
        live = await stores.create_store(tx, "Live", "EUR", True, served.house.clock.now())
    strangers = [await served.key(store=other), await served.key(store=live)]
    before = await everything(served)
    for method, path, one in OPERATIONS:
        kind = prefix(one)
        if kind is None:
            continue
        never, malformed = f"{kind}_{'0' * 29}", ("x", f"{kind}_'or''='", f"{kind}_{'0' * 28}", f"{kind}_{'0' * 3000}")
        for stranger in strangers:
            theirs = [id_ for id_ in mine.values() if id_.startswith(kind)]
            answers = [await send(stranger, method, path, one, each) for each in (*theirs, never, *malformed)]
            assert {(each.status, each.body) for each in answers} == {(404, answers[0].body)}, one["operationId"]
    assert await everything(served) == before


async def test_e11_what_another_store_has_takes_no_room_among_what_is_found(served: Served) -> None:
    async with served.house.database.transaction() as tx:
        other = await stores.create_store(tx, "Other", "EUR", False, served.house.clock.now())
    mine = await owned(served)
    txid, *_ = await furnish(served, mine)
    address = (await served.all.get(f"/v1/invoices/{mine['inv']}")).json["payment_options"][0]["address"]
    deposit = (await served.all.post(f"/v1/customers/{mine['cus']}/addresses", ASSET)).json["address"]
    sought: tuple[tuple[Any, tuple[str, ...]], ...] = (
        (flow.find_invoices, (mine["inv"], ORDER["reference"], mine["pay"], txid, RIVAL, address, mine["lnk"])),
        (flow.find_payments, (mine["pay"], txid, RIVAL, mine["inv"], ORDER["reference"], address, mine["lnk"])),
        (flow.find_links, (mine["lnk"], "rent-7", mine["inv"], ORDER["reference"], mine["pay"], txid, RIVAL, address)),
        (flow.find_customers, (mine["cus"], "user-17", deposit, "ada", mine["inv"], mine["pay"], txid, RIVAL, address)),
    )
    async with served.house.database.transaction() as tx:
        await tx.execute("update payment_links set reference = 'rent-7' where id = $1", mine["lnk"])
        await tx.execute(
            "update invoices set link_id = $2, customer_id = $3 where id = $1", mine["inv"], mine["lnk"], mine["cus"]
        )
    async with served.house.database.transaction() as tx:
        for find, words in sought:
            for word in words:
                found = [await find(tx, served.house, store, word) for store in (served.store, other)]
                assert [bool(each) for each in found] == [True, False], (find, word)


async def everything(served: Served) -> dict[str, Any]:
    """Return all that a store can read of itself, but for what reading itself changes."""
    lists = [path for method, path, one in OPERATIONS if method == "GET" and prefix(one) is None]
    needy = ("/v1/rates", "/v1/rates/history", "/v1/deliveries", "/v1/reports")
    return {path: (await served.all.get(path)).json for path in lists if not path.startswith(needy)}


async def test_e11_no_list_shows_counts_or_sums_up_what_is_anothers(served: Served) -> None:
    async with served.house.database.transaction() as tx:
        other = await stores.create_store(tx, "Other", "EUR", False, served.house.clock.now())
    stranger = await served.key(store=other)
    await stranger.post("/v1/webhooks", {"url": "https://other.example/hook"})
    lists = [(path, one) for method, path, one in OPERATIONS if method == "GET" and prefix(one) is None]
    queries = [(path, query) for path, one in lists for query in QUERIES if query.partition("=")[0] in taken(one)]
    whole = [path for path, _ in lists] + [f"{path}?{query}" for path, query in queries]
    alone = {path: (await stranger.get(path)).body for path in whole}
    mine = await owned(served)
    words = await furnish(served, mine)
    # The store itself is shown something: a list that is empty would prove nothing.
    assert {path for path in whole if (await served.all.get(path)).body == alone[path]} == ALIKE
    for path in whole:
        assert (await stranger.get(path)).body == alone[path], path
    async with served.house.database.transaction() as tx:  # of the command line alone
        assert [bool(await flow.owing(tx, store)) for store in (served.store, other)] == [True, False]
    for path, one in lists:
        given = taken(one)
        asked = [("cursor", id_) for id_ in mine.values()] + [(name, mine[kind]) for name, kind in FILTERS.items()]
        asked += [("search", word) for word in (*mine.values(), *words)]
        for name, value in asked:
            if name in given:
                told, never = [
                    (await stranger.get(f"{path}?{name}={each}")).body.decode().replace(each, "what was asked for")
                    for each in (value, value[:-1] + ("1" if value.endswith("0") else "0"))
                ]
                assert told == never, (path, name)
                assert [id_ for id_ in (*mine.values(), served.store.id) if id_ in told] == [], (path, name)


def taken(one: Any) -> set[str]:
    """Return the names of what an operation takes in its query."""
    return {each["name"] for each in one["parameters"] if each["in"] == "query"}


async def furnish(served: Served, mine: dict[str, str]) -> tuple[str, ...]:
    """Let a store have what is counted and summed up of it; return by what its things are found."""
    now, store, asset = served.house.clock.now(), served.store, ASSET["asset"]
    owed = CustomerId((await served.all.post("/v1/customers", {})).json["id"])
    async with served.house.database.transaction() as tx:
        customer = CustomerId(mine["cus"])
        await customers.move(tx, {(customer, asset): -1_000})
        for account, value in ((SALES, -50), (LOSSES, -40)):
            postings = (Posting(RECEIVABLES, asset, 1_000, -value, None), Posting(account, asset, -1_000, value, None))
            await ledger.post(tx, [Entry(store.id, "spent", customer_id=customer, postings=postings)], now)
    for _ in range(2):  # what was there at the first call goes into the sums that are kept at the second
        await served.house.database.run(lambda tx: flow.keep_sums(tx, now))
    async with served.house.database.transaction() as tx:
        await customers.move(tx, {(owed, asset): 1_000})
        postings = (Posting(SALES, asset, 1_000, 50, None), Posting(customer_account(owed), asset, -1_000, -50, None))
        await ledger.post(tx, [Entry(store.id, "credit", customer_id=owed, postings=postings)], now)
        await tx.execute("update deliveries set state = 'failed'")
        await tx.execute("update customers set name = 'Ada Lovelace', reference = 'user-17' where id = $1", customer)
        await tx.execute("update payments set status = 'settled'")
        valued = Valued(mine["pay"], store.id, mine["inv"], asset, 8, "EUR", 1_000, Fraction(50_000), 0, now)
        await spreads.put_seen(tx, [measure(valued, Fraction(50_000), 2)])
    sold = await served.all.invoice(reference="order-1002")
    await served.house.database.pool.execute(
        """update invoices set status = 'settled', settled_at = $2, settled_units = amount_units, flags = '{late}'
           where id = $1""",
        sold["id"], now,
    )  # fmt: skip
    for kind, path in (("evt", "/v1/events"), ("act", "/v1/audit")):
        mine[kind] = (await served.all.get(path)).json["data"][0]["id"]
    return "ab" * 32, "Lovelace", "user-17", "order-1002", sold["payment_options"][0]["address"]


RIVAL = "ef" * 32
"""What replaced the payment."""
QUERIES = ("type=invoice.*", "state=failed", "flag=late", "account=sales", "customers=together")
"""For which a list is read by another question."""
ALIKE = {"/v1/networks", "/v1/rates", "/v1/rates/history", "/v1/deliveries"}
"""What is no store's own; and the list that without a query is refused."""
FILTERS = {"invoice_id": "inv", "customer_id": "cus", "after": "evt", "payment_id": "pay", "payment_link_id": "lnk"}
FORGED = {
    "store_id": "sto_x", "owner": "x", "status": "settled", "amount_paid": "1.00", "rate": "1", "address": "bcrt1q",
    "is_admin": True, "created_at": "2026-01-01T00:00:00Z", "id": "inv_x", "livemode": True, "scopes": ["audit:read"],
}  # fmt: skip
WRITES = [(m, p, o) for m, p, o in OPERATIONS if m in WRITING]


@pytest.mark.parametrize(("method", "path", "one"), WRITES, ids=[o["operationId"] for _, _, o in WRITES])
async def test_e12_no_body_takes_a_field_that_it_does_not_name(
    served: Served, method: str, path: str, one: Any
) -> None:
    content = one.get("requestBody", {}).get("content", {}).get("application/json", {})
    example = content.get("example") or BODIES.get(one["operationId"], {})
    schema = DOCUMENT["components"]["schemas"].get(content.get("schema", {}).get("$ref", "").rpartition("/")[2], {})
    for name, value in FORGED.items():
        if name in schema.get("properties", {}):
            continue
        at = path.replace("{id}", f"{prefix(one)}_{'0' * 29}")
        answer = await served.all.send(method, at, example | {name: value})
        assert (answer.status, answer.fields) == (422, [name]), (path, name, answer.body)
