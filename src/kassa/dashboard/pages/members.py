"""The people of a store: who they are, their roles, and invitations to others."""

import kassa.people.store as people
from kassa.core.errors import Conflict, FieldFault, Invalid, NotFound
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.visit import Visit
from kassa.db.pool import Tx
from kassa.people import membership
from kassa.people.model import Role
from kassa.people.rules import ROLES_WITH, checked_email, checked_role


async def _list(visit: Visit) -> Screen:
    visit.demand("people:read")
    async with visit.house.database.pool.acquire() as connection:
        members = await people.members(connection, visit.store.id)
        invited = await people.invitations(connection, visit.store.id, visit.now)
        called = await people.names(connection, [invitation.made_by for invitation in invited])
    return Screen("members.html", {"members": members, "invited": invited, "called": called, "roles": list(Role)})


async def _table(visit: Visit) -> Screen:
    visit.demand("people:read")
    return Screen("roles.html", {"table": ROLES_WITH, "roles": list(Role)})


async def _new(_visit: Visit) -> Screen:
    return Screen("member-new.html", {"roles": [(role.value, role.value) for role in reversed(Role)]})


async def _invite(visit: Visit) -> Screen:
    visit.demand("people:write")
    email, role = checked_email(visit.form.get("email")), checked_role(visit.form.get("role"))

    async def work(tx: Tx) -> str:
        return await membership.invite(tx, visit.actor, email, (visit.store.id, role), visit.now)

    token = await visit.house.database.run(work)
    link = f"{visit.house.settings.http.public_url}/dashboard/invitation/{token}"
    return Screen("member-invited.html", {"link": link, "email": email, "role": role})


async def _withdraw(visit: Visit) -> Go:
    visit.demand("people:write")
    await visit.house.database.run(lambda tx: membership.withdraw(tx, visit.actor, visit.store.id, visit.id, visit.now))
    return Go("members", "withdrawn")


async def _change(visit: Visit) -> Go:
    visit.demand("people:write")
    role = checked_role(visit.form.get("role"))
    await _changing(visit, role)
    return Go("members", "role")


async def _remove(visit: Visit) -> Go:
    visit.demand("people:write")
    await _changing(visit, None)
    return Go("members", "removed")


async def _changing(visit: Visit, role: Role | None) -> None:
    async def work(tx: Tx) -> None:
        await membership.change(tx, visit.actor, visit.store.id, visit.id, role, visit.now)

    try:
        await visit.house.database.run(work)
    except (Conflict, NotFound) as error:
        raise Invalid(FieldFault("role", str(error))) from error


PAGES: tuple[Page, ...] = (
    Page(path="members", title="People", access="people:read", show=_list, nav="Settings"),
    Page(path="members/roles", title="Roles", access="people:read", show=_table),
    Page(path="members/new", title="Invite somebody", access="people:write", show=_new, fresh=True),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="members/new", access="people:write", act=_invite, form="members/new", fields=("email", "role"),
        fresh=True,
    ),
    Action(
        path="members/{id}/role", access="people:write", act=_change, form="members", fields=("role",), id_of="per",
        fresh=True,
    ),
    Action(path="members/{id}/remove", access="people:write", act=_remove, form="members", id_of="per", fresh=True),
    Action(
        path="members/invited/{id}", access="people:write", act=_withdraw, form="members", id_of="ivt", fresh=True
    ),
)  # fmt: skip
