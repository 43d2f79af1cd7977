"""E29: nobody diverts money by changing a wallet, neither at once nor unseen; and D-day comes when it should."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import kassa.audit.store as audit
import kassa.stores.store as stores
import kassa.wallets.store as wallets
from kassa import flow
from kassa.alerts.model import Verdict
from kassa.audit.anchor import accept, advance
from kassa.audit.model import Actor
from kassa.core.clock import rfc3339
from kassa.core.errors import Conflict
from kassa.house import House
from kassa.settings import Wallets
from tests.api.conftest import house as house  # noqa: PLC0414  # a fixture
from tests.api.served import OPERATOR, Caller, Served, serve
from tests.faults.test_addresses import THIEF
from tests.house import BITCOIN, add_store

ASSET = {"asset": f"BTC@{BITCOIN}"}
DAY = 86_400


@pytest.fixture
async def served(house: House) -> AsyncIterator[Served]:
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store) as running:
        yield replace(running, all=await running.recorded_key())


@pytest.fixture
async def other(served: Served) -> Caller:
    """A second key, which the operator made before anybody asked for anything."""
    return await served.recorded_key("wallets:write")


async def asked(served: Served) -> tuple[Any, Any]:
    [wallet] = (await served.all.get("/v1/wallets")).json["data"]
    answer = await served.all.post(f"/v1/wallets/{wallet['id']}/change", {"descriptor": THIEF})
    assert answer.status == 201, answer.body
    return wallet, answer.json


async def pass_time(served: Served, seconds: float) -> None:
    served.house.clock.move(seconds)  # type: ignore[attr-defined]
    pool = served.house.database.pool
    await pool.execute("update networks set observed_at = $1", served.house.clock.now())
    await advance(pool, served.house.settings.data_dir)
    while await served.house.database.run(
        lambda tx: flow.on_wallet_changes(tx, served.house, served.house.clock.now())
    ):
        pass


async def key_in_use(served: Served) -> str:
    found: str = await served.house.database.pool.fetchval(
        "select k.fingerprint from addresses a join keychains k on k.id = a.keychain_id where a.invoice_id = $1",
        (await served.all.invoice())["id"],
    )
    return found


async def test_e29_a_change_needs_another_key_the_fingerprint_and_the_delay(served: Served, other: Caller) -> None:
    wallet, change = await asked(served)
    assert (change["status"], change["due_at"]) == ("asked", None)
    path = f"/v1/wallet-changes/{change['id']}"
    same = await served.all.post(f"{path}/confirm", {"fingerprint": change["fingerprint"]})
    assert (same.status, same.code) == (409, "same_person")
    wrong = await other.post(f"{path}/confirm", {"fingerprint": wallet["fingerprint"]})
    assert (wrong.status, wrong.fields) == (422, ["fingerprint"])
    await pass_time(served, 30 * DAY)
    assert await key_in_use(served) == wallet["fingerprint"]  # without a confirmation, no delay ends

    assert (await other.post(f"{path}/confirm", {"fingerprint": change["fingerprint"]})).json["status"] == "confirmed"
    again = await other.post(f"{path}/confirm", {"fingerprint": change["fingerprint"]})
    assert (again.status, again.code) == (409, "change_confirmed")
    await pass_time(served, DAY - 1)
    assert await key_in_use(served) == wallet["fingerprint"]
    await pass_time(served, 1)
    assert await key_in_use(served) == change["fingerprint"]
    listed = (await served.all.get("/v1/wallets")).json["data"]
    assert [(one["fingerprint"], one["retired_at"] is None) for one in listed] == [
        (change["fingerprint"], True),
        (wallet["fingerprint"], False),
    ]
    assert (await served.all.post(f"{path}/cancel")).code == "change_ended"


async def test_e29_everybody_is_told_and_anybody_can_cancel(served: Served, other: Caller) -> None:
    wallet, change = await asked(served)
    second = await served.all.post(f"/v1/wallets/{wallet['id']}/change", {"descriptor": THIEF})
    assert (second.status, second.code) == (409, "change_under_way")
    [alert] = (await served.all.get("/v1/alerts?status=open")).json["data"]
    assert (alert["kind"], alert["about"]["wallet_change_id"]) == ("wallet_change", change["id"])
    await other.post(f"/v1/wallet-changes/{change['id']}/confirm", {"fingerprint": change["fingerprint"]})
    assert (await other.post(f"/v1/wallet-changes/{change['id']}/cancel")).json["status"] == "cancelled"
    await pass_time(served, 2 * DAY)
    assert await key_in_use(served) == wallet["fingerprint"]
    assert (await served.all.get("/v1/alerts?status=open")).json["data"] == []
    deeds = ["wallet.change_asked", "wallet.change_confirmed", "wallet.change_cancelled"]
    events = [e["type"] for e in (await served.all.get("/v1/events?limit=100")).json["data"]]
    assert [each for each in events if each.startswith("wallet.")] == deeds
    # Who may read events but no wallets learns no descriptor, and with it every address, by a change of one.
    reader = await served.key("events:read")
    told = (await reader.get("/v1/events?limit=100")).body
    assert (change["fingerprint"].encode() in told, b"tpub" in told, "tpub" in change["descriptor"]) == (
        True,
        False,
        True,
    )
    acts = [act["kind"] for act in (await served.all.get("/v1/audit")).json["data"]]
    assert acts[:3] == deeds[::-1]


async def test_e29_no_receiver_is_muted_while_a_change_is_under_way(served: Served, other: Caller) -> None:
    hook = {"url": "https://shop.example/hook", "events": ["*"]}
    path = f"/v1/webhooks/{(await served.all.post('/v1/webhooks', hook)).json['id']}"
    _, change = await asked(served)
    for muting in ({"disabled": True}, {"url": "https://thief.example/"}, {"events": ["invoice.*"]}):
        refused = await served.all.send("PATCH", path, muting)
        assert (refused.status, refused.code) == (409, "change_under_way")
    assert (await served.all.send("DELETE", path)).code == "change_under_way"
    assert (await served.all.send("PATCH", path, {"disabled": False})).status == 200
    served.house.clock.move(1)  # type: ignore[attr-defined]
    later = f"/v1/webhooks/{(await served.all.post('/v1/webhooks', hook)).json['id']}"
    assert (await served.all.send("DELETE", later)).status == 204  # it was never to hear of this
    await other.post(f"/v1/wallet-changes/{change['id']}/cancel")
    assert (await served.all.send("DELETE", path)).status == 204


async def test_e29_no_setting_makes_a_change_of_a_live_store_hold_at_once(served: Served) -> None:
    _, change = await asked(served)
    house, now = served.house, served.house.clock.now()
    at_once = replace(house, settings=replace(house.settings, wallets=Wallets(0)))
    await house.database.pool.execute("update stores set livemode = true")
    async with house.database.transaction() as tx:
        by, print_ = Actor("operator test"), change["fingerprint"]
        told = await flow.confirm_wallet_change(tx, at_once, by, None, change["id"], print_, now)
    assert told["due_at"] == rfc3339(now + timedelta(hours=1))


async def test_e29_the_warning_stands_until_the_change_has_ended(served: Served) -> None:
    _, change = await asked(served)
    [alert] = (await served.all.get("/v1/alerts?status=open")).json["data"]
    closing = await served.all.post(f"/v1/alerts/{alert['id']}/close", {"note": "nothing to see"})
    assert (closing.status, closing.code) == (409, "change_under_way")
    house = served.house
    closed, by = Verdict.CLOSED, Actor("operator test")
    async with house.database.transaction() as tx:
        with pytest.raises(Conflict, match="under way"):
            await flow.decide_alert(tx, house, None, alert["id"], closed, by, "", house.clock.now())
    await served.all.post(f"/v1/wallet-changes/{change['id']}/cancel")
    assert (await served.all.get("/v1/alerts?status=open")).json["data"] == []


async def made_by(served: Served, maker: str) -> tuple[str, Any]:
    async with served.house.database.transaction() as tx:
        key, text = await flow.create_key(tx, served.house, Actor(maker), served.store, served.house.clock.now())
    return key, served.caller(text)


async def confirms(served: Served, caller: Any, change: Any) -> tuple[int, str | None]:
    path = f"/v1/wallet-changes/{change['id']}/confirm"
    answer = await caller.post(path, {"fingerprint": change["fingerprint"]})
    return answer.status, answer.code if answer.status != 200 else None


@pytest.mark.parametrize(
    ("parent", "other", "status"),
    [
        (None, "asker", 409),  # who asked makes itself a second key
        ("per_a", "per_a", 409),  # a member makes two
        ("key_a", "asker", 409),
        ("operator o", "operator o", 200),  # the operator hands each to whom they like
        ("per_a", "per_b", 200),
    ],
)
async def test_e29_who_made_a_key_is_one_person_with_it(
    served: Served, parent: str | None, other: str, status: int
) -> None:
    key, asker = await made_by(served, parent or "operator o")
    _, confirmer = await made_by(served, key if other == "asker" else other)
    [wallet] = (await served.all.get("/v1/wallets")).json["data"]
    change = (await asker.post(f"/v1/wallets/{wallet['id']}/change", {"descriptor": THIEF})).json
    assert await confirms(served, confirmer, change) == (status, "same_person" if status == 409 else None)


async def test_e29_a_key_that_was_made_after_the_question_does_not_confirm_it(served: Served) -> None:
    _, change = await asked(served)
    served.house.clock.move(1)  # type: ignore[attr-defined]
    _, late = await made_by(served, "operator o")
    assert await confirms(served, late, change) == (409, "same_person")


@pytest.mark.parametrize("with_acts", [False, True])
async def test_e29_keys_that_were_written_into_the_database_are_not_two_people(served: Served, with_acts: bool) -> None:
    house, callers = served.house, []
    for _ in range(2):
        async with house.database.transaction() as tx:
            key, text = await stores.create_key(tx, served.store, house.clock.now())  # the bare row, as by SQL
            if with_acts:
                await audit.record(tx, OPERATOR, "api_key.created", key, house.clock.now(), store_id=served.store.id)
        callers.append(served.caller(text))
    [wallet] = (await served.all.get("/v1/wallets")).json["data"]
    change = (await callers[0].post(f"/v1/wallets/{wallet['id']}/change", {"descriptor": THIEF})).json
    assert await confirms(served, callers[1], change) == (409, "unrecorded")
    assert await confirms(served, served.all, change) == (409, "unrecorded")  # who asked is nobody either


async def test_e29_a_key_that_was_given_more_rights_in_the_database_does_not_confirm(served: Served) -> None:
    weak = await served.recorded_key("invoices:read")
    _, change = await asked(served)
    await served.house.database.pool.execute(
        "update api_keys set scopes = '{wallets:write}' where scopes = '{invoices:read}'"
    )
    assert await confirms(served, weak, change) == (409, "unrecorded")


async def test_the_operator_may_do_both_at_the_command_line(served: Served) -> None:
    _, change = await asked(served)
    house, now = served.house, served.house.clock.now()
    async with house.database.transaction() as tx:
        operator, print_ = Actor("operator test"), change["fingerprint"]
        told = await flow.confirm_wallet_change(tx, house, operator, None, change["id"], print_, now)
    assert told["status"] == "confirmed"


@pytest.mark.parametrize(
    "forged",
    [
        "confirmed_at = asked_at, confirmed_by = 'key_x', due_at = asked_at",
        "due_at = asked_at",
        "confirmed_at = asked_at, confirmed_by = 'key_x', due_at = asked_at, confirmed_seal = asked_seal",
    ],
)
async def test_e29_a_change_that_was_confirmed_in_the_database_is_not_carried_out(served: Served, forged: str) -> None:
    wallet, change = await asked(served)
    await served.house.database.pool.execute(f"update wallet_changes set {forged}")
    await pass_time(served, DAY)
    assert await key_in_use(served) == wallet["fingerprint"]
    alerts = (await served.all.get("/v1/alerts?status=open")).json["data"]
    assert [(each["kind"], change["id"] in each["reason"]) for each in alerts] == [("address_mismatch", True)]


async def test_e29_a_delay_that_was_shortened_in_the_database_is_noticed(served: Served, other: Caller) -> None:
    wallet, change = await asked(served)
    await other.post(f"/v1/wallet-changes/{change['id']}/confirm", {"fingerprint": change["fingerprint"]})
    await served.house.database.pool.execute("update wallet_changes set due_at = asked_at")
    await pass_time(served, 1)
    assert await key_in_use(served) == wallet["fingerprint"]


async def confirmed(served: Served, other: Caller) -> tuple[Any, str]:
    """Ask for a change and confirm it; return the wallet that is to go, and the path of the change."""
    wallet, change = await asked(served)
    path = f"/v1/wallet-changes/{change['id']}"
    answer = await other.post(f"{path}/confirm", {"fingerprint": change["fingerprint"]})
    assert answer.json["status"] == "confirmed"
    return wallet, path


async def test_e29_a_cancelled_change_is_not_revived_in_the_database(served: Served, other: Caller) -> None:
    wallet, path = await confirmed(served, other)
    await served.all.post(f"{path}/cancel")
    await served.house.database.pool.execute("update wallet_changes set ended_at = null, ended_as = null")
    await pass_time(served, DAY)
    assert await key_in_use(served) == wallet["fingerprint"]


_DELETED = """
alter table acts disable trigger acts_append_only;
delete from acts where kind = 'wallet.change_cancelled';
update acts set number = number - 1
    where number > (select max(number) from acts where kind = 'wallet.change_asked') + 1;
