"""E28: a database in which somebody changed an address."""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asyncpg import UndefinedTableError

import kassa.alerts.record_store as records
import kassa.audit.store as audit
import kassa.people.store as people
from kassa import flow
from kassa.audit.model import Actor
from kassa.auditing.log import renew_key
from kassa.checkout.pages import handlers
from kassa.core.errors import DatabaseError, SettingsError
from kassa.core.files import write_whole
from kassa.core.secret import Secret
from kassa.doctor import Finding, Verdict, examine
from kassa.house import House
from kassa.invoices.deadline_store import FIRST_TURN
from kassa.main import former_chains, open_house
from kassa.people.model import Role
from kassa.settings import Settings
from kassa.wallets import seal_store as seals
from kassa.wallets.seal import is_locked, make_another
from tests.api.conftest import house as house  # noqa: PLC0414  # a fixture
from tests.api.conftest import served as served  # noqa: PLC0414  # a fixture
from tests.api.served import ORDER, Caller, Served, serve
from tests.house import BITCOIN

ATTACKER = "bcrt1qattacker"
# The account key of BIP 32's second test vector.
THIEF = (
    "tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh56hjod1RhGjxbaTLV3X4FyWuejifB9jusQ46QzG87VKp"
)


async def swap(served: Served, invoice: Any) -> None:
    await served.house.database.pool.execute(
        "update addresses set address = $2 where invoice_id = $1", invoice["id"], ATTACKER
    )


async def check(house: House) -> None:
    async with house.database.transaction() as tx:
        assert await flow.check_addresses(tx, house, FIRST_TURN, 100, house.clock.now()) is None


async def alerts(served: Served) -> list[Any]:
    events = (await served.all.get("/v1/events?type=alert.opened")).json["data"]
    return [event["data"]["object"] for event in events]


async def test_e28_one_swapped_address_hides_itself_and_no_other_invoice(served: Served) -> None:
    invoices = [await served.all.invoice() for _ in range(25)]
    await swap(served, invoices[7])

    listed = await served.all.get("/v1/invoices")
    read = await served.all.get(f"/v1/invoices/{invoices[7]['id']}")

    assert ATTACKER.encode() not in listed.body + read.body
    found = {each["id"]: each["payment_options"][0] for each in listed.json["data"]}
    for invoice in invoices:
        [option] = invoice["payment_options"]
        bad = {"address": None, "uri": None, "withheld": "address_mismatch"} if invoice is invoices[7] else {}
        assert found[invoice["id"]] == option | bad
    assert read.json["payment_options"] == [found[invoices[7]["id"]]]


async def test_e28_the_list_of_a_wallets_addresses_leaves_a_swapped_one_out(served: Served) -> None:
    bad, good = await served.all.invoice(), await served.all.invoice()
    await swap(served, bad)

    [wallet] = (await served.all.get("/v1/wallets")).json["data"]
    listed = (await served.all.get(f"/v1/wallets/{wallet['id']}/addresses")).json["data"]

    found = {each["invoice_id"]: each["address"] for each in listed}
    assert found == {bad["id"]: None, good["id"]: good["payment_options"][0]["address"]}


async def test_e28_the_payer_is_told_not_to_pay(served: Served) -> None:
    invoice = await served.all.invoice()
    await swap(served, invoice)

    page = await Caller(served.session, served.all.base, None).get(f"/i/{invoice['id']}")

    assert page.status == 503
    assert b"Please do not pay now" in page.body
    assert ATTACKER.encode() not in page.body


async def test_e28_no_event_tells_a_swapped_address(served: Served) -> None:
    invoice = await served.all.invoice()
    await swap(served, invoice)

    marked = await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "invalid"})

    events = await served.all.get("/v1/events?type=invoice.invalid")
    assert [e["data"]["object"]["payment_options"][0]["address"] for e in events.json["data"]] == [None]
    assert ATTACKER.encode() not in marked.body + events.body


