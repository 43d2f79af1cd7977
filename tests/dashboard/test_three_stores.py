"""One person who belongs to three stores with different roles: what each of them shows, does and refuses."""

import re

import kassa.stores.store as stores
from kassa.people.model import Role
from kassa.stores.model import Store
from tests.dashboard.visitor import Premises, Visitor

EMAIL = "owner@shop.example"


async def test_who_belongs_to_three_stores_has_in_each_the_role_that_was_given_there(premises: Premises) -> None:
    mine = await premises.member(Role.OWNER, EMAIL)
    belongs = {Role.OWNER: premises.store}
    for role in (Role.ADMIN, Role.VIEWER):
        belongs[role] = await join(premises, mine, role)
    opens: dict[Role, dict[str, int]] = {}
    for role, store in belongs.items():
        await mine.open(premises.at("stores"))
        assert f'/dashboard/stores/{store.id}/overview">{store.name}</a> <span class="tag">{role}<' in mine.seen.text
        page = await mine.open(at(store, "overview"))
        assert f"{store.name}" in page.words
        assert set(re.findall(r"/stores/(sto_\w+)/", page.text)) == {store.id}  # nothing leads into another one
        opens[role] = {path: (await mine.open(at(store, path))).status for path in ("invoices", "audit", "wallets/new")}
    assert opens == {
        Role.OWNER: {"invoices": 200, "audit": 200, "wallets/new": 200},
        Role.ADMIN: {"invoices": 200, "audit": 200, "wallets/new": 403},
        Role.VIEWER: {"invoices": 200, "audit": 403, "wallets/new": 403},
    }


async def test_a_form_of_one_store_does_nothing_in_another_where_the_role_is_less(premises: Premises) -> None:
    mine = await premises.member(Role.OWNER, EMAIL)
    second = await join(premises, mine, Role.VIEWER)
    for store, status in ((premises.store, 200), (second, 403)):
        await mine.open(premises.at("members/new"))
        mine.seen.url = at(store, "members/new")
        mine.seen.text = mine.seen.text.replace(premises.store.id, store.id)  # the same form, sent to that store
        assert (await mine.submit("members/new", email=f"{store.id[-6:]}@shop.example", role="viewer")).status == status
    assert "your role in this store (viewer) lacks the right people:write" in mine.seen.words
    pool = premises.house.database.pool
    assert (
        await pool.fetchval("select count(*) from invitations where store_id = $1 and used_at is null", second.id) == 0
    )


async def join(premises: Premises, visitor: Visitor, role: Role) -> Store:
    """Make a store, and let a visitor who is signed in accept an invitation to it."""
    async with premises.house.database.transaction() as tx:
        store = await stores.create_store(tx, f"Shop of the {role}", "EUR", False, premises.clock.now())
    link = await premises.invited(EMAIL, role, store)
    await visitor.open(link)
    await visitor.submit(link)
    assert visitor.seen.url == at(store, "overview"), visitor.seen.words
    return store


def at(store: Store, path: str) -> str:
    return f"/dashboard/stores/{store.id}/{path}"
