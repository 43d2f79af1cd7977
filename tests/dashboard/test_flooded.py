"""What a stranger sends by the hundred, on the pages of the people who look at it."""

import re

from kassa.people.model import Role
from tests.dashboard.test_bodies import set_up
from tests.dashboard.visitor import Premises

_MANY = 120

# Copies of one that came to an address without an owner, or of the invoice whose address that is.
_COPIES = """
insert into payments select (json_populate_record(p, json_build_object('id', 'pay_2' || lpad(n::text, 28, '0'),
        'txid', lpad(n::text, 64, '0'), 'store_id', i.store_id, 'invoice_id', i.id))).*
    from generate_series(1, $2::int) n, payments p left join invoices i on i.id = $3 where p.id = $1"""


async def test_an_invoice_shows_its_largest_payments_and_leads_to_all(premises: Premises) -> None:
    owner, ids = await set_up(premises, Role.OWNER)
    await premises.house.database.pool.execute(_COPIES, ids["pay"], _MANY, ids["inv"])
    page = await owner.open(premises.at(f"invoices/{ids['inv']}"))
    assert page.text.count('<tr data-key="pay_') == 50
    assert f"{_MANY - 50} more came" in page.words
    assert f"payments?invoice_id={ids['inv']}" in page.text
    found = await owner.open(premises.at(f"payments?invoice_id={ids['inv']}"))
    assert (found.text.count('<tr data-key="pay_'), ">Next<" in found.text) == (25, True)
    await owner.open(premises.at("overview"))
    assert (owner.seen.status, len(owner.seen.text) < 30_000) == (200, True)


async def test_money_without_an_owner_is_listed_in_parts_to_its_end(premises: Premises) -> None:
    owner, ids = await set_up(premises, Role.OWNER)
    await premises.house.database.pool.execute(_COPIES, ids["pay"], _MANY, None)
    path, parts = "payments/unowned", []
    for _ in range(3):
        text = (await owner.open(premises.at(path))).text
        parts.append(text.count('/assign"'))
        path = "payments/unowned" + "".join(re.findall(r'href="(\?cursor=pay_\w+)" rel="next"', text))
    assert parts == [50, 50, _MANY + 1 - 100]
    wrong = await owner.submit("/assign", customer_id="cus_nobody")
    assert (wrong.status, "is not a customer of this store" in wrong.words) == (422, True)
