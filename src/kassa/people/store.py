"""People and their memberships, secrets and invitations: the SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asyncpg import UniqueViolationError

from kassa.core.errors import Conflict, NotFound
from kassa.core.ids import PersonId, StoreId, new_id
from kassa.db.pool import Tx
from kassa.people.model import Invitation, Member, Passkey, Person, Role, Secrets
from kassa.people.rules import INVITED, token_hash

PERSON = """p.id, p.email, p.name, p.password_hash is not null as has_password, p.totp_secret is not null as has_totp,
    (select count(*) from passkeys k where k.person_id = p.id) as passkeys"""
_INVITATION = "id, email, store_id, role, made_by, created_at, expires_at, used_at, revoked_at, voids"


async def find(tx: Tx, email: str) -> Person | None:
    """Return the person who signs in with an address."""
    row = await tx.fetchrow(f"select {PERSON} from people p where email = $1", email)
    return None if row is None else read_person(row)


async def get(tx: Tx, person: str) -> Person:
    """Return a person; raises `NotFound`."""
    row = await tx.fetchrow(f"select {PERSON} from people p where id = $1", person)
    if row is None:
        raise NotFound("there is no such person")
    return read_person(row)


async def create(tx: Tx, email: str, name: str, now: datetime) -> Person:
    """Write somebody new, or return who has this address already."""
    await tx.execute(
        "insert into people (id, email, name, created_at) values ($1, $2, $3, $4) on conflict (email) do nothing",
        new_id("per", now), email, name, now,
    )  # fmt: skip
    found = await find(tx, email)
    assert found is not None
    return found


async def names(tx: Tx, people: Sequence[str]) -> dict[str, str]:
    """Return what people are called, by id."""
    rows = await tx.fetch("select id, email, name from people where id = any($1)", list(people))
    return {row["id"]: row["name"] or row["email"] for row in rows}


async def set_name(tx: Tx, person: PersonId, name: str) -> None:
    """Call a person by another name."""
    await tx.execute("update people set name = $2 where id = $1", person, name)


async def note_entered(tx: Tx, person: PersonId, now: datetime) -> None:
    """Note that a person signed in."""
    await tx.execute("update people set last_seen_at = $2 where id = $1", person, now)


async def secrets_of(tx: Tx, email: str) -> Secrets | None:
    """Return what the person of an address is checked against."""
    row = await tx.fetchrow("select id, password_hash, totp_secret from people where email = $1", email)
    return None if row is None else Secrets(PersonId(row["id"]), row["password_hash"], row["totp_secret"])


async def set_password(tx: Tx, person: PersonId, hashed: str) -> None:
    """Replace a person's password."""
    await tx.execute("update people set password_hash = $2 where id = $1", person, hashed)


async def set_totp(tx: Tx, person: PersonId, secret: str | None, step: int) -> None:
    """Replace the locked secret of a person's app, and the step of the code that proved it; None: no app."""
    await tx.execute("update people set totp_secret = $2, totp_step = $3 where id = $1", person, secret, step)


async def totp_secrets(tx: Tx) -> list[tuple[PersonId, str]]:
    """Lock and return the secrets of everybody's app, as they are kept."""
    rows = await tx.fetch(
        "select id, totp_secret from people where totp_secret is not null order by id for no key update"
    )
    return [(PersonId(row["id"]), row["totp_secret"]) for row in rows]


async def keep_totp(tx: Tx, person: PersonId, secret: str) -> None:
    """Keep the same secret of a person's app in another form."""
    await tx.execute("update people set totp_secret = $2 where id = $1", person, secret)


async def use_totp(tx: Tx, person: PersonId, step: int) -> bool:
    """Use up the code of a time step; return False when it, or a later one, was used before."""
    done: str = await tx.execute("update people set totp_step = $2 where id = $1 and totp_step < $2", person, step)
    return done == "UPDATE 1"


async def put_recovery(tx: Tx, person: PersonId, hashes: Sequence[bytes]) -> None:
    """Replace a person's recovery codes."""
    await tx.execute("delete from recovery_codes where person_id = $1", person)
    await tx.executemany(
        "insert into recovery_codes (person_id, hash) values ($1, $2)", [(person, each) for each in hashes]
    )