async def test_e28_a_swapped_address_opens_one_alert_whoever_looks_at_the_same_time(served: Served) -> None:
    bad, _good = await served.all.invoice(), await served.all.invoice()
    await swap(served, bad)

    reads = [served.all.get(f"/v1/invoices/{bad['id']}") for _ in range(5)]
    await asyncio.gather(*(check(served.house) for _ in range(5)), *reads)
    await check(served.house)

    [alert] = await alerts(served)
    assert (alert["subject"], alert["about"]) == (on_bitcoin(served), {"count": 1, "newest": [bad["id"]]})
    assert alert["actions"] == [{"action": "withheld", "target": bad["id"], "blocks": None}]
    assert ATTACKER not in json.dumps(alert)
    assert "tpub" not in json.dumps(alert)


def on_bitcoin(served: Served) -> str:
    return f"{served.store.id}/{BITCOIN}"


async def open_alerts(served: Served) -> list[str]:
    rows = await served.house.database.pool.fetch("select subject from alerts where closed_at is null")
    return [row["subject"] for row in rows]


async def test_e28_an_intruder_who_comes_back_is_told_of_again(served: Served) -> None:
    invoice = await served.all.invoice()
    right = invoice["payment_options"][0]["address"]
    mend = "update addresses set address = $2 where invoice_id = $1"
    await swap(served, invoice)
    await check(served.house)
    [alert] = (await served.all.get("/v1/alerts?status=open")).json["data"]
    await served.house.database.pool.execute(mend, invoice["id"], right)
    await check(served.house)
    assert await open_alerts(served) == [on_bitcoin(served)]  # that it is mended does not say by whom
    closing = await served.all.post(f"/v1/alerts/{alert['id']}/close", {"note": "restored the row"})
    assert closing.status == 200, closing.body
    await check(served.house)
    assert await open_alerts(served) == []
    await swap(served, invoice)
    await check(served.house)
    await check(served.house)
    assert await open_alerts(served) == [on_bitcoin(served)]
    assert len(await alerts(served)) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "update payment_options set due_units = 1",
        "update invoices set amount_units = 1",
        "update invoices set expires_at = expires_at + interval '1 day'",
        "update invoices set seal = null",
    ],
)
async def test_e28_what_a_payer_is_asked_for_is_sealed_too(served: Served, statement: str) -> None:
    invoice = await served.all.invoice()
    assert (await served.all.get(f"/v1/invoices/{invoice['id']}")).json == invoice
    await served.house.database.pool.execute(statement)
    [option] = (await served.all.get(f"/v1/invoices/{invoice['id']}")).json["payment_options"]
    assert (option["address"], option["withheld"]) == (None, "address_mismatch")
    await check(served.house)
    assert await open_alerts(served) == [served.store.id]


async def test_invoices_of_a_version_that_did_not_seal_are_shown_and_no_later_ones(
    served: Served, database_url: str
) -> None:
    await served.all.invoice()
    pool, data_dir = served.house.database.pool, served.house.settings.data_dir
    settings = replace(served.house.settings, database_url=Secret(database_url))
    async with open_house(settings):
        pass  # the first start seals whatever is there
    await pool.execute("update invoices set seal = null")
    (data_dir / "terms-sealed-since").unlink()
    async with open_house(settings) as upgraded:
        await check(upgraded)  # of this version it was made, as far as anybody knows
    assert await open_alerts(served) == []
    (data_dir / "terms-sealed-since").write_text("2020-01-01T00:00:00+00:00\n")
    async with open_house(settings) as later:
        await check(later)
    assert len(await open_alerts(served)) == 1


async def test_secrets_of_a_version_that_did_not_lock_them_are_locked_once_and_what_is_typed_in_later_never(
    served: Served, database_url: str
) -> None:
    plain, pool = "JBSWY3DPEHPK3PXP", served.house.database.pool
    settings = replace(served.house.settings, database_url=Secret(database_url))
    async with served.house.database.transaction() as tx:
        now = served.house.clock.now()
        person = (await people.create(tx, "owner@example.com", "Owner", now)).id
        await people.put_member(tx, served.store.id, person, Role.OWNER, now)
        told = {"role": "owner"}
        await audit.record(
            tx, Actor("operator test"), "member.joined", person, now, store_id=served.store.id, after=told
        )
        await people.set_totp(tx, person, plain, 0)

    async def kept_after_a_start() -> str:
        async with open_house(settings):
            return str(await pool.fetchval("select totp_secret from people"))

    assert is_locked(await kept_after_a_start())
    await pool.execute("update people set totp_secret = $1", plain)
    assert is_locked(await kept_after_a_start())  # processes of the version before may run beside it for an hour
    (settings.data_dir / "secrets-sealed-since").write_text("2020-01-01T00:00:00+00:00\n")
    await pool.execute("update people set totp_secret = $1", plain)
    assert await kept_after_a_start() == plain
    assert f"{person}/app" in {each.id for each in await served.house.database.run(records.unrecorded)}

    await renew_key(settings, Actor("operator test"), "an intruder")
    assert await kept_after_a_start() == plain
    (settings.data_dir / "secrets-sealed-since").unlink()
    await pool.execute("update people set totp_secret = null")
    await kept_after_a_start()
    await pool.execute("update people set totp_secret = $1", plain)
    assert await kept_after_a_start() == plain  # there was nothing of an earlier version


