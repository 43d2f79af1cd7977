"""Events and webhooks over HTTP."""

import base64

import pytest

from tests.api.served import Served
from tests.house import add_store

HOOK = {"url": "https://shop.example/hook", "events": ["invoice.*"]}


async def test_the_answer_to_post_alone_carries_the_secret(served: Served) -> None:
    made = await served.all.post("/v1/webhooks", HOOK)
    read = await served.all.get(f"/v1/webhooks/{made.json['id']}")
    listed = await served.all.get("/v1/webhooks")

    assert made.status == 201
    assert len(base64.b64decode(made.json["secret"].removeprefix("whsec_"))) == 32
    assert read.json == {name: value for name, value in made.json.items() if name != "secret"}
    assert listed.json == {"data": [read.json], "next_cursor": None}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"url": "https://169.254.169.254/latest/meta-data/"}, "url"),
        ({"url": "https://user:pw@shop.example/"}, "url"),
        ({"url": 7}, "url"),
        ({"events": []}, "events"),
        ({"events": ["invoice.paid"]}, "events.0"),
        ({"events": "invoice.*"}, "events"),
        ({"secret": "whsec_short"}, "secret"),
        ({"disabled_at": None}, "disabled_at"),
    ],
    ids=str,
)
async def test_a_malformed_receiver_is_refused_by_name(served: Served, change: dict[str, object], field: str) -> None:
    made = await served.all.post("/v1/webhooks", HOOK)

    refused = await served.all.post("/v1/webhooks", HOOK | change)
    unchanged = await served.all.send("PATCH", f"/v1/webhooks/{made.json['id']}", change)

    assert (refused.status, refused.fields) == (422, [field])
    assert (unchanged.status, unchanged.fields) == (422, [field])
    assert len((await served.all.get("/v1/webhooks")).json["data"]) == 1


async def test_the_deliveries_of_an_invoice_are_listed_its_own_receiver_among_them(served: Served) -> None:
    await served.all.post("/v1/webhooks", HOOK)
    invoice = await served.all.invoice(webhook_url="https://shop.example/own")
    await served.all.invoice()
    path = f"/v1/deliveries?invoice_id={invoice['id']}"

    whole = (await served.all.get(path)).json
    first = (await served.all.get(f"{path}&limit=1")).json
    second = (await served.all.get(f"{path}&limit=1&cursor={first['next_cursor']}")).json

    assert {(each["url"], each["event_type"]) for each in whole["data"]} == {
        (HOOK["url"], "invoice.created"),
        ("https://shop.example/own", "invoice.created"),
    }
    assert first["data"] + second["data"] == whole["data"]
    async with served.house.database.transaction() as tx:
        other = await add_store(tx, served.house)
    stranger = await served.key(store=other)
    assert (await stranger.get(path)).json == {"data": [], "next_cursor": None}
    assert (await served.all.get("/v1/deliveries")).fields == ["invoice_id"]
    assert (await served.all.get("/v1/deliveries?invoice_id=7")).fields == ["invoice_id"]
    assert (await (await served.key("invoices:read")).get(path)).status == 403


async def test_deliveries_are_found_by_their_id_their_events_or_their_endpoints(served: Served) -> None:
    made = (await served.all.post("/v1/webhooks", HOOK)).json
    sent = [(await served.all.post(f"/v1/webhooks/{made['id']}/test")).json for _ in range(3)]
    newest = sorted((each["id"] for each in sent), reverse=True)  # made in one moment
    async with served.house.database.transaction() as tx:
        other = await add_store(tx, served.house)
    stranger = await served.key(store=other)

    for text, expected in (
        (sent[1]["id"], [sent[1]["id"]]), (sent[1]["event_id"], [sent[1]["id"]]), (made["id"], newest), ("nothing", []),
    ):  # fmt: skip
        found = (await served.all.get(f"/v1/deliveries?search={text}")).json["data"]
        assert [each["id"] for each in found] == expected
        assert (await stranger.get(f"/v1/deliveries?search={text}")).json["data"] == []
    first = (await served.all.get(f"/v1/deliveries?search={made['id']}&limit=2")).json
    second = (await served.all.get(f"/v1/deliveries?search={made['id']}&cursor={first['next_cursor']}")).json
    assert [each["id"] for each in first["data"] + second["data"]] == newest
    assert (await served.all.get("/v1/deliveries?state=failed&search=x")).fields == ["invoice_id"]


async def test_what_was_given_up_is_listed_until_it_is_sent_again(served: Served) -> None:
    made = (await served.all.post("/v1/webhooks", HOOK)).json
    for _ in range(3):
        await served.all.post(f"/v1/webhooks/{made['id']}/test")
    path = f"/v1/webhooks/{made['id']}/deliveries"
    newest, middle, _ = (await served.all.get(path)).json["data"]
    give_up = "update deliveries set state = 'failed', due_at = null where id = any($1)"
    await served.house.database.pool.execute(give_up, [newest["id"], middle["id"]])

    first = (await served.all.get("/v1/deliveries?state=failed&limit=1")).json
    second = (await served.all.get(f"/v1/deliveries?state=failed&cursor={first['next_cursor']}")).json
    await served.all.post(f"/v1/deliveries/{newest['id']}/retry")
    left = (await served.all.get("/v1/deliveries?state=failed")).json["data"]

    assert [each["id"] for each in first["data"] + second["data"]] == [newest["id"], middle["id"]]
    assert [(each["id"], each["state"]) for each in left] == [(middle["id"], "failed")]
    async with served.house.database.transaction() as tx:
        other = await add_store(tx, served.house)
    assert (await (await served.key(store=other)).get("/v1/deliveries?state=failed")).json["data"] == []
    assert (await served.all.get("/v1/deliveries?state=due")).status == 422


