"""Wallets over HTTP: public halves only."""

from dataclasses import replace

import pytest

from kassa import flow
from kassa.core.ids import new_id
from kassa.core.secret import Secret
from kassa.operations.payments import assign_payment
from kassa.stores import store as stores
from tests.api.served import Caller, Served
from tests.house import BITCOIN, TPUB

# BIP 32's first test vector: the same seed as TPUB, its private half.
TPRV = "tprv8ZgxMBicQKsPeDgjzdC36fs6bMjGApWDNLR9erAXMs5skhMv36j9MV5ecvfavji5khqjWaWSFhN3YcCUUdiKH6isR4Pwy3U5y5egddBr16m"
WIF = "cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA"
SEED = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"


async def _empty_store(served: Served) -> Caller:
    async with served.house.database.transaction() as tx:
        store = await stores.create_store(tx, "Fresh", "EUR", False, served.house.clock.now())
    return await served.key(store=store)


async def test_a_wallet_is_added_once_per_network_and_then_accepts(served: Served) -> None:
    fresh = await _empty_store(served)
    before = await fresh.post("/v1/invoices", {"amount": "1", "currency": "EUR"})

    made = await fresh.post("/v1/wallets", {"network": BITCOIN, "descriptor": TPUB})
    again = await fresh.post("/v1/wallets", {"network": BITCOIN, "descriptor": TPUB})
    invoice = await fresh.invoice()
    addresses = await fresh.get(f"/v1/wallets/{made.json['id']}/addresses")

    assert (before.status, before.fields) == (422, ["payment_options"])
    assert made.status == 201
    assert (again.status, again.code) == (409, "wallet_exists")
    in_use = {"next_index": 1, "last_used_index": None, "gap_limit": 1}
    assert (await fresh.get(f"/v1/wallets/{made.json['id']}")).json == made.json | in_use
    assert (await fresh.get("/v1/wallets")).json["data"] == [made.json | in_use]
    assert addresses.json["data"][0]["address"] == invoice["payment_options"][0]["address"]
    assert addresses.json["data"][0]["invoice_id"] == invoice["id"]


@pytest.mark.parametrize("secret", [TPRV, f"wpkh({TPRV}/0/*)", WIF, SEED], ids=["tprv", "descriptor", "wif", "seed"])
async def test_a_private_key_is_refused_and_never_repeated(served: Served, secret: str) -> None:
    fresh = await _empty_store(served)

    answer = await fresh.post("/v1/wallets", {"network": BITCOIN, "descriptor": secret})

    assert (answer.status, answer.fields) == (422, ["descriptor"])
    assert secret.encode() not in answer.body


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"network": "mars", "descriptor": TPUB}, "network"),
        ({"network": BITCOIN, "descriptor": ""}, "descriptor"),
        ({"network": BITCOIN, "descriptor": "x" * 2001}, "descriptor"),
        ({"network": BITCOIN, "descriptor": TPUB[:-1] + "x"}, "descriptor"),
        ({"network": BITCOIN, "descriptor": "\x00"}, "descriptor"),
        ({"network": BITCOIN, "descriptor": "wsh(" * 400}, "descriptor"),
        ({"network": BITCOIN}, "descriptor"),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_a_malformed_wallet_is_refused_by_name(served: Served, body: dict[str, str], field: str) -> None:
    answer = await (await _empty_store(served)).post("/v1/wallets", body)

    assert (answer.status, answer.fields) == (422, [field])


async def test_addresses_are_listed_in_parts(served: Served) -> None:
    for _ in range(5):
        await served.all.invoice()
    wallet = (await served.all.get("/v1/wallets")).json["data"][0]
    path = f"/v1/wallets/{wallet['id']}/addresses"

    first = (await served.all.get(f"{path}?limit=3")).json
    second = (await served.all.get(f"{path}?limit=3&cursor={first['next_cursor']}")).json

    assert [address["index"] for address in first["data"] + second["data"]] == [4, 3, 2, 1, 0]
    assert second["next_cursor"] is None
    assert (await served.all.get(f"{path}?cursor=-1")).fields == ["cursor"]
    assert (await served.all.get(f"{path}?cursor={'9' * 30}")).fields == ["cursor"]
    assert (await served.all.get(f"{path}?cursor={new_id('adr', served.house.clock.now())}")).fields == ["cursor"]


async def _paid_unowned(served: Served) -> str:
    """Write a payment to an address of the store's wallet that was never issued; return its id."""
    now, pool = served.house.clock.now(), served.house.database.pool
    address, payment = new_id("adr", now), new_id("pay", now)
    await pool.execute(
        """insert into addresses (id, network, script, address, watch_key, keychain_id, index, created_at)
           select $1, $2, '\\x00', 'bcrt1qnever', 1, id, 5000, $3 from keychains""",
        address, BITCOIN, now,
    )  # fmt: skip
    await pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, first_seen_at,
               replaceable, block_height, block_hash)
           values ($1, $2, $3, 'out:0', $4, 100000000, 0, $5, $6, false, 120, $3)""",
        payment, BITCOIN, "ab" * 32, f"BTC@{BITCOIN}", address, now,
    )  # fmt: skip
    return payment


async def test_who_has_a_wallet_hears_that_another_store_was_given_it_and_the_operator_of_whom(served: Served) -> None:
    mine = (await served.all.get("/v1/wallets")).json["data"][0]["id"]
    other = await _empty_store(served)
    made = (await other.post("/v1/wallets", {"network": BITCOIN, "descriptor": TPUB})).json

    [alert] = (await served.all.get("/v1/alerts?status=open")).json["data"]
    assert (alert["kind"], alert["severity"], alert["about"]["wallet_id"]) == ("wallet_shared", "warning", mine)
    assert made["store_id"] not in str(alert)
    assert (await other.get("/v1/alerts")).json["data"] == []
    detail = await served.house.database.pool.fetchval("select detail from alerts")
    assert made["store_id"] in detail
    for caller, wallet, is_kassa in ((served.all, mine, True), (other, made["id"], False)):
        [act] = (await caller.get("/v1/audit?kind=wallet.shared")).json["data"]
        assert (act["subject"], act["actor"] == "kassa") == (wallet, is_kassa)
    closed = await served.all.post(f"/v1/alerts/{alert['id']}/close", {"note": "our second shop"})
    assert (closed.status, closed.json["status"]) == (200, "closed")


async def test_money_to_a_wallet_that_several_stores_have_is_given_to_one_by_the_operator_alone(
    served: Served, database_url: str
) -> None:
    other, payment = await _empty_store(served), await _paid_unowned(served)
    await other.post("/v1/wallets", {"network": BITCOIN, "descriptor": TPUB})
    customer = (await other.post("/v1/customers", {})).json["id"]
    for caller, to in ((other, customer), (served.all, None)):
        refused = await caller.post(f"/v1/payments/{payment}/assign", {"customer_id": to})
        assert (refused.status, refused.code) == (409, "operator_only")
        assert "kassa payment assign" in refused.json["detail"]
    async with served.house.database.transaction() as tx:
        [listed] = await flow.unassigned(tx, served.house, served.store)
    assert (listed["payment_id"], len(listed["stores"])) == (payment, 2)

    settings = replace(served.house.settings, database_url=Secret(database_url))
    told = await assign_payment(settings, served.store.id, payment, None)
    assert told["assigned_to"] == "income"
    assert (await served.all.get(f"/v1/payments/{payment}")).json["assigned_to"] == "income"
    assert (await other.post(f"/v1/payments/{payment}/assign", {"customer_id": customer})).status == 404