async def test_members_and_keys_are_not_sealed_because_somebody_emptied_seal_keys(
    served: Served, database_url: str
) -> None:
    pool, settings = served.house.database.pool, replace(served.house.settings, database_url=Secret(database_url))
    await pool.execute("delete from wallets")
    async with open_house(settings):
        pass
    await pool.execute("delete from seal_keys")
    await pool.execute("update api_keys set seal = null")
    with pytest.raises(DatabaseError, match="does not say any more which key sealed"):
        async with open_house(settings):
            pass
    assert await pool.fetchval("select count(*) from api_keys where seal is not null") == 0


async def test_a_network_under_another_name_is_refused_until_it_has_its_own_again(
    served: Served, database_url: str
) -> None:
    await served.all.invoice()
    there = replace(served.house.settings, database_url=Secret(database_url))
    other = replace(there, networks={"btc": replace(there.networks[BITCOIN], name="btc")})
    with pytest.raises(SettingsError, match=rf"\[networks\.btc\].*call the section \[networks\.{BITCOIN}\] again"):
        async with open_house(other):
            pass
    assert [str(found.verdict) for found in await examine(other) if found.check == "networks"] == ["fail"]
    async with open_house(replace(there, networks={})):
        pass  # a network that was taken out
    async with open_house(there) as house:
        assert list(house.chains) == [BITCOIN]


async def test_e28_the_doctor_names_the_invoice(served: Served, database_url: str, tmp_path: Path) -> None:
    invoice = await served.all.invoice()
    settings = Settings(database_url=Secret(database_url), data_dir=tmp_path)

    async def addresses() -> Finding:
        return next(finding for finding in await examine(settings) if finding.check == "addresses")

    assert (await addresses()).verdict is Verdict.OK
    await swap(served, invoice)
    await check(served.house)
    found = await addresses()
    assert found.verdict is Verdict.FAIL
    assert invoice["id"] in found.detail


async def test_e28_a_swapped_descriptor_is_found_as_well(served: Served) -> None:
    invoice = await served.all.invoice()
    pool = served.house.database.pool
    await pool.execute("alter table keychains disable trigger keychains_grow")
    await pool.execute("update keychains set descriptor = 'wpkh(nonsense/0/*)'")
    await check(served.house)

    read = await served.all.get(f"/v1/invoices/{invoice['id']}")

    assert read.json["payment_options"][0]["withheld"] == "address_mismatch"
    assert len(await alerts(served)) == 1


async def test_the_round_goes_through_every_open_invoice(served: Served) -> None:
    for _ in range(5):
        await swap(served, await served.all.invoice())
    settled = await served.all.invoice()
    await served.all.post(f"/v1/invoices/{settled['id']}/mark", {"as": "settled"})

    pages, turn = 0, FIRST_TURN
    while turn is not None:
        async with served.house.database.transaction() as tx:
            turn = await flow.check_addresses(tx, served.house, turn, 2, served.house.clock.now())
        pages += 1

    [open_] = (await served.all.get("/v1/alerts?status=open")).json["data"]
    assert open_["about"]["count"] == 5
    assert pages in (3, 4)


