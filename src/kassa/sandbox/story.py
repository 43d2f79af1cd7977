"""One payment, as a merchant sees it: asked for, paid, settled, taken back by a reorganisation, and settled again.

Each step asks the public API and the receiver's verified webhooks, and stops at the first thing that is not as it must.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import aiohttp

from kassa.chains.evm.devnode import AnvilNode
from kassa.core.clock import SystemClock
from kassa.core.errors import SandboxError
from kassa.core.money import parse_amount
from kassa.sandbox.client import Json
from kassa.sandbox.screen import Screen, short
from kassa.sandbox.start import Sandbox

PRICE, TOKEN_PRICE, CURRENCY = "49.90", "20.00", "EUR"
LIMIT_SECONDS = 30
"""Within this time an event must have reached the receiver. It takes some hundredths of a second."""

_WHOLE = (
    "invoice.created",
    "payment.detected",
    "invoice.processing",
    "payment.settled",
    "invoice.settled",
    "payment.detected",
    "invoice.reopened",
    "payment.settled",
    "invoice.settled",
)


@dataclass(slots=True)
class Step:
    """One step that was played; `checks` are the names of what was found right."""

    title: str
    milliseconds: int = 0
    checks: list[str] = field(default_factory=list)


class Story:
    """Plays the story on a running sandbox and shows it."""

    def __init__(self, sandbox: Sandbox, screen: Screen) -> None:
        self._client, self._receiver = sandbox.client, sandbox.receiver
        self._node, self._anvil = sandbox.chains.bitcoin, sandbox.chains.anvil
        self._screen = screen
        self.steps: list[Step] = []
        self._began = perf_counter()
        self._heard = 0
        self._invoice = ""
        self._address = ""
        self._txid = ""
        self._status = "new"

    async def play(self) -> None:
        """Play it all; raises `SandboxError` with what was expected and what was seen."""
        await self._ask()
        await self._pay()
        await self._settle()
        await self._reorganise()
        await self._recover()
        await self._compare()
        if self._anvil is not None:
            await self._pay_in_tokens(self._anvil)

    async def _ask(self) -> None:
        self._step("The shop asks for 49.90 EUR", "one call of the API; no node is asked")
        body = {"amount": PRICE, "currency": CURRENCY, "reference": "order-1001", "description": "2 coffees"}
        invoice = await self._client.post("/v1/invoices", body)
        option = _option(invoice, "BTC")
        self._invoice, self._address = invoice["id"], option["address"]
        self._check("invoice", f"{self._invoice}, new", invoice, status="new", amount_due=PRICE, payments=[])
        self._screen.done("to pay", f"{option['amount']} BTC at {option['rate']} EUR, held for 15 minutes", indent=4)
        self._screen.field("address", self._address, indent=6)
        self._screen.field("checkout", invoice["checkout_url"], indent=6)
        await self._look_at(invoice["checkout_url"])
        await self._hear("invoice.created")
        self._end()

    async def _pay(self) -> None:
        due = _option(await self._read(), "BTC")["amount_due"]
        self._step(f"The payer sends {due} BTC", "the node has the transaction; no block holds it yet")
        self._txid = await self._node.fund(self._address, parse_amount(due, 8))
        self._done("broadcast", f"transaction {short(self._txid)}")
        await self._hear("payment.detected", "invoice.processing")
        invoice = await self._read(status="processing", flags=[], amount_paid=PRICE, amount_settled="0.00")
        self._payment(invoice, status="detected", amount=due, confirmations=0)
        self._end()

    async def _settle(self) -> None:
        self._step("A block is mined", "one confirmation is enough up to 100 EUR; larger amounts wait for more")
        block = (await self._node.mine())[0]
        self._done("block", short(block.lstrip("0")))
        await self._hear("payment.settled", "invoice.settled")
        invoice = await self._read(status="settled", flags=[], is_final=True, amount_settled=PRICE)
        self._payment(invoice, status="settled", confirmations=1, block_hash=block)
        self._end()

    async def _reorganise(self) -> None:
        self._step("The chain reorganises", "that block is replaced by two others, which leave the payment out")
        blocks = await self._node.fork(1, drop=[self._txid])
        self._done("blocks", " and ".join(short(block.lstrip("0")) for block in blocks))
        await self._hear("payment.detected", "invoice.reopened")
        invoice = await self._read(
            status="processing", flags=["reversed"], is_final=False, amount_settled="0.00", settled_at=None
        )
        self._payment(invoice, status="detected", confirmations=0, block_hash=None)
        self._end()

    async def _recover(self) -> None:
        self._step("The next block holds it again", "the same payment, not a second one")
        block = (await self._node.mine())[0]
        self._done("block", short(block.lstrip("0")))
        await self._hear("payment.settled", "invoice.settled")
        invoice = await self._read(status="settled", flags=[], is_final=True, amount_settled=PRICE, amount_over="0.00")
        self._payment(invoice, status="settled", confirmations=1, block_hash=block)
        self._end()

    async def _compare(self) -> None:
        self._step("Nothing was lost, doubled or forged", "the shop's webhooks against the store's own history")
        history = await self._history()
        heard = self._receiver.about(self._invoice)
        self._expect("the store's events", list(_WHOLE), [event["type"] for event in history])
        self._expect("the webhooks' events", history, [each.event for each in heard])
        self._done("history", f"{len(heard)} events, all delivered in order, all verified")
        self._expect("refused webhooks", [], self._receiver.refused)
        await self._forge(heard[-1].event)
        self._end()

    async def _pay_in_tokens(self, anvil: AnvilNode) -> None:
        self._step("The next payer sends USDC", "a token on a second chain; one invoice offers every asset")
        self._heard, self._status = 0, "new"
        invoice = await self._client.post("/v1/invoices", {"amount": TOKEN_PRICE, "currency": CURRENCY})
        self._invoice, option = invoice["id"], _option(invoice, "USDC")
        await self._hear("invoice.created")
        self._txid = await anvil.fund(option["address"], parse_amount(option["amount_due"], 6), "USDC")
        block = (await anvil.mine())[0]
        self._done("block", f"{short(block)}, with {option['amount_due']} USDC in it")
        await self._hear("payment.settled", "invoice.settled")
        invoice = await self._read(status="settled", flags=[], is_final=True, amount_settled=TOKEN_PRICE)
        self._payment(invoice, status="settled", asset="USDC@anvil", amount=option["amount_due"], block_hash=block)
        self._end()

    async def _look_at(self, page: str) -> None:
        """Read the payer's page, as a browser without a key does."""
        async with aiohttp.ClientSession() as session, session.get(page) as answer:
            self._expect("the checkout page's answer", 200, answer.status)
            self._expect("the address on the checkout page", True, self._address in await answer.text())
        self._done("page", "shows the same address")

    async def _forge(self, event: Json) -> None:
        """Play the thief: send the receiver the last event under another id, signed with a guessed secret."""
        event = event | {"id": f"evt_{'0' * 29}"}
        body, now = json.dumps(event).encode(), int(SystemClock().now().timestamp())
        guessed = hmac.new(b"guessed", f"{event['id']}.{now}.".encode() + body, hashlib.sha256).digest()
        headers = {
            "webhook-id": event["id"],
            "webhook-timestamp": str(now),
            "webhook-signature": f"v1,{base64.b64encode(guessed).decode()}",
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._receiver.url, data=body, headers=headers) as answer,
        ):
            self._expect("the answer to a forged webhook", 400, answer.status)
        self._done("forgery", "a webhook with a false signature was refused")

    # What the steps are made of

    def _step(self, title: str, more: str) -> None:
        self.steps.append(Step(title))
        self._screen.heading(f"{len(self.steps)}  {title}")
        self._screen.line(f"   {more}", "dim")
        self._began = perf_counter()

    def _end(self) -> None:
        self.steps[-1].milliseconds = round((perf_counter() - self._began) * 1000)

    async def _hear(self, *types: str) -> None:
        """Take the next webhooks about our invoice: exactly these, and their resource must be the API's own word."""
        for expected in types:
            received = await self._receiver.nth(self._invoice, self._heard, LIMIT_SECONDS)
            self._heard += 1
            self._expect("the next webhook", expected, received.type)
            self._done("webhook", f"{received.type}, signature verified", received.at)

    async def _history(self) -> list[Json]:
        """Read the store's events about our invoice, page by page."""
        events: list[Json] = []
        after: dict[str, str] = {}
        while True:
            page = await self._client.get("/v1/events", limit="100", **after)
            events += [event for event in page["data"] if _concerns(event, self._invoice)]
            if page["next_cursor"] is None:
                return events
            after = {"after": page["next_cursor"]}

    async def _read(self, **expected: object) -> Json:
        invoice = await self._client.get(f"/v1/invoices/{self._invoice}")
        if expected:
            flags = f" [{', '.join(invoice['flags'])}]" if invoice["flags"] else ""
            change = f"{self._status} → {invoice['status']}{flags}"
            words = f"{change}, {invoice['amount_settled']} EUR settled"
            self._check("invoice", words, invoice, **expected)
            self._status = str(invoice["status"])
        return invoice

    def _payment(self, invoice: Json, **expected: object) -> None:
        self._expect("the number of payments", 1, len(invoice["payments"]))
        payment = invoice["payments"][0]
        depth = f"{payment['confirmations']} of {payment['confirmations_required']} confirmations"
        words = f"{short(payment['id'])} {payment['status']}, {depth}"
        self._check("payment", words, payment, txid=self._txid, **expected)

    def _check(self, label: str, words: str, resource: Mapping[str, Any], **expected: object) -> None:
        for name, value in expected.items():
            self._expect(f"{label}.{name}", value, resource[name])
        self._done(label, words)

    def _expect(self, what: str, expected: object, seen: object) -> None:
        if expected != seen:
            raise SandboxError(f"{what}: expected {_said(expected)}, saw {_said(seen)}")

    def _done(self, label: str, words: str, at: float | None = None) -> None:
        self.steps[-1].checks.append(f"{label}: {words}")
        self._screen.done(label, words, (perf_counter() if at is None else at) - self._began, indent=4)


def _option(invoice: Json, symbol: str) -> Json:
    return next(dict(option) for option in invoice["payment_options"] if option["symbol"] == symbol)


def _concerns(event: Json, invoice: str) -> bool:
    resource = event["data"]["object"]
    return invoice in (resource["id"], resource.get("invoice_id"))


def _said(value: object) -> str:
    return json.dumps(value)[:1500]