async def use_recovery(tx: Tx, person: PersonId, hashed: bytes, now: datetime) -> bool:
    """Use up a recovery code; return False for one that is unknown or was used."""
    done: str = await tx.execute(
        "update recovery_codes set used_at = $3 where person_id = $1 and hash = $2 and used_at is null",
        person, hashed, now,
    )  # fmt: skip
    return done == "UPDATE 1"


async def recovery_left(tx: Tx, person: PersonId) -> int:
    """Return how many recovery codes a person has left."""
    left: int = await tx.fetchval(
        "select count(*) from recovery_codes where person_id = $1 and used_at is null", person
    )
    return left


# ---------------------------------------------------------------- passkeys


async def put_passkey(tx: Tx, person: PersonId, found: tuple[str, bytes, int], name: str, now: datetime) -> None:
    """Keep a passkey; raises `Conflict` for one that is known already."""
    credential, key, count = found
    try:
        await tx.execute(
            """insert into passkeys (id, person_id, credential, public_key, sign_count, name, created_at)
               values ($1, $2, $3, $4, $5, $6, $7)""",
            new_id("psk", now), person, credential, key, count, name, now,
        )  # fmt: skip
    except UniqueViolationError as repeat:
        if repeat.constraint_name != "passkeys_credential":
            raise
        raise Conflict("this passkey is known already", code="passkey_known") from repeat


async def passkeys(tx: Tx, person: PersonId) -> list[Passkey]:
    """Return a person's passkeys, oldest first."""
    return [Passkey(**_passkey(row)) for row in await tx.fetch(f"{_PASSKEYS} where person_id = $1 order by id", person)]


async def passkey(tx: Tx, credential: str) -> Passkey | None:
    """Return a passkey by the name that its authenticator gave it, locked: its counter is about to be compared."""
    row = await tx.fetchrow(f"{_PASSKEYS} where credential = $1 for update", credential)
    return None if row is None else Passkey(**_passkey(row))


async def note_passkey(tx: Tx, id_: str, count: int, now: datetime) -> None:
    """Note that a passkey was used, and its counter."""
    await tx.execute("update passkeys set sign_count = $2, last_used_at = $3 where id = $1", id_, count, now)


async def drop_passkey(tx: Tx, person: PersonId, id_: str) -> None:
    """Delete a passkey of a person; raises `NotFound`."""
    if await tx.execute("delete from passkeys where id = $1 and person_id = $2", id_, person) != "DELETE 1":
        raise NotFound("there is no such passkey")


async def void_factors(tx: Tx, person: PersonId) -> None:
    """Delete a person's app, recovery codes and passkeys."""
    await tx.execute("update people set totp_secret = null where id = $1", person)
    await tx.execute("delete from recovery_codes where person_id = $1", person)
    await tx.execute("delete from passkeys where person_id = $1", person)


# ---------------------------------------------------------------- members and invitations


async def stores_of(tx: Tx, person: PersonId) -> list[StoreId]:
    """Return the stores that a person belongs to."""
    rows = await tx.fetch("select store_id from members where person_id = $1 order by store_id", person)
    return [StoreId(row["store_id"]) for row in rows]


async def put_member(tx: Tx, store: str, person: PersonId, role: Role, now: datetime) -> None:
    """Make a person a member of a store, or give them another role there."""
    await tx.execute(
        """insert into members (store_id, person_id, role, added_at) values ($1, $2, $3, $4)
           on conflict (store_id, person_id) do update set role = excluded.role""",
        store, person, role.value, now,
    )  # fmt: skip


async def drop_member(tx: Tx, store: StoreId, person: str) -> None:
    """Take a person out of a store; raises `NotFound`."""
    if await tx.execute("delete from members where store_id = $1 and person_id = $2", store, person) != "DELETE 1":
        raise NotFound("there is no such person in this store")


async def member_since(tx: Tx, store: StoreId, person: str) -> datetime | None:
    """Return when somebody joined a store, last; None for who is no member of it."""
    joined: datetime | None = await tx.fetchval(
        "select added_at from members where store_id = $1 and person_id = $2", store, person
    )
    return joined