@pytest.mark.parametrize("known", [True, False])
async def test_an_address_on_a_removed_network_is_shown_only_where_it_can_be_checked(
    served: Served, known: bool
) -> None:
    invoice = await served.all.invoice()
    house = replace(
        served.house,
        settings=replace(served.house.settings, networks={}),
        chains={},
        former=served.house.chains if known else {},
    )
    async with serve(house, served.store, handlers(house)) as after:
        read = await after.all.get(f"/v1/invoices/{invoice['id']}")
        page = await Caller(after.session, after.all.base, None).get(f"/i/{invoice['id']}")
    await check(house)

    [option] = invoice["payment_options"]
    shown = (option["address"], None) if known else (None, "network_removed")
    [left] = read.json["payment_options"]
    assert ((left["address"], left["withheld"]), left["uri"]) == (shown, None)
    assert page.status == 503
    assert await alerts(served) == []


@pytest.mark.tampers("a network is left that nobody has settings of")
async def test_a_network_that_was_followed_once_is_still_known(house: House) -> None:
    await house.database.pool.execute("insert into networks (id, chain) values ('gone', 'a-chain-nobody-knows')")
    assert dict(await former_chains(house.settings, house.database)) == {}
    former = await former_chains(replace(house.settings, networks={}), house.database)
    assert {name: chain.name for name, chain in former.items()} == {BITCOIN: BITCOIN}


async def test_e28_two_invoices_whose_addresses_were_exchanged_are_both_hidden(served: Served) -> None:
    one, two, other = [await served.all.invoice() for _ in range(3)]
    await served.house.database.pool.execute(
        """update payment_options o set address_id = p.address_id from payment_options p
           where (o.invoice_id, p.invoice_id) in (($1, $2), ($2, $1))""",
        one["id"],
        two["id"],
    )
    await check(served.house)
    found = {
        each["id"]: each["payment_options"][0]["withheld"]
        for each in (await served.all.get("/v1/invoices")).json["data"]
    }
    assert found == {one["id"]: "address_mismatch", two["id"]: "address_mismatch", other["id"]: None}
    [alert] = await alerts(served)
    assert sorted(alert["about"]["newest"]) == sorted([one["id"], two["id"]])


@pytest.mark.parametrize("seal", ["null", "decode(repeat('00', 32), 'hex')"])
async def test_e28_an_address_without_its_seal_is_hidden(served: Served, seal: str) -> None:
    invoice = await served.all.invoice()
    await served.house.database.pool.execute(f"update addresses set seal = {seal}")
    read = await served.all.get(f"/v1/invoices/{invoice['id']}")
    assert read.json["payment_options"][0]["withheld"] == "address_mismatch"


async def test_e29_a_wallet_exchanged_in_the_database_is_offered_to_nobody(served: Served) -> None:
    before = await served.all.invoice()
    await served.house.database.pool.execute(
        """with thief as (
               insert into keychains (space, descriptor, fingerprint, created_at) values ($1, $2, '99999999', now())
               returning id
           ) update wallets set keychain_id = thief.id from thief""",
        BITCOIN,
        served.house.chains[BITCOIN].addresses.account(THIEF).descriptor,
    )
    refused = await served.all.post("/v1/invoices", {"amount": "1.00", "currency": "EUR"})
    assert (refused.status, refused.code) == (503, "network_unavailable")
    customer = (await served.all.post("/v1/customers", {})).json
    deposit = await served.all.post(f"/v1/customers/{customer['id']}/addresses", {"asset": f"BTC@{BITCOIN}"})
    assert (deposit.status, deposit.code) == (503, "wallet_mismatch")
    async with served.house.database.transaction() as tx:
        await flow.check_wallets(tx, served.house, served.house.clock.now())
        await flow.check_wallets(tx, served.house, served.house.clock.now())
    [alert] = await alerts(served)
    assert "99999999" in alert["reason"]
    # What was issued before is still the merchant's.
    assert (await served.all.get(f"/v1/invoices/{before['id']}")).json["payment_options"] == before["payment_options"]


