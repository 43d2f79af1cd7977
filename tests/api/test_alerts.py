"""Alerts over HTTP: who sees which, what may be decided, and that every decision is kept."""

import asyncio
from typing import Any

import pytest

import kassa.alerts.store as alerts
from kassa import flow
from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.audit.model import Actor
from tests.api.served import Caller, Served
from tests.house import BITCOIN, add_store


async def opened(served: Served, kind: Kind = Kind.CREDIT_LOST, subject: str = "x", **more: Any) -> str:
    found = Finding(kind, subject, Severity.WARNING, "why", **more)
    served.house.clock.move(1)  # type: ignore[attr-defined]  # ids of one millisecond are in no order
    async with served.house.database.transaction() as tx:
        alert = await alerts.open_alert(tx, found, served.house.clock.now())
    assert alert is not None
    return alert.id


async def stranger(served: Served, *, with_wallet: bool) -> Caller:
    async with served.house.database.transaction() as tx:
        other = await add_store(tx, served.house)
        if not with_wallet:
            await tx.execute("delete from wallets where store_id = $1", other.id)
    return await served.key(store=other)


async def ids(caller: Caller, query: str = "") -> list[str]:
    return [each["id"] for each in (await caller.get(f"/v1/alerts{query}")).json["data"]]


async def said(caller: Caller) -> list[tuple[str, str]]:
    events = (await caller.get("/v1/events?type=alert.*")).json["data"]
    return [(event["type"], event["data"]["object"]["id"]) for event in events]


async def test_a_store_sees_its_own_alerts_and_those_of_its_networks(served: Served) -> None:
    mine = await opened(served, store_id=served.store.id)
    shared = await opened(served, Kind.NETWORK_HALTED, BITCOIN, network=BITCOIN, detail="http://node.internal")
    elsewhere = await opened(served, Kind.NETWORK_HALTED, "litecoin", network="litecoin")
    operators = await opened(served, Kind.BOOKS_DIFFER)
    neighbour, outsider = await stranger(served, with_wallet=True), await stranger(served, with_wallet=False)

    assert await ids(served.all) == [shared, mine]
    assert await ids(neighbour) == [shared]
    assert await ids(outsider) == []
    assert (await served.all.get(f"/v1/alerts/{shared}")).json["reason"] == "why"
    assert b"node.internal" not in (await served.all.get("/v1/alerts")).body
    for hidden in (elsewhere, operators):
        assert (await served.all.get(f"/v1/alerts/{hidden}")).status == 404
        assert (await served.all.post(f"/v1/alerts/{hidden}/close", {"note": "x"})).status == 404
    assert (await neighbour.get(f"/v1/alerts/{mine}")).status == 404
    assert await said(served.all) == [("alert.opened", mine), ("alert.opened", shared)]
    assert await said(neighbour) == []  # it came later: what was told before is not its history


async def test_of_one_cause_one_alert_is_open_whoever_finds_it_at_the_same_time(served: Served) -> None:
    found = Finding(Kind.CREDIT_LOST, "x", Severity.WARNING, "why", store_id=served.store.id)

    async def find() -> bool:
        async with served.house.database.transaction() as tx:
            return await alerts.open_alert(tx, found, served.house.clock.now()) is not None

    assert sum(await asyncio.gather(*(find() for _ in range(8)))) == 1
    [alert] = await ids(served.all, "?status=open")
    async with served.house.database.transaction() as tx:
        await alerts.close_alert(tx, Kind.CREDIT_LOST, "x", "paid back", served.house.clock.now())
    assert await ids(served.all, "?status=open") == []
    assert await find()
    assert await said(served.all) == [("alert.opened", alert), ("alert.closed", alert), ("alert.opened", (await ids(
        served.all, "?status=open"))[0])]  # fmt: skip