alter table acts enable trigger acts_append_only;
"""


@pytest.mark.parametrize("cut_out", [False, True])
async def test_e29_a_seal_that_was_copied_before_a_change_ended_revives_nothing(
    served: Served, other: Caller, cut_out: bool
) -> None:
    wallet, path = await confirmed(served, other)
    pool = served.house.database.pool
    seal = await pool.fetchval("select confirmed_seal from wallet_changes")
    await served.all.post(f"{path}/cancel")
    await served.all.post("/v1/webhooks", {"url": "https://shop.example/hook", "events": ["*"]})
    await pass_time(served, 1)  # the anchor has seen the end
    await pool.execute("update wallet_changes set ended_at = null, ended_as = null, confirmed_seal = $1", seal)
    if cut_out:
        await pool.execute(_DELETED)
    await pass_time(served, DAY)
    assert await key_in_use(served) == wallet["fingerprint"]
    [listed] = (await served.all.get("/v1/wallet-changes")).json["data"]
    assert listed["status"] == ("confirmed" if cut_out else "cancelled")  # it waits while the log does not hold


async def test_e29_a_change_that_is_overdue_by_more_than_a_day_is_given_up(served: Served, other: Caller) -> None:
    wallet, _ = await confirmed(served, other)
    await pass_time(served, 2 * DAY + 1)
    assert await key_in_use(served) == wallet["fingerprint"]
    [listed] = (await served.all.get("/v1/wallet-changes")).json["data"]
    assert listed["status"] == "cancelled"
    assert (await served.all.get("/v1/alerts?status=open")).json["data"] == []


_BROKEN = """
alter table acts disable trigger acts_append_only;
update acts set actor = 'somebody' where kind = 'wallet.change_confirmed';
alter table acts enable trigger acts_append_only;
"""


async def statuses(served: Served) -> dict[str, str]:
    return {each["id"]: each["status"] for each in (await served.all.get("/v1/wallet-changes")).json["data"]}


async def test_a_change_that_the_broken_log_holds_back_ends_a_day_overdue(served: Served, other: Caller) -> None:
    wallet, _ = await confirmed(served, other)
    await pass_time(served, 1)
    await served.house.database.pool.execute(_BROKEN)
    await pass_time(served, 2 * DAY)
    assert set((await statuses(served)).values()) == {"cancelled"}
    assert await key_in_use(served) == wallet["fingerprint"]


async def test_a_change_that_was_asked_for_before_the_accepted_start_ends_with_an_alert(
    served: Served, other: Caller
) -> None:
    wallet, _ = await confirmed(served, other)
    await pass_time(served, 1)
    await served.house.database.pool.execute(_BROKEN)
    await pass_time(served, DAY)
    assert set((await statuses(served)).values()) == {"confirmed"}
    head = await audit.last(served.house.database.pool)
    accept(served.house.settings.data_dir, head, head)
    await pass_time(served, 1)
    assert set((await statuses(served)).values()) == {"cancelled"}
    assert await key_in_use(served) == wallet["fingerprint"]
    [alert] = (await served.all.get("/v1/alerts?status=open")).json["data"]
    assert (alert["kind"], "ask for it again" in alert["reason"]) == ("wallet_change_unproven", True)
    closing = await served.all.post(f"/v1/alerts/{alert['id']}/close", {"note": "asked again"})
    assert closing.status == 200


async def test_a_change_that_waits_holds_up_no_other(served: Served, other: Caller) -> None:
    await confirmed(served, other)
    await pass_time(served, 1)
    await served.house.database.pool.execute(_BROKEN)
    async with served.house.database.transaction() as tx:
        shop = await add_store(tx, served.house)
        [wallet] = [each for each in await wallets.every_wallet(tx) if each.store_id == shop.id]
        account = served.house.chains[BITCOIN].addresses.account(THIEF)
        by, now = Actor("operator test"), served.house.clock.now()
        change = await flow.ask_wallet_change(tx, served.house, by, shop.id, wallet.id, account, now)
        await flow.confirm_wallet_change(tx, served.house, by, None, change["id"], change["fingerprint"], now)
    await pass_time(served, DAY)
    assert set((await statuses(served)).values()) == {"confirmed"}  # the older one waits
    ended = await served.house.database.pool.fetchval("select ended_as from wallet_changes where id = $1", change["id"])
    assert ended == "applied"


async def test_what_the_old_wallet_issued_stays_and_a_retired_one_does_not_come_back_by_itself(
    served: Served, other: Caller
) -> None:
    invoice, customer = await served.all.invoice(), (await served.all.post("/v1/customers", {})).json["id"]
    deposit = (await served.all.post(f"/v1/customers/{customer}/addresses", ASSET)).json
    wallet, change = await asked(served)
    await other.post(f"/v1/wallet-changes/{change['id']}/confirm", {"fingerprint": change["fingerprint"]})
    await pass_time(served, DAY)
    shown = (await served.all.get(f"/v1/invoices/{invoice['id']}")).json
    assert shown["payment_options"][0]["address"] == invoice["payment_options"][0]["address"]
    counters = "select array_agg(next_index order by id) from keychains"
    before = await served.house.database.pool.fetchval(counters)
    assert (await served.all.post(f"/v1/customers/{customer}/addresses", ASSET)).json == deposit
    assert (
        await served.house.database.pool.fetchval(counters) == before
    )  # nothing is taken for an address that is there
    listed = (await served.all.get(f"/v1/wallets/{wallet['id']}/addresses")).json["data"]
    assert {each["address"] for each in listed} >= {deposit["address"]}
    await served.house.database.pool.execute("update wallets set retired_at = now() where retired_at is null")
    await served.house.database.pool.execute("update wallets set retired_at = null where id = $1", wallet["id"])
    refused = await served.all.post("/v1/invoices", {"amount": "1.00", "currency": "EUR"})
    assert (refused.status, refused.code) == (503, "network_unavailable")