async def test_e28_a_customers_exchanged_address_is_neither_shown_nor_missed(served: Served) -> None:
    ids = [(await served.all.post("/v1/customers", {})).json["id"] for _ in range(2)]
    asset = {"asset": f"BTC@{BITCOIN}"}
    for id_ in ids:
        assert (await served.all.post(f"/v1/customers/{id_}/addresses", asset)).status == 201
    await served.house.database.pool.execute("drop index addresses_of_customer")
    await served.house.database.pool.execute(
        "update addresses set customer_id = case customer_id when $1 then $2 else $1 end", *ids
    )
    await served.house.database.pool.execute(
        "create unique index addresses_of_customer on addresses (customer_id, network) where customer_id is not null"
    )
    answer = await served.all.post(f"/v1/customers/{ids[0]}/addresses", asset)
    assert (answer.status, answer.code) == (503, "address_mismatch")
    place: str | None = ""
    while place is not None:
        async with served.house.database.transaction() as tx:
            place = await flow.check_deposits(tx, served.house, place, 1, served.house.clock.now())
    [open_] = (await served.all.get("/v1/alerts?status=open")).json["data"]
    assert sorted(open_["about"]["newest"]) == sorted(ids)


async def test_the_key_is_made_once_and_another_one_stops_the_start(database_url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=Secret(database_url), data_dir=tmp_path / "one")
    async with open_house(settings) as first, open_house(settings) as second:
        assert first.seal.fingerprint == second.seal.fingerprint
    assert (tmp_path / "one" / "address-key").stat().st_mode & 0o777 == 0o600
    elsewhere = replace(settings, data_dir=tmp_path / "two")
    with pytest.raises(DatabaseError, match="is missing, the key that sealed"):
        async with open_house(elsewhere):
            pass
    (tmp_path / "two").mkdir()
    write_whole(tmp_path / "two" / "address-key", "ab" * 32)
    with pytest.raises(DatabaseError, match="is not the key that sealed"):
        async with open_house(elsewhere):
            pass


async def test_e28_a_key_that_the_database_forgot_seals_nothing_until_the_operator_says_so(
    served: Served, database_url: str, tmp_path: Path
) -> None:
    settings = replace(served.house.settings, database_url=Secret(database_url), data_dir=tmp_path / "own")
    async with open_house(settings):
        pass
    await served.house.database.pool.execute("update wallets set seal = null")
    await served.house.database.pool.execute("delete from seal_keys")
    for _ in range(2):  # a refusal leaves nothing that the next start would believe
        with pytest.raises(DatabaseError, match="kassa address-key renew"):
            async with open_house(settings):
                pass
    assert await served.house.database.pool.fetchval("select seal from wallets") is None
    await renew_key(settings, Actor("operator test"), "compared")
    async with open_house(settings) as house:
        assert await house.database.pool.fetchval("select seal from wallets") is not None


async def test_a_fresh_database_beside_an_old_key_takes_it(database_url: str, tmp_path: Path) -> None:
    write_whole(tmp_path / "address-key", "ab" * 32)
    async with open_house(Settings(database_url=Secret(database_url), data_dir=tmp_path)) as house:
        assert house.seal.fingerprint == await house.database.pool.fetchval("select fingerprint from seal_keys")


async def test_what_was_issued_before_there_were_seals_is_sealed_at_the_first_start(
    served: Served, database_url: str, tmp_path: Path
) -> None:
    good, bad = await served.all.invoice(), await served.all.invoice()
    await swap(served, bad)
    await served.house.database.pool.execute("update addresses set seal = null")
    settings = replace(served.house.settings, database_url=Secret(database_url), data_dir=tmp_path / "new")
    async with open_house(settings) as house, serve(house, served.store) as after:
        found = [(await after.all.get(f"/v1/invoices/{each['id']}")).json["payment_options"][0] for each in (good, bad)]
        assert [option["withheld"] for option in found] == [None, "address_mismatch"]
    renewed = await renew_key(settings, Actor("operator test"), "lost")
    assert (renewed["addresses"], renewed["left"]) == (1, 1)
    async with open_house(settings) as house, serve(house, served.store) as after:
        assert (await after.all.get(f"/v1/invoices/{good['id']}")).json["payment_options"][0]["withheld"] is None


