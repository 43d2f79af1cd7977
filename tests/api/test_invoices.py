"""Invoices over HTTP."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from kassa import flow
from kassa.audit.model import Actor
from kassa.core.clock import rfc3339
from kassa.invoices.model import Decision
from kassa.wallets.mark import FILE
from tests.api.served import ORDER, Served, until
from tests.house import BITCOIN
from tests.locks import WAITING

MISSING = "inv_" + "0" * 29


async def test_a_created_invoice_is_read_back_the_same(served: Served) -> None:
    made = await served.all.post(
        "/v1/invoices",
        ORDER
        | {
            "description": "2 \u00d7 coffee",
            "metadata": {"a": [1, 2.5, None]},
            "redirect_url": "https://shop.example/",
        },
    )
    read = await served.all.get(f"/v1/invoices/{made.json['id']}")

    assert made.status == 201
    assert read.status == 200
    assert read.json == made.json
    assert made.json["amount"] == "49.90"
    assert made.json["status"] == "new"
    assert made.json["livemode"] is False
    assert made.json["metadata"] == {"a": [1, 2.5, None]}
    assert made.json["checkout_url"].endswith("/i/" + made.json["id"])
    option = made.json["payment_options"][0]
    assert option["asset"] == f"BTC@{BITCOIN}"
    assert option["amount"] == "0.00099800"
    assert option["address"].startswith("bcrt1q")
    assert option["uri"].startswith(f"bitcoin:{option['address']}?amount=0.000998")


async def test_no_address_is_issued_while_the_marks_cannot_be_read(served: Served, tmp_path: Path) -> None:
    shown = {(await served.all.invoice())["payment_options"][0]["address"]}
    marks = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text("{")
    async with asyncio.timeout(60):
        while (answer := await served.all.post("/v1/invoices", ORDER)).status == 201:
            shown.add(answer.json["payment_options"][0]["address"])
    assert (answer.status, answer.code) == (503, "unavailable")
    assert answer.json["detail"] == "no address can be issued now; send the same request again"

    (tmp_path / FILE).write_text(marks)
    assert (await served.all.invoice())["payment_options"][0]["address"] not in shown


async def test_an_invoice_is_shown_as_of_one_moment(served: Served) -> None:
    made, house = await served.all.invoice(), served.house

    async def waits() -> bool:
        return bool(await house.database.pool.fetchval(WAITING))

    async with house.database.transaction() as tx:
        # It has read of the invoice when it was announced, and comes to what was decided once that is committed.
        await tx.execute("lock table invoice_decisions in access exclusive mode")
        asked = asyncio.create_task(served.all.get(f"/v1/invoices/{made['id']}"))
        await until(waits)
        await flow.mark_invoice(
            tx, house, served.store, made["id"], Decision.SETTLED, Actor("key_test"), house.clock.now()
        )
    assert (await asked).json == made
    marked = (await served.all.get(f"/v1/invoices/{made['id']}")).json
    assert (marked["status"], marked["settled_at"] is None) == ("settled", False)


# C12, C10, C3: what no amount is. Each is refused by name, and nothing is written.
HOSTILE = [
    "-1", "+1", "0", "-0", "0.00", "1e400", "1e-30", "\uff11\uff12", "1_000", "1,5", " 1", "1 ", "0x10", "NaN",
    "Infinity", "", ".", "1.", ".5", "01", "1.234", "\u0663", "1\n", "1\x00", "9" * 61, "9" * 5000,
    1, 1.5, None, True, ["1"], {"a": "1"},
]  # fmt: skip


@pytest.mark.parametrize("amount", HOSTILE, ids=lambda amount: repr(amount)[:20])
async def test_c12_a_hostile_amount_is_refused_by_name(served: Served, amount: object) -> None:
    answer = await served.all.post("/v1/invoices", {"amount": amount, "currency": "EUR"})

    assert (answer.status, answer.code, answer.fields) == (422, "validation_failed", ["amount"])
    assert await served.house.database.pool.fetchval("select count(*) from invoices") == 0


@pytest.mark.parametrize(
    "field",
    ["store_id", "owner", "status", "paid_amount", "amount_paid", "rate", "address", "is_admin", "created_at", "id"],
)
async def test_e12_unknown_fields_are_refused_by_name(served: Served, field: str) -> None:
    for path, body in (
        ("/v1/invoices", ORDER),
        ("/v1/wallets", {"network": BITCOIN, "descriptor": "x"}),
        (f"/v1/invoices/{MISSING}/mark", {"as": "settled"}),
    ):
        answer = await served.all.post(path, body | {field: "1"})
        assert (answer.status, answer.fields) == (422, [field]), path


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"currency": "XXX"}, "currency"),
        ({"currency": "eur"}, "currency"),
        ({"payment_options": []}, "payment_options"),
        ({"payment_options": ["BTC@mars"]}, "payment_options.0"),
        ({"payment_options": [f"BTC@{BITCOIN}", f"BTC@{BITCOIN}"]}, "payment_options.1"),
        ({"payment_options": ["a"] * 21}, "payment_options"),
        ({"payment_options": [f"BTC@{BITCOIN}", 1]}, "payment_options.1"),
        ({"reference": "x" * 201}, "reference"),
        ({"reference": "a\x00b"}, "reference"),
        ({"reference": "a\r\nb\x1b[31m"}, "reference"),
        ({"description": "x" * 1001}, "description"),
        ({"description": "a\nb"}, "description"),
        ({"metadata": []}, "metadata"),
        ({"metadata": "{}"}, "metadata"),
        ({"metadata": {"a": "x" * 8200}}, "metadata"),
        ({"metadata": {"a": 2**64}}, "metadata"),
        ({"customer_id": "cus_1"}, "customer_id"),
        ({"expires_in": 59}, "expires_in"),
        ({"expires_in": 604_801}, "expires_in"),
        ({"expires_in": "900"}, "expires_in"),
        ({"expires_in": 900.5}, "expires_in"),
        ({"expires_in": True}, "expires_in"),
        ({"redirect_url": "javascript:alert(1)"}, "redirect_url"),
        ({"redirect_url": "//evil.example"}, "redirect_url"),
        ({"redirect_url": "https://user:pw@shop.example"}, "redirect_url"),
        ({"redirect_url": "https://shop.example/\r\nx: y"}, "redirect_url"),
        ({"redirect_url": "https://"}, "redirect_url"),
        ({"redirect_url": "https://x:99999/"}, "redirect_url"),
        ({"redirect_url": "https://shop.example/" + "x" * 2048}, "redirect_url"),
        ({"webhook_url": "ftp://shop.example"}, "webhook_url"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_malformed_field_is_refused_by_name(served: Served, change: dict[str, object], field: str) -> None:
    answer = await served.all.post("/v1/invoices", ORDER | change)

    assert (answer.status, answer.code, answer.fields) == (422, "validation_failed", [field])


async def test_every_wrong_field_is_named_at_once(served: Served) -> None:
    answer = await served.all.post("/v1/invoices", ORDER | {"reference": "\x07", "redirect_url": "x", "metadata": [1]})

    assert answer.fields == ["reference", "redirect_url", "metadata"]


async def test_a_list_goes_back_in_time_without_repeats(served: Served) -> None:
    made = []
    for _ in range(7):
        made.append((await served.all.invoice())["id"])
        served.house.clock.move(1)  # type: ignore[attr-defined]

    seen, cursor = [], ""
    while True:
        answer = await served.all.get(f"/v1/invoices?limit=3{cursor}")
        seen += [invoice["id"] for invoice in answer.json["data"]]
        if answer.json["next_cursor"] is None:
            break
        cursor = f"&cursor={answer.json['next_cursor']}"

    assert seen == made[::-1]


async def test_filters_choose(served: Served) -> None:
    first = await served.all.invoice(reference="a")
    middle = served.house.clock.move(10)  # type: ignore[attr-defined]
    served.house.clock.move(10)  # type: ignore[attr-defined]
    second = await served.all.invoice(reference="b & c")

    async def ids(query: str) -> list[str]:
        answer = await served.all.get(f"/v1/invoices?{query}")
        assert answer.status == 200, answer.body
        return [invoice["id"] for invoice in answer.json["data"]]

    assert await ids("reference=b+%26+c") == [second["id"]]
    assert await ids("status=new") == [second["id"], first["id"]]
    assert await ids("status=settled") == []
    assert await ids(f"created_before={rfc3339(middle)}") == [first["id"]]
    assert await ids(f"created_after={rfc3339(middle)}") == [second["id"]]
    assert await ids(f"created_after={rfc3339(middle - timedelta(hours=1))}&reference=a") == [first["id"]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=1e1", "limit"),
        ("limit=-1", "limit"),
        ("limit=\uff11", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limit=" + "9" * 4000, "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=pay_" + "0" * 29, "cursor"),
        ("cursor=%00", "cursor"),
        ("status=paid", "status"),
        ("reference=%00", "reference"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2026-01-01T00:00:00", "created_after"),
        ("created_after=0001-01-01T00:00:00%2B23:59", "created_after"),
        ("created_after=0", "created_after"),
        ("store_id=sto_1", "store_id"),
        ("a=" + "x" * 4096, "query"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_malformed_parameter_is_refused_by_name(served: Served, query: str, field: str) -> None:
    answer = await served.all.get(f"/v1/invoices?{query}")

    assert (answer.status, answer.fields) == (422, [field])


async def test_marking_is_a_decision_and_the_last_one_counts(served: Served) -> None:
    invoice = await served.all.invoice()
    path = f"/v1/invoices/{invoice['id']}"

    settled = await served.all.post(f"{path}/mark", {"as": "settled"})
    invalid = await served.all.post(f"{path}/mark", {"as": "invalid"})

    assert (settled.status, settled.json["status"], settled.json["flags"]) == (200, "settled", ["marked"])
    assert invalid.json["status"] == "invalid"
    assert (await served.all.get(path)).json == invalid.json
    assert (await served.all.post(f"{path}/mark", {"as": "new"})).fields == ["as"]


async def test_d22_marks_and_reads_in_parallel_lose_nothing(served: Served) -> None:
    invoice = await served.all.invoice()
    path = f"/v1/invoices/{invoice['id']}/mark"

    answers = await asyncio.gather(
        *(served.all.post(path, {"as": "settled" if n % 2 else "invalid"}) for n in range(20))
    )

    assert {answer.status for answer in answers} == {200}
    decisions = await served.house.database.pool.fetch("select decision, decided_by from invoice_decisions order by id")
    assert len(decisions) == 20
    last = (await served.all.get(f"/v1/invoices/{invoice['id']}")).json["status"]
    assert last == decisions[-1]["decision"]
    assert {row["decided_by"][:4] for row in decisions} == {"key_"}


async def test_a_network_that_is_not_followed_is_not_offered(served: Served) -> None:
    await served.house.database.pool.execute("update networks set state = 'halted'")

    answer = await served.all.post("/v1/invoices", ORDER)

    assert (answer.status, answer.code) == (503, "network_unavailable")
    assert "retry-after" in answer.headers


async def test_d23_invoices_of_one_moment_get_addresses_of_their_own(served: Served) -> None:
    made = await asyncio.gather(*(served.all.invoice(reference=f"order-{n}") for n in range(60)))

    pool = served.house.database.pool
    addresses = [invoice["payment_options"][0]["address"] for invoice in made]
    stored = await pool.fetch(
        "select i.id, i.reference, a.address from invoices i join payment_options o on o.invoice_id = i.id"
        " join addresses a on a.id = o.address_id and a.invoice_id = i.id"
    )
    assert len(set(addresses)) == 60
    assert {tuple(row) for row in stored} == {
        (invoice["id"], invoice["reference"], address) for invoice, address in zip(made, addresses, strict=True)
    }
    assert await pool.fetchval("select array_agg(index order by index) from addresses") == list(range(60))
    assert await pool.fetchval("select count(*) from events") == 60


async def test_an_invoice_that_cannot_be_written_spoils_no_other_of_its_moment(served: Served) -> None:
    pool = served.house.database.pool
    await pool.execute("alter table invoices add constraint unlucky check (reference <> 'order-13')")

    answers = await asyncio.gather(
        *(served.all.post("/v1/invoices", ORDER | {"reference": f"order-{n}"}) for n in range(30))
    )

    assert [answer.status for answer in answers] == [500 if n == 13 else 201 for n in range(30)]
    assert await pool.fetchval("select count(*) from invoices") == 29
    assert await pool.fetchval("select count(*) from addresses") == 29
    assert await pool.fetchval("select count(*) from events") == 29