async def test_a_decision_is_kept_with_who_and_why(served: Served) -> None:
    alert = await opened(served, store_id=served.store.id)

    noted = await served.all.post(f"/v1/alerts/{alert}/acknowledge", {"note": "I look"})
    served.house.clock.move(5)  # type: ignore[attr-defined]
    closed = await served.all.post(f"/v1/alerts/{alert}/close", {"note": "mended"})
    again = await served.all.post(f"/v1/alerts/{alert}/close", {"note": "mended"})

    assert (noted.json["status"], noted.json["acknowledged_at"] is not None) == ("open", True)
    assert (closed.json["status"], closed.json["ended"]) == ("closed", "mended")
    assert [(each["decision"], each["note"]) for each in closed.json["decisions"]] == [
        ("acknowledged", "I look"),
        ("closed", "mended"),
    ]
    assert closed.json["closed_by"].startswith("key_")
    assert (again.status, again.code) == (409, "alert_closed")
    assert await said(served.all) == [("alert.opened", alert), ("alert.closed", alert)]


@pytest.mark.parametrize(
    ("finding", "body", "code"),
    [
        ({"network": BITCOIN}, {"note": "x"}, "operator_only"),
        ({"actions": (Action(Deed.FROZEN, "GEM@anvil"),)}, {"note": "x"}, "action_in_force"),
        ({}, {"note": "x", "undo": True}, "nothing_to_undo"),
        ({"actions": (Action(Deed.WITHHELD, "GEM@anvil"),)}, {"note": "x", "undo": True}, "nothing_to_undo"),
        ({"actions": (Action(Deed.HALTED, BITCOIN),)}, {"note": "x", "undo": True}, "depth_needed"),
    ],
)
async def test_what_cannot_be_decided_is_refused_and_changes_nothing(
    served: Served, finding: dict[str, Any], body: dict[str, Any], code: str
) -> None:
    alert = await opened(served, **({} if "network" in finding else {"store_id": served.store.id}), **finding)

    refused = await served.all.post(f"/v1/alerts/{alert}/close", body)

    assert (refused.status, refused.code) == (409, code)
    shown = (await served.all.get(f"/v1/alerts/{alert}")).json
    assert (shown["status"], shown["decisions"]) == ("open", [])


async def test_a_note_is_demanded_and_read_as_text(served: Served) -> None:
    alert = await opened(served, store_id=served.store.id)
    for note in ({}, {"note": ""}, {"note": "a\nb"}, {"note": "x" * 1001}, {"note": "x", "by": "me"}):
        assert (await served.all.post(f"/v1/alerts/{alert}/close", note)).status == 422
    assert await ids(served.all, "?status=open&severity=warning&kind=credit_lost") == [alert]
    assert await ids(served.all, "?severity=critical") == []
    assert await ids(served.all, f"?cursor={alert}") == []


async def test_an_operators_own_command_closes_the_alert_about_what_it_undid(served: Served) -> None:
    house, now = served.house, served.house.clock.now()
    await house.database.pool.execute("update networks set state = 'halted'")
    alert = await opened(served, Kind.NETWORK_HALTED, BITCOIN, network=BITCOIN, actions=(Action(Deed.HALTED, BITCOIN),))

    async with house.database.transaction() as tx:
        await flow.resume_network(tx, BITCOIN, 3, Actor("operator"), now)

    shown = (await served.all.get(f"/v1/alerts/{alert}")).json
    assert (shown["status"], shown["closed_by"], shown["undone_at"] is not None) == ("closed", "operator", True)
    assert [each["decision"] for each in shown["decisions"]] == ["undone"]


async def test_an_alert_of_a_newer_version_is_shown_and_decided_by_that_one(served: Served) -> None:
    theirs = await opened(served, store_id=served.store.id, actions=(Action(Deed.HELD, BITCOIN),))
    await served.house.database.pool.execute(
        "update alerts set kind = 'moon_fell', actions = $2 where id = $1", theirs, '[["turned_around", "bitcoin", 0]]'
    )
    shown = (await served.all.get(f"/v1/alerts/{theirs}")).json
    assert (shown["kind"], shown["actions"][0]["action"]) == ("moon_fell", "turned_around")
    assert await ids(served.all) == [theirs]
    for undo in (False, True):
        answer = await served.all.post(f"/v1/alerts/{theirs}/close", {"note": "x", "undo": undo})
        assert (answer.status, answer.code) == (409, "newer_version")
    assert (await served.all.post(f"/v1/alerts/{theirs}/acknowledge", {"note": "x"})).status == 200
