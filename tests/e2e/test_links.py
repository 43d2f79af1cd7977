"""Payment links, from outside: a form is sent as a browser does, coins move on a real node."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kassa.chains.bitcoin.devnode import DevNode
from tests.api.served import until
from tests.e2e.program import Json, Program, installed

LINK = {"title": "Two coffees", "amount": "50.00", "currency": "EUR"}


class Payer:
    """A browser with its cookie."""

    def __init__(self, kassa: Program, link: Json) -> None:
        self._session, self._path = kassa.browser(), f"/l/{link['id']}"

    async def look(self) -> str:
        async with self._session.get(self._path) as answer:
            return await answer.text()

    async def begin(self) -> str:
        """Press the button; return the id of the invoice that the browser is sent to."""
        status, text, location = await self.press()
        assert status == 303, text
        return location.removeprefix("/i/")

    async def press(self) -> tuple[int, str, str]:
        """Press the button; return what comes: the status, the page, and where the browser is sent to."""
        token = re.search(r'name="token" value="([^"]+)"', await self.look())
        assert token is not None
        async with self._session.post(self._path, data={"token": token[1]}, allow_redirects=False) as answer:
            return answer.status, await answer.text(), answer.headers.get("location", "")


@pytest.fixture
async def kassa(bitcoind: DevNode, database_url: str, tmp_path: Path) -> AsyncIterator[Program]:
    """The program with a store, on a database of the test's own."""
    async with installed(tmp_path / "kassa", bitcoind, database_url) as program:
        await program.start("up")
        await program.ready()
        await program.open_store()
        yield program


async def make(kassa: Program, **more: object) -> Json:
    status, made = await kassa.call("POST", "/v1/payment-links", LINK | more)
    assert status == 201, made
    return made


async def until_link(kassa: Program, link: Json, **expected: object) -> None:
    """Wait until the API shows all of this of a link."""
    shown: Json = {}

    async def look() -> bool:
        nonlocal shown
        shown = (await kassa.call("GET", f"/v1/payment-links/{link['id']}"))[1]
        return {name: shown[name] for name in expected} == expected

    try:
        await kassa.until(look)
    except TimeoutError:
        raise AssertionError(f"expected {expected}, still {shown}") from None


async def pay(kassa: Program, node: DevNode, invoice: str, units: int) -> str:
    shown = (await kassa.call("GET", f"/v1/invoices/{invoice}"))[1]
    return await node.fund(shown["payment_options"][0]["address"], units)


async def said(kassa: Program, link: Json) -> list[str]:
    events = [e for e in await kassa.events() if e["data"]["object"]["id"] == link["id"]]
    return [kind for e in events if (kind := e["type"].removeprefix("payment_link.")) != "updated"]


async def test_a_link_follows_what_comes_in_parts_goes_back_and_comes_late(kassa: Program, bitcoind: DevNode) -> None:
    parted, late = await make(kassa, invoice_expires_in=60), await make(kassa, invoice_expires_in=60)
    tiny = await make(kassa, invoice_expires_in=60)
    first, begun, nearly = [await Payer(kassa, link).begin() for link in (parted, late, tiny)]
    await pay(kassa, bitcoind, nearly, 99_990)  # all but a cent, of which no node relays the 20 satoshi
    await pay(kassa, bitcoind, first, 40_000)  # 20 EUR, in time
    await until_link(kassa, parted, status="open", amount_paid="20.00", amount_due="30.00")
    assert await Payer(kassa, parted).begin() == first  # what it lacks is paid there, as long as it is open

    async def over() -> bool:
        shown = [(await kassa.call("GET", f"/v1/invoices/{each}"))[1]["status"] for each in (first, begun, nearly)]
        return shown == ["expired"] * 3

    await until(over, seconds=90)  # there is no other clock than everybody's
    await _the_rest_and_back(kassa, bitcoind, parted, first)
    await _late_and_decided(kassa, bitcoind, late, begun)
    status, page, _ = await Payer(kassa, tiny).press()
    assert (status, "too small to be sent" in page) == (422, True)


async def _the_rest_and_back(kassa: Program, bitcoind: DevNode, link: Json, first: str) -> None:
    payer = Payer(kassa, link)
    rest = await payer.begin()
    assert rest != first
    assert (await kassa.call("GET", f"/v1/invoices/{rest}"))[1]["amount"] == "30.00"
    page = await payer.look()
    assert "Part of it has been paid" in page
    assert "€20.00" in page

    txid = await pay(kassa, bitcoind, rest, 60_000)
    await until_link(kassa, link, status="processing", amount_due="0.00", amount_settled="0.00")
    await bitcoind.mine()
    await until_link(kassa, link, status="completed", amount_settled="50.00", flags=[])
    assert "Thank you" in await payer.look()

    await bitcoind.fork(1, drop={txid})
    await until_link(kassa, link, status="processing", flags=["reversed"], amount_paid="50.00")
    await bitcoind.mine()
    await until_link(kassa, link, status="completed", flags=[])
    assert await said(kassa, link) == ["created", "processing", "completed", "reopened", "completed"]


async def _late_and_decided(kassa: Program, bitcoind: DevNode, link: Json, begun: str) -> None:
    await pay(kassa, bitcoind, begun, 100_000)
    await bitcoind.mine()
    await until_link(kassa, link, status="processing", flags=["late"], amount_paid="50.00", amount_due="0.00")
    page = await Payer(kassa, link).look()
    assert "Not fully paid in time" in page
    assert "<form" not in page  # nobody is asked to pay twice
    await kassa.call("POST", f"/v1/invoices/{begun}/mark", {"as": "invalid"})
    await until_link(kassa, link, status="open", amount_paid="0.00", amount_due="50.00")
    await kassa.call("POST", f"/v1/invoices/{begun}/mark", {"as": "settled"})
    await until_link(kassa, link, status="completed", amount_paid="50.00")
