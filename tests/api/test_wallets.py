"""Wallets over HTTP: public halves only."""

import pytest

from kassa.core.ids import new_id
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