async def members(tx: Tx, store: StoreId, *, hold: bool = False) -> list[Member]:
    """Return who belongs to a store, in the order of joining; with `hold`, locked against other changes of members."""
    if hold:
        await tx.execute("select from members where store_id = $1 order by person_id for update", store)
    rows = await tx.fetch(
        """select m.person_id, p.email, p.name, m.role, m.added_at,
               p.totp_secret is not null or exists (select from passkeys k where k.person_id = p.id) as second_factor,
               p.last_seen_at
           from members m join people p on p.id = m.person_id where m.store_id = $1 order by m.added_at, p.id""",
        store,
    )
    return [
        Member(
            PersonId(row["person_id"]), row["email"], row["name"], Role(row["role"]), row["added_at"],
            row["second_factor"], row["last_seen_at"],
        )
        for row in rows
    ]  # fmt: skip


async def invite(
    tx: Tx, token: str, email: str, place: tuple[StoreId, Role] | None, by: str, now: datetime, *, voids: bool = False
) -> Invitation:
    """Keep an invitation, to a store in a role or (without a place) for a known person to come in again."""
    row = await tx.fetchrow(
        f"""insert into invitations (id, hash, email, store_id, role, made_by, created_at, expires_at, voids)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning {_INVITATION}""",
        new_id("ivt", now), token_hash(token), email, place[0] if place else None, place[1].value if place else None,
        by, now, now + INVITED, voids,
    )  # fmt: skip
    return _invitation(row)


async def invitation(tx: Tx, token: str, *, hold: bool = False) -> Invitation | None:
    """Return the invitation of a link; with `hold`, locked: it is about to be used."""
    lock = " for update" if hold else ""
    row = await tx.fetchrow(f"select {_INVITATION} from invitations where hash = $1{lock}", token_hash(token))
    return None if row is None else _invitation(row)


async def use_invitation(tx: Tx, id_: str, now: datetime) -> None:
    """Note that a link let somebody in: it does so once."""
    await tx.execute("update invitations set used_at = $2 where id = $1", id_, now)


async def invitations(tx: Tx, store: StoreId, now: datetime) -> list[Invitation]:
    """Return the invitations to a store that still let somebody in, newest first."""
    rows = await tx.fetch(
        f"""select {_INVITATION} from invitations
            where store_id = $1 and used_at is null and revoked_at is null and expires_at > $2 order by id desc""",
        store,
        now,
    )
    return [_invitation(row) for row in rows]


async def revoke_invitations_by(tx: Tx, store: StoreId, maker: str, now: datetime) -> list[str]:
    """Revoke every invitation to a store that somebody made and nobody used; return their ids."""
    rows = await tx.fetch(
        """update invitations set revoked_at = $3
           where store_id = $1 and made_by = $2 and used_at is null and revoked_at is null and expires_at > $3
           returning id""",
        store,
        maker,
        now,
    )
    return sorted(row["id"] for row in rows)


async def role_in(tx: Tx, store: StoreId, person: str) -> Role | None:
    """Return somebody's role in a store; None for who is no member of it."""
    role = await tx.fetchval("select role from members where store_id = $1 and person_id = $2", store, person)
    return None if role is None else Role(role)


async def void_invitations(tx: Tx, now: datetime) -> int:
    """Revoke every invitation that nobody used; return how many."""
    done: str = await tx.execute(
        "update invitations set revoked_at = $1 where used_at is null and revoked_at is null", now
    )
    return int(done.removeprefix("UPDATE "))


async def revoke_invitation(tx: Tx, store: StoreId, id_: str, now: datetime) -> None:
    """Make an invitation to a store void; raises `NotFound`."""
    done = await tx.execute(
        "update invitations set revoked_at = coalesce(revoked_at, $3) where id = $1 and store_id = $2", id_, store, now
    )
    if done != "UPDATE 1":
        raise NotFound("there is no such invitation")


_PASSKEYS = """select id, person_id as person, credential, public_key, sign_count, name, created_at, last_used_at
    from passkeys"""


def read_person(row: Any) -> Person:  # asyncpg's record
    """Read the columns of `PERSON`."""
    return Person(PersonId(row["id"]), row["email"], row["name"], row["has_password"], row["has_totp"], row["passkeys"])


def _passkey(row: Any) -> dict[str, Any]:  # asyncpg's record
    return {**row, "person": PersonId(row["person"])}


def _invitation(row: Any) -> Invitation:  # asyncpg's record
    return Invitation(
        id=row["id"],
        email=row["email"],
        store=None if row["store_id"] is None else StoreId(row["store_id"]),
        role=None if row["role"] is None else Role(row["role"]),
        made_by=row["made_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
        revoked_at=row["revoked_at"],
        voids=row["voids"],
    )
