"""Who belongs to a store: invited, let in, given another role, removed; each recorded in the audit log."""

import secrets
from datetime import datetime

import kassa.audit.store as audit
import kassa.people.session_store as sessions
import kassa.people.store as people
from kassa.audit.model import Actor
from kassa.core.errors import Conflict, NotFound
from kassa.core.ids import PersonId, StoreId, is_id
from kassa.db.pool import Tx
from kassa.people.model import Invitation, Person, Role
from kassa.people.rules import rights
from kassa.people.seal_store import Sealed, is_sealed, put_seal
from kassa.wallets.seal import Seal

_TOKEN_BYTES = 32
_INVITING = "people:write"


async def invite(
    tx: Tx, seal: Seal, by: Actor, email: str, place: tuple[StoreId, Role] | None, now: datetime, *, voids: bool = False
) -> str:
    """Make the token of a link that lets somebody in once: to a store in a role, or a known person again."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    made = await people.invite(tx, token, email, place, by.name, now, voids=voids)
    await put_seal(tx, seal, Sealed.INVITATION, made.id)
    told = {"email": email, "role": made.role, "expires_at": made.expires_at.isoformat(), "voids": voids}
    await audit.record(tx, by, "invitation.made", made.id, now, store_id=made.store, after=told)
    return token


async def invited(tx: Tx, seal: Seal, token: str, *, hold: bool = False) -> Invitation | None:
    """Return the invitation of a link, if Kassa made it; with `hold`, locked: it is about to be used."""
    found = await people.invitation(tx, token, hold=hold)
    return found if found is not None and await is_sealed(tx, seal, Sealed.INVITATION, found.id) else None


async def withdraw(tx: Tx, by: Actor, store: StoreId, id_: str, now: datetime) -> None:
    """Make an invitation void; raises `NotFound`."""
    await people.revoke_invitation(tx, store, id_, now)
    await audit.record(tx, by, "invitation.withdrawn", id_, now, store_id=store)


async def join(tx: Tx, seal: Seal, by: Actor, invitation: Invitation, person: Person, now: datetime) -> None:
    """Make a person a member of the store that they were invited to; raises `NotFound` for a link that is void."""
    assert invitation.store is not None
    assert invitation.role is not None
    if not await _may_invite(tx, invitation.store, invitation.made_by):
        raise NotFound("whoever made this link may not invite any more; ask for a new one")
    members = await people.members(tx, invitation.store, hold=True)
    if any(member.person == person.id for member in members):
        raise Conflict("you belong to this store already; the owner can give you another role")
    await people.put_member(tx, invitation.store, person.id, invitation.role, now)
    await put_seal(tx, seal, Sealed.MEMBER, invitation.store, person.id)
    told = {"email": person.email, "role": invitation.role.value, "invitation": invitation.id}
    await audit.record(tx, by, "member.joined", person.id, now, store_id=invitation.store, after=told)


async def change(tx: Tx, seal: Seal, by: Actor, store: StoreId, person: str, role: Role | None, now: datetime) -> bool:
    """Give a member another role, or (None) remove them; their sessions end. False where it is their role already.

    Where they may not invite any more, neither do the links that they made: one may be kept to come back by.
    Raises `NotFound`, or `Conflict` when no owner would be left.
    """
    members = {member.person: member for member in await people.members(tx, store, hold=True)}
    member = members.get(PersonId(person))
    if member is None:
        raise NotFound("there is no such person in this store")
    owners = [each.person for each in members.values() if each.role is Role.OWNER]
    if owners == [member.person] and role is not Role.OWNER:
        raise Conflict("a store keeps at least one owner: make another one first")
    if role is member.role:
        return False
    before, after = {"role": member.role.value}, None if role is None else {"role": role.value}
    if role is None:
        await people.drop_member(tx, store, person)
    else:
        was_sealed = await is_sealed(tx, seal, Sealed.MEMBER, store, person)
        await people.put_member(tx, store, member.person, role, now)
        if was_sealed:
            await put_seal(tx, seal, Sealed.MEMBER, store, person)
    await sessions.end_others(tx, member.person)
    kind = "member.removed" if role is None else "member.changed"
    await audit.record(tx, by, kind, person, now, store_id=store, before=before, after=after)
    if role is None or _INVITING not in rights(role):
        for id_ in await people.revoke_invitations_by(tx, store, person, now):
            await audit.record(tx, by, "invitation.withdrawn", id_, now, store_id=store)
    return True


async def _may_invite(tx: Tx, store: StoreId, maker: str) -> bool:
    """Tell whether who made an invitation may still invite; the operator always may."""
    if not is_id("per", maker):
        return True
    role = await people.role_in(tx, store, maker)
    return role is not None and _INVITING in rights(role)
