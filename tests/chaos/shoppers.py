"""Who buys during a chaos run: clients that repeat what was not answered, and payers who pay in every wrong way too."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

import aiohttp

from kassa.core.errors import KassaError
from tests.chaos.stage import Stage

Json = dict[str, Any]
UNPAID = ("insufficient_credit", "invoice_not_payable")
"""Why a spend of credit may be refused: there is none (any more), or nothing is due (any more)."""
WAYS = ("exact", "exact", "exact", "halves", "short", "over", "replaced", "none")


@dataclass
class Shoppers:
    """Clients of one store. `made` keeps, by idempotency key, the answer that each order finally got."""

    stage: Stage
    key: str
    random: Random
    made: dict[str, Json] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    repeats: int = 0
    payments: int = 0
    customers: list[str] = field(default_factory=list)
    _count: int = 0

    async def shop(self, until: asyncio.Event) -> None:
        """Order and pay, one thing after another, until told to stop; what was begun is brought to its end."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=8)) as session:
            while not until.is_set():
                way = self.random.choice(WAYS)
                customer = self.random.choice(self.customers) if self.customers and self.random.random() < 0.4 else None
                invoice = await self._order(session, customer)
                if invoice is not None and way != "none":
                    await self._pay(invoice, way)
                if invoice is not None and customer is not None:
                    await self._spend(session, invoice)
                with suppress(TimeoutError):
                    await asyncio.wait_for(until.wait(), self.random.uniform(0, 0.6))

    async def register(self, count: int) -> None:
        """Make customers, with a deposit on the address of each."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=8)) as session:
            for _ in range(count):
                customer = await self._post(session, "/v1/customers", {})
                assert customer is not None, self.refused
                self.customers.append(customer["id"])
                path = f"/v1/customers/{customer['id']}/addresses"
                address = await self._post(session, path, {"asset": "USDC@anvil"})
                assert address is not None, self.refused
                await self._send("anvil", address["address"], 200 * 10**6, "USDC")

    async def _order(self, session: aiohttp.ClientSession, customer: str | None) -> Json | None:
        amount = f"{self.random.choice((10, 25, 50, 100))}.00"
        body: Json = {"amount": amount, "currency": "EUR", "expires_in": self.random.choice((60, 900))}
        if customer is not None:
            body |= {"customer_id": customer, "policy": {"over": "credit"}}
        return await self._post(session, "/v1/invoices", body)

    async def _post(self, session: aiohttp.ClientSession, path: str, body: Json) -> Json | None:
        """Post until the answer is definite, by either API, always under the same key; now and then once more."""
        self._count += 1
        key = f"chaos-{self._count}"
        answer = await self._insist(session, path, body, key)
        if answer is None:
            return None
        if self.random.random() < 0.3:
            self.repeats += 1
            again = await self._insist(session, path, body, key)
            if again != answer:
                self.differing.append(f"{key}: {answer} and then {again}")
        if path == "/v1/invoices":
            self.made[key] = answer
        return answer

    async def _insist(self, session: aiohttp.ClientSession, path: str, body: Json, key: str) -> Json | None:
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": key}
        while True:
            url = self.random.choice(self.stage.urls) + path
            try:
                async with session.post(url, json=body, headers=headers) as answer:
                    said = await answer.json(content_type=None)
                    if answer.status in (200, 201):
                        return dict(said)
                    again = answer.status in (429, 503) or said.get("code") == "idempotency_in_progress"
                    if not again:
                        if said.get("code") not in UNPAID:
                            self.refused.append(f"{answer.status} {path} {said}")
                        return None
            except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
                pass  # nobody knows what became of it: ask again, under the same key
            await asyncio.sleep(0.2)

    async def _pay(self, invoice: Json, way: str) -> None:
        option = self.random.choice(invoice["payment_options"])
        network = "anvil" if option["network"] == "anvil" else "bitcoin"
        due = int(Decimal(option["amount"]).scaleb(option["decimals"]))
        amounts = {"halves": [due // 2, due - due // 2], "short": [due * 2 // 3], "over": [due * 5 // 4]}
        txid = ""
        for units in amounts.get(way, [due]):
            txid = await self._send(network, option["address"], units, option["symbol"]) or txid
        if way == "replaced" and network == "bitcoin" and txid:
            async with self.stage.locks["bitcoin"]:
                outputs = [(option["address"], due // 2)] if self.random.random() < 0.5 else []
                with suppress(KassaError):  # it was mined meanwhile
                    await self.stage.bitcoin.replace(txid, outputs)

    async def _send(self, network: str, to: str, units: int, symbol: str) -> str | None:
        async with self.stage.locks[network]:
            try:
                if network == "bitcoin":
                    txid = await self.stage.bitcoin.fund(to, units)
                else:
                    txid = await self.stage.anvil.fund(to, units, symbol)
            except KassaError:
                return None  # the wallet's own change is tied up in what a fork undid
        self.payments += 1
        return txid

    async def _spend(self, session: aiohttp.ClientSession, invoice: Json) -> None:
        """Pay what is due from credit, twice at once: the balance must bear it once."""
        offered = {option["asset"] for option in invoice["payment_options"]}
        if "USDC@anvil" in offered:
            path = f"/v1/invoices/{invoice['id']}/pay_from_credit"
            await asyncio.gather(*(self._post(session, path, {"asset": "USDC@anvil"}) for _ in range(2)))
