"""The OpenAPI document says what the server does: checked against the contract's examples, and by schemathesis."""

import asyncio
from typing import Any

import hypothesis
import msgspec
import pytest
import schemathesis
from schemathesis.checks import CHECKS

import kassa.alerts.store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.api.document import document
from kassa.api.routes import ENDPOINTS
from tests.api.served import Served

DOCUMENT = msgspec.json.decode(document(ENDPOINTS, "http://kassa.test"))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = [result.ok() for result in SCHEMA.get_all_operations()]
# A schema cannot say everything (which assets a store accepts): sound data may still be refused by name.
# Who may call is checked in test_auth, for every operation; the check here would send our key all the same.
UNSAID = ("positive_data_acceptance", "ignored_auth")


async def test_the_served_document_is_the_one_that_is_tested(served: Served) -> None:
    answer = await served.all.get("/v1/openapi.json")

    assert answer.json == DOCUMENT | {"servers": [{"url": served.house.settings.http.public_url}]}


def test_the_document_names_keys_problems_and_examples() -> None:
    create = DOCUMENT["paths"]["/v1/invoices"]["post"]

    assert DOCUMENT["security"] == [{"key": []}]
    assert DOCUMENT["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert {"201", "400", "401", "403", "409", "413", "415", "422", "429", "503"} == set(create["responses"])
    assert create["requestBody"]["content"]["application/json"]["example"]["amount"] == "49.90"
    assert DOCUMENT["components"]["schemas"]["InvoiceOrder"]["additionalProperties"] is False


async def test_what_is_answered_has_exactly_the_documented_fields(served: Served) -> None:
    invoice = await served.all.invoice()
    hook = (await served.all.post("/v1/webhooks", {"url": "https://shop.example/hook"})).json
    samples: dict[str, Any] = {
        "Invoice": invoice,
        "PaymentOption": invoice["payment_options"][0],
        "NewWebhook": hook,
        "Delivery": (await served.all.post(f"/v1/webhooks/{hook['id']}/test")).json,
        "WalletInUse": (wallet := (await served.all.get("/v1/wallets")).json["data"][0]),
        "Address": (await served.all.get(f"/v1/wallets/{wallet['id']}/addresses")).json["data"][0],
        "Event": (await served.all.get("/v1/events")).json["data"][0],
        "Asset": (await served.all.get("/v1/assets")).json["data"][0],
        "Network": (await served.all.get("/v1/networks")).json["data"][0],
        "Rate": (await served.all.get("/v1/rates?base=BTC&quote=EUR")).json,
        "Alert": await alert(served),
        "Store": (store := (await served.all.get("/v1/store")).json),
        "Policy": store["policy"],
        "Customer": (customer := (await served.all.post("/v1/customers", {})).json),
        "DepositAddress": (
            await served.all.post(f"/v1/customers/{customer['id']}/addresses", {"asset": "BTC@bitcoin-regtest"})
        ).json,
        "Problem": (await served.all.post("/v1/invoices", {})).json,
    }

    for name, sample in samples.items():
        documented = set(DOCUMENT["components"]["schemas"][name]["properties"])
        assert set(sample) == documented, name


async def alert(served: Served) -> Any:
    found = Finding(Kind.CREDIT_LOST, "x", Severity.WARNING, "why", store_id=served.store.id)
    async with served.house.database.transaction() as tx:
        await alerts.open_alert(tx, found, served.house.clock.now())
    return (await served.all.get("/v1/alerts")).json["data"][0]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
async def test_hostile_calls_are_answered_as_documented(served: Served, operation: Any) -> None:
    checks = [check for check in CHECKS.get_all() if check.__name__ not in UNSAID]

    @hypothesis.settings(
        max_examples=15,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def call(case: Any) -> None:
        case.call_and_validate(
            base_url=served.all.base, headers={"authorization": f"Bearer {served.all.key}"}, checks=checks
        )

    await asyncio.to_thread(call)
