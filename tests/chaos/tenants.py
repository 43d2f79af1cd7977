"""O13 from outside: with one store's key, nothing of another is there. Asked of the API when the chaos is over."""

import aiohttp

from tests.chaos.shoppers import Shoppers

_SAMPLE = 25
_LISTS = ("invoices", "payments", "customers", "events")


async def keeps_apart(url: str, mine: Shoppers, foreign: Shoppers) -> None:
    """Raise `AssertionError` when a store shows, or lets another touch, what is not its own."""
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {mine.key}"}) as session:
        own = {made["id"] for made in mine.made.values()}
        theirs = [made["id"] for made in foreign.made.values()][-_SAMPLE:]
        assert own, "a store without orders proves nothing"
        assert theirs, "a store without orders proves nothing"
        for invoice in theirs:
            async with session.get(f"/v1/invoices/{invoice}") as answer:
                assert answer.status == 404, f"{invoice} is shown to another store: {answer.status}"
            async with session.post(f"/v1/invoices/{invoice}/mark", json={"as": "settled"}) as answer:
                assert answer.status == 404, f"{invoice} could be marked by another store: {answer.status}"
        for customer in foreign.customers:
            async with session.get(f"/v1/customers/{customer}/balances") as answer:
                assert answer.status == 404, f"{customer} is shown to another store"
        for name in _LISTS:
            async with session.get(f"/v1/{name}", params={"limit": "100"}) as answer:
                text = await answer.text()
                assert answer.status == 200, text
            mixed = [one for one in (*theirs, *foreign.customers) if one in text]
            assert not mixed, f"/v1/{name} of one store shows {mixed[:3]} of another"
