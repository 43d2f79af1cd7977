"""The store of a key: its policy, copied into the terms of each invoice."""

import asyncio
from base64 import b64encode
from decimal import ROUND_UP, Decimal

from kassa import flow
from kassa.checkout.words import shop
from tests.api.served import Served
from tests.images import png

DEFAULT = {
    "tolerance_percent": "0",
    "tolerance_amount": "0.00",
    "short": "flag",
    "short_limit_percent": "0",
    "over": "flag",
    "late_grace_seconds": 0,
    "late_rate_percent": "1",
}


async def test_a_store_shows_its_policy_and_changes_what_is_named(served: Served) -> None:
    before = (await served.all.get("/v1/store")).json
    assert (before["id"], before["version"], before["policy"]) == (served.store.id, 1, DEFAULT)
    change = {"version": 1, "name": "New", "policy": {"tolerance_percent": "0.5", "late_grace_seconds": 600}}
    after = (await served.all.send("PATCH", "/v1/store", change)).json
    assert after["policy"] == DEFAULT | {"tolerance_percent": "0.5", "late_grace_seconds": 600}
    assert (after["name"], after["version"]) == ("New", 2)
    assert (await served.all.get("/v1/store")).json == after


async def test_d22_of_two_who_change_a_store_at_once_one_is_told(served: Served) -> None:
    def change(percent: int):  # type: ignore[no-untyped-def]
        body = {"version": 1, "policy": {"tolerance_percent": str(percent)}}
        return served.all.send("PATCH", "/v1/store", body)

    answers = await asyncio.gather(*(change(n) for n in range(1, 9)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert {answer.code for answer in answers if answer.status == 409} == {"changed_meanwhile"}
    (won,) = (answer.json for answer in answers if answer.status == 200)
    assert (await served.all.get("/v1/store")).json == won


async def test_what_no_policy_can_be_changes_nothing(served: Served) -> None:
    bad = {"version": 1, "policy": {"tolerance_percent": "51", "tolerance_amount": "0.001"}}
    answer = await served.all.send("PATCH", "/v1/store", bad)
    assert (answer.status, answer.fields) == (422, ["policy.tolerance_percent", "policy.tolerance_amount"])
    assert (await served.all.get("/v1/store")).json["policy"] == DEFAULT


async def test_an_invoice_keeps_the_policy_that_it_was_made_with(served: Served) -> None:
    await served.all.send("PATCH", "/v1/store", {"version": 1, "policy": {"tolerance_percent": "2"}})
    own = await served.all.invoice(policy={"tolerance_amount": "0.10", "short": "accept", "short_limit_percent": "5"})
    expected = DEFAULT | {
        "tolerance_percent": "2", "tolerance_amount": "0.10", "short": "accept", "short_limit_percent": "5",
    }  # fmt: skip
    assert own["policy"] == expected
    await served.all.send("PATCH", "/v1/store", {"version": 2, "policy": {"tolerance_percent": "3"}})
    assert (await served.all.get(f"/v1/invoices/{own['id']}")).json["policy"] == expected
    assert (await served.all.invoice())["policy"]["tolerance_percent"] == "3"


async def test_credit_without_a_customer_is_refused_or_a_flag(served: Served) -> None:
    refused = await served.all.post("/v1/invoices", {"amount": "1", "currency": "EUR", "policy": {"over": "credit"}})
    assert (refused.status, refused.fields) == (422, ["policy.over"])
    await served.all.send("PATCH", "/v1/store", {"version": 1, "policy": {"over": "credit", "short": "credit"}})
    policy = (await served.all.invoice())["policy"]
    assert (policy["over"], policy["short"]) == ("flag", "flag")


async def test_a_store_gets_its_looks_and_loses_them_again(served: Served) -> None:
    image = png(40, 30)
    look = {"colour": "#FF6600", "logo": b64encode(image).decode(), "frame_ancestors": ["https://shop.example"]}
    changed = (await served.all.send("PATCH", "/v1/store", {"version": 1, **look})).json
    assert (changed["colour"], changed["frame_ancestors"]) == ("#ff6600", ["https://shop.example"])
    logo = await served.caller(None).get(changed["logo"])
    assert (logo.status, logo.body, logo.headers["content-type"]) == (200, image, "image/png")
    assert logo.headers["content-security-policy"].endswith("sandbox")

    none = {"version": 2, "colour": None, "logo": None, "frame_ancestors": []}
    plain = (await served.all.send("PATCH", "/v1/store", none)).json
    assert (plain["colour"], plain["logo"], plain["frame_ancestors"]) == (None, None, [])
    assert (await served.caller(None).get(changed["logo"])).status == 404


async def test_what_nobody_may_look_like_changes_nothing(served: Served) -> None:
    bad: list[tuple[str, object]] = [
        ("logo", b64encode(b"<svg onload='alert(1)'/>").decode()), ("logo", "%%%"), ("colour", "url(//x)"),
        ("frame_ancestors", ["https://*.example"]), ("frame_ancestors", [f"https://s{n}.example" for n in range(21)]),
    ]  # fmt: skip
    for field, value in bad:
        answer = await served.all.send("PATCH", "/v1/store", {"version": 1, field: value})
        assert (answer.status, answer.fields) == (422, [field])
    # Somebody was faster: the looks go back with the rest.
    late = await served.all.send("PATCH", "/v1/store", {"version": 9, "colour": "#123456"})
    assert late.code == "changed_meanwhile"
    store = (await served.all.get("/v1/store")).json
    assert (store["version"], store["colour"], store["logo"], store["frame_ancestors"]) == (1, None, None, [])


async def test_the_spread_is_changed_with_the_store_and_charged_from_then_on(served: Served) -> None:
    before = (await served.all.get("/v1/store")).json
    due = (await served.all.invoice())["payment_options"][0]["amount"]
    after = (await served.all.send("PATCH", "/v1/store", {"version": 1, "spread_percent": "0.5"})).json
    assert (before["spread_percent"], after) == ("0", before | {"version": 2, "spread_percent": "0.5"})
    charged = (await served.all.invoice())["payment_options"][0]["amount"]
    assert Decimal(charged) == (Decimal(due) * 1000 / 995).quantize(Decimal("1e-8"), ROUND_UP)
    for wrong in ("50.0001", "-1", "1%"):
        answer = await served.all.send("PATCH", "/v1/store", {"version": 2, "spread_percent": wrong})
        assert (answer.status, answer.fields) == (422, ["spread_percent"])


async def test_e21_payers_are_led_back_to_listed_sites_alone(served: Served) -> None:
    kept = await served.all.invoice(redirect_url="https://gone.example/done")
    link = (await served.all.post("/v1/payment-links", {"title": "Tea", "amount": "1", "currency": "EUR"})).json
    listed = {"version": 1, "redirect_origins": ["https://Shop.example:443"]}
    assert (await served.all.send("PATCH", "/v1/store", listed)).json["redirect_origins"] == ["https://shop.example"]

    order = {"amount": "1.00", "currency": "EUR"}
    for url in (
        "https://evil.example/", "http://shop.example/", "https://shop.example:444/", "https://shop.example@evil.example/",
        "https://evil.example\\@shop.example/", "/\\evil.example", "https://ѕhop.example/", "https://shop.example.evil.example",
    ):  # fmt: skip
        for method, path, body in (
            ("POST", "/v1/invoices", order), ("POST", "/v1/payment-links", order | {"title": "Tea"}),
            ("PATCH", f"/v1/payment-links/{link['id']}", {}),
        ):  # fmt: skip
            answer = await served.all.send(method, path, body | {"redirect_url": url})
            assert (answer.status, answer.fields) == (422, ["redirect_url"]), (path, url)
    sound = await served.all.post("/v1/invoices", order | {"redirect_url": "https://shop.example/done"})
    assert sound.status == 201

    # What was taken before is not shown any more; the way back to a payment link is our own.
    other = "https://gone.example/done"
    async with served.house.database.pool.acquire() as connection:
        found = await flow.payer_views(connection, served.house, [kept["id"]], served.house.clock.now())
        view = found[kept["id"]]
    assert view.public["redirect_url"] == other
    assert shop(other, view.store.branding, view.public["checkout_url"]) is None
    assert shop(served.house.link_url(link["id"]), view.store.branding, view.public["checkout_url"]) is not None