async def test_a_receiver_is_changed_field_by_field(served: Served) -> None:
    made = (await served.all.post("/v1/webhooks", HOOK)).json
    path = f"/v1/webhooks/{made['id']}"

    renamed = (await served.all.send("PATCH", path, {"url": "https://shop.example/other"})).json
    disabled = (await served.all.send("PATCH", path, {"disabled": True})).json
    enabled = (await served.all.send("PATCH", path, {"disabled": False, "events": ["*"]})).json
    rotated = (await served.all.send("PATCH", path, {"secret": "whsec_" + base64.b64encode(b"x" * 32).decode()})).json

    assert (renamed["url"], renamed["events"]) == ("https://shop.example/other", HOOK["events"])
    assert disabled["disabled_at"] is not None
    assert (enabled["disabled_at"], enabled["events"], enabled["url"]) == (None, ["*"], renamed["url"])
    assert rotated["previous_secret_until"] is not None
    assert "secret" not in rotated


async def test_a_deleted_receiver_is_gone(served: Served) -> None:
    made = (await served.all.post("/v1/webhooks", HOOK)).json

    deleted = await served.all.send("DELETE", f"/v1/webhooks/{made['id']}")

    assert (deleted.status, deleted.body) == (204, b"")
    assert (await served.all.get(f"/v1/webhooks/{made['id']}")).status == 404
    assert (await served.all.send("DELETE", f"/v1/webhooks/{made['id']}")).status == 404


async def test_a_test_event_is_queued_and_can_be_sent_again(served: Served) -> None:
    made = (await served.all.post("/v1/webhooks", HOOK)).json

    sent = await served.all.post(f"/v1/webhooks/{made['id']}/test")
    again = await served.all.post(f"/v1/deliveries/{sent.json['id']}/retry")
    log = await served.all.get(f"/v1/webhooks/{made['id']}/deliveries")

    assert (sent.status, sent.json["event_type"], sent.json["state"]) == (201, "webhook.test", "due")
    assert again.status == 200
    assert [delivery["id"] for delivery in log.json["data"]] == [sent.json["id"]]


@pytest.mark.parametrize("path", ["/v1/webhooks/{}/test", "/v1/webhooks/{}"])
async def test_a_call_that_takes_no_body_refuses_its_fields(served: Served, path: str) -> None:
    made = (await served.all.post("/v1/webhooks", HOOK)).json
    method = "POST" if path.endswith("test") else "DELETE"

    refused = await served.all.send(method, path.format(made["id"]), {"force": True})
    done = await served.all.send(method, path.format(made["id"]), {})

    assert (refused.status, refused.fields) == (422, ["force"])
    assert done.status in (201, 204)


async def test_events_are_read_in_order_without_gaps_from_any_place(served: Served) -> None:
    made = [(await served.all.invoice())["id"] for _ in range(5)]

    seen, after = [], ""
    while True:
        answer = (await served.all.get(f"/v1/events?limit=2{after}")).json
        seen += answer["data"]
        if answer["next_cursor"] is None:
            break
        after = f"&after={answer['next_cursor']}"
    rest = (await served.all.get(f"/v1/events?after={seen[2]['id']}")).json["data"]

    assert [event["sequence"] for event in seen] == [1, 2, 3, 4, 5]
    assert sorted(event["data"]["object"]["id"] for event in seen) == sorted(made)
    assert {(event["type"], event["livemode"]) for event in seen} == {("invoice.created", False)}
    assert rest == seen[3:]
    assert (await served.all.get("/v1/events?type=invoice.settled")).json["data"] == []
    assert (await served.all.get("/v1/events?type=invoice.*")).json["data"] == seen


async def test_an_event_shows_the_invoice_as_it_was_answered(served: Served) -> None:
    invoice = await served.all.invoice(metadata={"z": 1, "a": [2, "x"]})

    event = (await served.all.get("/v1/events")).json["data"][0]

    assert event["data"]["object"] == invoice


@pytest.mark.parametrize(
    ("query", "field"),
    [("type=invoice.paid", "type"), ("after=x", "after"), (f"after=evt_{'0' * 29}", "after"), ("cursor=x", "cursor"),
     (f"after=evt_{'0' * 29}&cursor=evt_{'0' * 29}", "cursor")],
)  # fmt: skip
async def test_a_malformed_place_is_refused_by_name(served: Served, query: str, field: str) -> None:
    answer = await served.all.get(f"/v1/events?{query}")

    assert (answer.status, answer.fields) == (422, [field])
