"""The people of a store: who they are, their roles, the keys they made, and invitations to others."""

from typing import Any

import kassa.audit.store as audit
import kassa.people.store as people
import kassa.stores.store as stores
from kassa import flow
from kassa.core.errors import Conflict, FieldFault, Invalid, NotFound
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.visit import Visit
from kassa.db.pool import Tx
from kassa.people import membership
from kassa.people.model import Role
from kassa.people.rules import ROLES_WITH, checked_email, checked_role, rights


async def _list(visit: Visit) -> Screen:
    visit.demand("people:read")
    async with visit.house.database.pool.acquire() as connection:
        members = await people.members(connection, visit.store.id)
        invited = await people.invitations(connection, visit.store.id, visit.now)
        called = await people.names(connection, [invitation.made_by for invitation in invited])
    return Screen("members.html", {"members": members, "invited": invited, "called": called, "roles": list(Role)})


async def _one(visit: Visit) -> Screen:
    """Show a member, or who was one and left keys behind."""
    visit.demand("people:read")
    async with visit.house.database.pool.acquire() as connection:
        member = next((one for one in await people.members(connection, visit.store.id) if one.person == visit.id), None)
        keys = await _keys(connection, visit, rights(member.role) if member else frozenset())
        invited = await people.invitations(connection, visit.store.id, visit.now)
        if member is None and not keys:
            raise NotFound("")
        person = await people.get(connection, visit.id)
    theirs = [invitation for invitation in invited if invitation.made_by == visit.id]
    shown = {"member": member, "person": person, "keys": keys, "invited": theirs, "title": person.called}
    return Screen("member.html", shown)


async def _keys(tx: Tx, visit: Visit, mine: frozenset[str]) -> list[dict[str, Any]]:
    """Return the keys that somebody made and that still open the store, with what they can and their maker cannot."""
    made = await audit.keys_made_by(tx, visit.store.id, visit.id)
    return [
        {**key, "beyond": [scope for scope in key["scopes"] if scope not in mine]}
        for key in await stores.list_keys(tx, visit.store.id)
        if key["id"] in made
        and key["revoked_at"] is None
        and (key["expires_at"] is None or key["expires_at"] > visit.now)
    ]


async def _table(visit: Visit) -> Screen:
    visit.demand("people:read")
    return Screen("roles.html", {"table": ROLES_WITH, "roles": list(Role)})


async def _new(_visit: Visit) -> Screen:
    return Screen("member-new.html", {"roles": [(role.value, role.value) for role in reversed(Role)]})


async def _invite(visit: Visit) -> Screen:
    visit.demand("people:write")
    email, role = checked_email(visit.form.get("email")), checked_role(visit.form.get("role"))

    async def work(tx: Tx) -> str:
        return await membership.invite(tx, visit.house.seal, visit.actor, email, (visit.store.id, role), visit.now)

    token = await visit.make(work)
    link = f"{visit.house.settings.http.public_url}/dashboard/invitation/{token}"
    return Screen("member-invited.html", {"link": link, "email": email, "role": role})


async def _withdraw(visit: Visit) -> Go:
    visit.demand("people:write")
    await visit.do(lambda tx: membership.withdraw(tx, visit.actor, visit.store.id, visit.id, visit.now))
    return Go("members", "withdrawn")


async def _change(visit: Visit) -> Go:
    visit.demand("people:write")
    role = checked_role(visit.form.get("role"))
    return await _changing(visit, role)


async def _remove(visit: Visit) -> Go:
    visit.demand("people:write")
    return await _changing(visit, None)


async def _changing(visit: Visit, role: Role | None) -> Go:
    async def work(tx: Tx) -> str:
        try:
            changed = await membership.change(
                tx, visit.house.seal, visit.actor, visit.store.id, visit.id, role, visit.now
            )
        except (Conflict, NotFound) as error:
            raise Invalid(FieldFault("role", str(error))) from error
        if not changed:
            return "same_role"
        left = any(key["beyond"] for key in await _keys(tx, visit, frozenset() if role is None else rights(role)))
        return ("removed" if role is None else "role") + ("_keys" if left else "")

    done = await visit.make(work)
    return Go(f"members/{visit.id}" if done.endswith("_keys") else "members", done)


async def _revoke(visit: Visit) -> Go:
    """End every key that somebody made here."""
    visit.demand("people:write")
    visit.demand("keys:write")

    async def work(tx: Tx) -> None:
        for key in await _keys(tx, visit, frozenset()):
            await flow.revoke_key(tx, visit.actor, key["id"], visit.now, store_id=visit.store.id)

    await visit.do(work)
    return Go("members", "keys_revoked")


PAGES: tuple[Page, ...] = (
    Page(path="members", title="People", access="people:read", show=_list, nav="Settings"),
    Page(path="members/roles", title="Roles", access="people:read", show=_table),
    Page(path="members/new", title="Invite somebody", access="people:write", show=_new, fresh=True),
    Page(path="members/{id}", title="Person", access="people:read", show=_one, id_of="per"),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="members/new", access="people:write", act=_invite, form="members/new", made="members",
        fields=("email", "role"), fresh=True,
    ),
    Action(
        path="members/{id}/role", access="people:write", act=_change, form="members", fields=("role",), id_of="per",
        fresh=True,
    ),
    Action(
        path="members/{id}/revoke-keys", access="people:write", act=_revoke, form="members/{id}", id_of="per",
        fresh=True,
    ),
    Action(path="members/{id}/remove", access="people:write", act=_remove, form="members", id_of="per", fresh=True),
    Action(
        path="members/invited/{id}", access="people:write", act=_withdraw, form="members", id_of="ivt", fresh=True
    ),
)  # fmt: skip
