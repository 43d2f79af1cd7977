"""E11: what is asked and changed for one person, or in one store, is theirs alone, on a real PostgreSQL."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import kassa.people.session_store as sessions
import kassa.people.store as people
import kassa.stores.store as stores
from kassa.core.errors import NotFound
from kassa.core.ids import PersonId, StoreId
from kassa.db.pool import Database, Tx
from kassa.people.model import Person, Role, Stage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
TABLES = (
    "people", "members", "invitations", "passkeys", "recovery_codes", "sessions", "sign_in_tries", "sign_in_places",
)  # fmt: skip
ANNS, BOBS, SAME = b"a" * 32, b"b" * 32, b"s" * 32


class Two:
    """Two people, each the owner of a store of their own and a viewer in a third one."""

    def __init__(self, anns: StoreId, bobs: StoreId, shared: StoreId, ann: Person, bob: Person) -> None:
        self.anns, self.bobs, self.shared, self.ann, self.bob = anns, bobs, shared, ann, bob
        self.links: dict[StoreId, str] = {}
        self.keys: dict[PersonId, str] = {}
        self.sessions: dict[PersonId, list[str]] = {}


@pytest.fixture
async def two(database: Database) -> Two:
    async with database.transaction() as tx:
        made = [(await stores.create_store(tx, name, "EUR", False, NOW)).id for name in ("Ann", "Bob", "Both")]
        two = Two(
            *made, await people.create(tx, "a@b.example", "", NOW), await people.create(tx, "b@b.example", "", NOW)
        )
        for store, person, hashed in ((two.anns, two.ann, ANNS), (two.bobs, two.bob, BOBS)):
            await people.put_member(tx, store, person.id, Role.OWNER, NOW)
            await people.put_member(tx, two.shared, person.id, Role.VIEWER, LATER)
            await people.set_password(tx, person.id, "hashed")
            await people.set_totp(tx, person.id, "secret", 1)
            await people.put_recovery(tx, person.id, [hashed, SAME])
            await people.put_passkey(tx, person.id, (f"of {person.email}", b"key", 1), "phone", NOW)
            two.keys[person.id] = (await people.passkeys(tx, person.id))[0].id
            # By the same person of both stores: whoever left one of them may still invite to the other.
            link = await people.invite(tx, f"link to {store}", "c@b.example", (store, Role.ADMIN), two.ann.id, NOW)
            two.links[store] = link.id
            two.sessions[person.id] = [
                await sessions.begin(tx, f"{person.email} {n}", Stage.OPEN, person.id, ("192.0.2.1", "x"), NOW)
                for n in range(2)
            ]
    return two


async def rows(tx: Tx) -> dict[str, set[str]]:
    """Return the rows of all tables, as text."""
    found = {}
    for table in TABLES:
        found[table] = {row["text"] for row in await tx.fetch(f"select t::text as text from {table} t")}
    return found


ANSWERS: dict[str, tuple[Callable[[Tx, Two], Awaitable[Any]], Callable[[Two], Any]]] = {
    "stores_of": (lambda tx, t: people.stores_of(tx, t.ann.id), lambda t: sorted([t.anns, t.shared])),
    "role in one's own": (lambda tx, t: people.role_in(tx, t.anns, t.ann.id), lambda t: Role.OWNER),
    "role in a shared one": (lambda tx, t: people.role_in(tx, t.shared, t.ann.id), lambda t: Role.VIEWER),
    "role in another's": (lambda tx, t: people.role_in(tx, t.bobs, t.ann.id), lambda t: None),
    "since in one's own": (lambda tx, t: people.member_since(tx, t.anns, t.ann.id), lambda t: NOW),
    "since in a shared one": (lambda tx, t: people.member_since(tx, t.shared, t.ann.id), lambda t: LATER),
    "since in another's": (lambda tx, t: people.member_since(tx, t.bobs, t.ann.id), lambda t: None),
    "members": (lambda tx, t: _ids(people.members(tx, t.anns), "person"), lambda t: [t.ann.id]),
    "invitations": (lambda tx, t: _ids(people.invitations(tx, t.anns, NOW)), lambda t: [t.links[t.anns]]),
    "passkeys": (lambda tx, t: _ids(people.passkeys(tx, t.ann.id)), lambda t: [t.keys[t.ann.id]]),
    "codes left": (lambda tx, t: people.recovery_left(tx, t.ann.id), lambda t: 2),
    "another's code": (lambda tx, t: people.use_recovery(tx, t.ann.id, BOBS, NOW), lambda t: False),
    "another's session": (lambda tx, t: sessions.end_one(tx, t.ann.id, t.sessions[t.bob.id][0]), lambda t: []),
    "sessions": (
        lambda tx, t: _ids(sessions.sessions(tx, t.ann, NOW)), lambda t: sorted(t.sessions[t.ann.id], reverse=True)
    ),
    "roles of a session": (
        lambda tx, t: _roles(tx, "a@b.example 0"), lambda t: {t.anns: Role.OWNER, t.shared: Role.VIEWER}
    ),
    "a session stands": (lambda tx, t: _stands(tx, t, t.anns, Role.OWNER), lambda t: True),
    "in another role": (lambda tx, t: _stands(tx, t, t.anns, Role.VIEWER), lambda t: False),
    "in a role it has elsewhere": (lambda tx, t: _stands(tx, t, t.shared, Role.OWNER), lambda t: False),
    "in another's store": (lambda tx, t: _stands(tx, t, t.bobs, Role.OWNER), lambda t: False),
    "one that ended": (lambda tx, t: sessions.stands(tx, "ses_0", t.anns, Role.OWNER), lambda t: False),
}  # fmt: skip


async def _ids(found: Awaitable[Any], name: str = "id") -> list[str]:
    return sorted((getattr(each, name) for each in await found), reverse=True)


async def _roles(tx: Tx, token: str) -> Any:
    session = await sessions.find(tx, token)
    return session and session.roles


async def _stands(tx: Tx, t: Two, store: StoreId, role: Role) -> bool:
    return await sessions.stands(tx, t.sessions[t.ann.id][0], store, role)


@pytest.mark.parametrize("name", list(ANSWERS))
async def test_e11_what_is_read_is_of_who_was_asked_about(database: Database, two: Two, name: str) -> None:
    ask, expected = ANSWERS[name]
    async with database.transaction() as tx:
        assert await ask(tx, two) == expected(two)


DEEDS: dict[str, tuple[Callable[[Tx, Two], Awaitable[Any]], dict[str, int]]] = {
    "set_name": (lambda tx, t: people.set_name(tx, t.ann.id, "Ann"), {"people": 1}),
    "note_entered": (lambda tx, t: people.note_entered(tx, t.ann.id, LATER), {"people": 1}),
    "set_password": (lambda tx, t: people.set_password(tx, t.ann.id, "other"), {"people": 1}),
    "set_totp": (lambda tx, t: people.set_totp(tx, t.ann.id, "other", 2), {"people": 1}),
    "keep_totp": (lambda tx, t: people.keep_totp(tx, t.ann.id, "other"), {"people": 1}),
    "use_totp": (lambda tx, t: people.use_totp(tx, t.ann.id, 2), {"people": 1}),
    "use_recovery": (lambda tx, t: people.use_recovery(tx, t.ann.id, SAME, LATER), {"recovery_codes": 1}),
    "put_recovery": (lambda tx, t: people.put_recovery(tx, t.ann.id, []), {"recovery_codes": 2}),
    "note_passkey": (lambda tx, t: people.note_passkey(tx, t.keys[t.ann.id], 9, LATER), {"passkeys": 1}),
    "drop_passkey": (lambda tx, t: people.drop_passkey(tx, t.ann.id, t.keys[t.ann.id]), {"passkeys": 1}),
    "void_factors": (
        lambda tx, t: people.void_factors(tx, t.ann.id), {"people": 1, "recovery_codes": 2, "passkeys": 1}
    ),
    "put_member": (lambda tx, t: people.put_member(tx, t.shared, t.ann.id, Role.ADMIN, LATER), {"members": 1}),
    "drop_member": (lambda tx, t: people.drop_member(tx, t.shared, t.ann.id), {"members": 1}),
    "use_invitation": (lambda tx, t: people.use_invitation(tx, t.links[t.anns], LATER), {"invitations": 1}),
    "revoke_invitation": (
        lambda tx, t: people.revoke_invitation(tx, t.anns, t.links[t.anns], LATER), {"invitations": 1}
    ),
    "revoke_invitations_by": (
        lambda tx, t: people.revoke_invitations_by(tx, t.anns, t.ann.id, LATER), {"invitations": 1}
    ),
    "by somebody else": (lambda tx, t: people.revoke_invitations_by(tx, t.anns, t.bob.id, LATER), {}),
    "end": (lambda tx, t: sessions.end(tx, t.sessions[t.ann.id][0]), {"sessions": 1}),
    "end_one": (lambda tx, t: sessions.end_one(tx, t.ann.id, t.sessions[t.ann.id][0]), {"sessions": 1}),
    "end_others": (lambda tx, t: sessions.end_others(tx, t.ann.id, t.sessions[t.ann.id][0]), {"sessions": 1}),
    "note_proven": (lambda tx, t: sessions.note_proven(tx, t.sessions[t.ann.id][0], LATER), {"sessions": 1}),
    "ask": (lambda tx, t: sessions.ask(tx, t.sessions[t.ann.id][0], b"x", LATER), {"sessions": 1}),
    "note_seen": (
        lambda tx, t: sessions.note_seen(tx, t.sessions[t.ann.id][0], "::1", LATER), {"sessions": 1, "people": 1}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(DEEDS))
async def test_e11_what_is_changed_is_of_who_was_named(database: Database, two: Two, name: str) -> None:
    do, expected = DEEDS[name]
    async with database.transaction() as tx:
        before = await rows(tx)
        await do(tx, two)
        after = await rows(tx)
    assert {table: len(before[table] - after[table]) for table in TABLES if before[table] != after[table]} == expected


async def test_e11_what_is_anothers_is_not_found(database: Database, two: Two) -> None:
    async with database.transaction() as tx:
        before = await rows(tx)
        for refused in (
            people.drop_passkey(tx, two.ann.id, two.keys[two.bob.id]),
            people.drop_member(tx, two.anns, two.bob.id),
            people.drop_member(tx, two.bobs, two.ann.id),
            people.revoke_invitation(tx, two.anns, two.links[two.bobs], NOW),
        ):
            with pytest.raises(NotFound):
                await refused
        assert await rows(tx) == before


async def test_members_who_are_held_change_only_one_after_the_other(database: Database, two: Two) -> None:
    async with database.transaction() as tx, database.pool.acquire() as other:
        await people.members(tx, two.shared, hold=True)
        for store, free in ((two.shared, 0), (two.anns, 1)):
            found = await other.fetch("select from members where store_id = $1 for update skip locked", store)
            assert len(found) == free