async def test_e28_a_renewal_with_the_former_key_there_seals_nothing_that_an_intruder_wrote(
    served: Served, database_url: str
) -> None:
    settings, pool = replace(served.house.settings, database_url=Secret(database_url)), served.house.database.pool
    write_whole(settings.data_dir / "address-key", "00" * 32)  # that of the house
    async with served.house.database.transaction() as tx:
        await seals.adopt_key(tx, served.house.seal)
    one, other, right = [(await served.all.invoice())["id"] for _ in range(3)]
    exchange = "update addresses set invoice_id = $2 where id = $1"
    ids = [await pool.fetchval("select id from addresses where invoice_id = $1", each) for each in (one, other)]
    for given in ((ids[0], None), (ids[1], one), (ids[0], other)):
        await pool.execute(exchange, *given)
    stranger = await pool.fetchval(
        "insert into keychains (space, descriptor, fingerprint, next_index, created_at, networks)"
        " select space, $1, fingerprint, 0, created_at, networks from keychains limit 1 returning id",
        served.house.chains[BITCOIN].addresses.account(THIEF).descriptor,
    )
    wallet = await pool.fetchval("update wallets set keychain_id = $1 returning id", stranger)

    renewed = await renew_key(settings, Actor("operator test"), "an intruder")

    assert (renewed["addresses"], renewed["left"], renewed["wallets_left"]) == (1, 2, (wallet,))
    async with open_house(settings) as house, serve(house, served.store) as after:
        found = [(await after.all.get(f"/v1/invoices/{id_}")).json["payment_options"][0] for id_ in (one, other, right)]
        assert [option["withheld"] for option in found] == ["address_mismatch", "address_mismatch", None]
        assert (await after.all.post("/v1/invoices", ORDER)).status == 503


async def test_no_key_is_renewed_beside_a_kassa_that_runs_by_the_former_one(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(database_url=Secret(database_url), data_dir=tmp_path)
    async with open_house(settings) as house:
        with pytest.raises(DatabaseError, match="stop every process of it, on every machine, then renew the key"):
            await renew_key(settings, Actor("operator test"), "lost")
        assert {path.name for path in settings.data_dir.glob("address-key*")} == {"address-key", "address-key.lock"}
        assert house.seal.fingerprint == await house.database.pool.fetchval("select fingerprint from seal_keys")
    made, met = make_another, AsyncExitStack()

    async def meanwhile(data_dir: Path, fingerprint: bytes | None) -> Any:
        met_house.append(await met.enter_async_context(open_house(settings)))
        return await made(data_dir, fingerprint)

    met_house: list[House] = []
    monkeypatch.setattr("kassa.auditing.log.make_another", meanwhile)
    async with met:
        with pytest.raises(DatabaseError, match="is running"):
            await renew_key(settings, Actor("operator test"), "lost")
        found = await met_house[0].database.pool.fetchval("select fingerprint from seal_keys")
        assert met_house[0].seal.fingerprint == found  # what it checks by is what the database is sealed by
    monkeypatch.undo()
    await renew_key(settings, Actor("operator test"), "lost")
    async with open_house(settings) as house:
        assert house.seal.fingerprint != found


async def test_a_renewal_of_the_key_that_broke_off_loses_no_secret(served: Served, database_url: str) -> None:
    settings, pool = replace(served.house.settings, database_url=Secret(database_url)), served.house.database.pool
    write_whole(settings.data_dir / "address-key", "00" * 32)  # that of the house
    async with served.house.database.transaction() as tx:
        await seals.adopt_key(tx, served.house.seal)
        person = (await people.create(tx, "owner@example.com", "Owner", served.house.clock.now())).id
        await people.set_totp(tx, person, served.house.seal.lock(person, "JBSWY3DPEHPK3PXP"), 0)
    for _ in range(2):  # the second finds the key of the first
        await pool.execute("alter table acts rename to acts_elsewhere")
        with pytest.raises(UndefinedTableError):
            await renew_key(settings, Actor("operator test"), "lost")
        await pool.execute("alter table acts_elsewhere rename to acts")
    with pytest.raises(DatabaseError, match=r"broke off.*address-key\.former"):
        async with open_house(settings):
            pass

    await renew_key(settings, Actor("operator test"), "lost")

    async with open_house(settings) as house:
        [(_, kept)] = await people.totp_secrets(house.database.pool)  # type: ignore[arg-type]  # nobody else writes
        assert house.seal.unlock(person, kept) == "JBSWY3DPEHPK3PXP"
    assert not (settings.data_dir / "address-key.former").exists()
    set_by = {path.suffix for path in settings.data_dir.glob("address-key.*")} - {".lock"}
    assert len(set_by) == 2  # they might be another database's
