"""Sessions, and the tries at getting one: the SQL."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from kassa.core.ahead import AHEAD
from kassa.core.ids import PersonId, StoreId, new_id
from kassa.db.pool import Tx
from kassa.people.model import Ended, Person, Role, Session, Stage
from kassa.people.rules import FORGOTTEN, IDLE, KNOWN, LONGEST, UNFINISHED, is_alive, pause, token_hash
from kassa.people.store import PERSON, read_person

_SESSION = """s.id as session_id, s.stage, s.person_id, s.challenge, s.asked_at, s.created_at, s.last_seen_at,
    s.expires_at, s.proven_at, s.address, s.agent"""
_MAX_AGENT = 200


async def begin(
    tx: Tx,
    token: str,
    stage: Stage,
    person: PersonId | None,
    seen: tuple[str, str],
    now: datetime,
    *,
    proven: bool = False,
    challenge: bytes | None = None,
) -> str:
    """Begin a session for whoever holds `token`, from an address with a browser; return its id.

    An open one that is `proven` may change sensitive things at once.
    """
    address, agent = seen
    id_ = new_id("ses", now)
    await tx.execute(
        """insert into sessions (id, hash, person_id, stage, challenge, asked_at, created_at, last_seen_at, expires_at,
               proven_at, address, agent)
           values ($1, $2, $3, $4, $5, $6, $6, $6, $7, $8, $9, $10)
           on conflict (hash) do update
           set challenge = excluded.challenge, asked_at = excluded.asked_at, expires_at = excluded.expires_at
           where sessions.stage = 'passkey' and excluded.stage = 'passkey'""",
        id_, token_hash(token), person, stage.value, challenge, now,
        now + (LONGEST if stage in (Stage.OPEN, Stage.ENROL) else UNFINISHED),
        now if proven else None, address, agent[:_MAX_AGENT],
    )  # fmt: skip
    return id_


async def find(tx: Tx, token: str) -> Session | None:
    """Return the session of a token with its person and their roles, whether or not it still holds."""
    row = await tx.fetchrow(
        f"""select {_SESSION}, {PERSON},
                (select json_object_agg(m.store_id, m.role) from members m where m.person_id = s.person_id) as roles
            from sessions s left join people p on p.id = s.person_id where s.hash = $1""",
        token_hash(token),
    )
    return None if row is None else _session(row, read_person(row) if row["id"] is not None else None)


async def stands(tx: Tx, id_: str, store: StoreId, role: Role) -> bool:
    """Tell whether a session was not ended, and its person has the role in the store."""
    found = await tx.fetchval(
        """select true from sessions s join members m on m.person_id = s.person_id
           where s.id = $1 and m.store_id = $2 and m.role = $3""",
        id_,
        store,
        role.value,
    )
    return found is not None


async def note_seen(tx: Tx, id_: str, address: str, now: datetime) -> None:
    """Note that a session was used."""
    await tx.execute(
        """with used as (update sessions set last_seen_at = $3, address = $2 where id = $1 returning person_id)
           update people set last_seen_at = $3 from used where id = used.person_id""",
        id_,
        address,
        now,
    )


async def note_proven(tx: Tx, id_: str, now: datetime) -> None:
    """Note that the person of a session proved who they are, again; what was asked of them is answered."""
    await tx.execute("update sessions set proven_at = $2, challenge = null where id = $1", id_, now)


async def ask(tx: Tx, id_: str, challenge: bytes, now: datetime) -> None:
    """Keep what a passkey must sign for a session."""
    await tx.execute("update sessions set challenge = $2, asked_at = $3 where id = $1", id_, challenge, now)


async def take_question(tx: Tx, id_: str, challenge: bytes) -> bool:
    """Use up what a passkey was asked; return False when it was answered already, rightly or wrongly."""
    done: str = await tx.execute(
        "update sessions set challenge = null where id = $1 and challenge = $2", id_, challenge
    )
    return done == "UPDATE 1"


async def end(tx: Tx, id_: str) -> bool:
    """End a session; return False for one that was ended before, perhaps by another process at this moment."""
    done: str = await tx.execute("delete from sessions where id = $1", id_)
    return done == "DELETE 1"


async def hold(tx: Tx, id_: str) -> bool:
    """Let nobody else end a session before this transaction does; return False for one that was ended before."""
    return await tx.fetchval("select true from sessions where id = $1 for update", id_) is not None


async def end_dead(tx: Tx, token: str, now: datetime) -> None:
    """End the session of a token if it is over, so that its browser can begin another one."""
    session = await find(tx, token)
    if session is not None and not is_alive(session, now):
        await end(tx, session.id)


async def end_others(tx: Tx, person: PersonId, keep: str = "") -> list[Ended]:
    """End every session of a person but one; return those, the oldest first."""
    return await _end(tx, "person_id = $1 and id <> $2", person, keep)


async def end_one(tx: Tx, person: PersonId, id_: str) -> list[Ended]:
    """End a session of a person, and return it; nothing when they have no such session."""
    return await _end(tx, "person_id = $1 and id = $2", person, id_)


async def _end(tx: Tx, which: str, person: PersonId, id_: str) -> list[Ended]:
    rows = await tx.fetch(
        f"delete from sessions where {which} returning id, stage, created_at, address, agent", person, id_
    )
    ended = [Ended(row["id"], Stage(row["stage"]), row["created_at"], row["address"], row["agent"]) for row in rows]
    return sorted(ended, key=lambda each: each.id)


async def end_all(tx: Tx) -> int:
    """End every session of everybody; return how many."""
    done: str = await tx.execute("delete from sessions")
    return int(done.removeprefix("DELETE "))


async def sessions(tx: Tx, person: Person, now: datetime) -> list[Session]:
    """Return the open sessions of a person, the last used first."""
    rows = await tx.fetch(
        f"""select {_SESSION}, null::json as roles from sessions s
            where s.person_id = $1 and s.stage = 'open' and s.expires_at > $2 and s.last_seen_at > $3
            order by s.last_seen_at desc""",
        person.id,
        now,
        now - IDLE,
    )
    return [_session(row, person) for row in rows]


async def forget(tx: Tx, now: datetime, limit: int) -> int:
    """Delete sessions that are over, and tries so old that they play no part: up to `limit` of each sort.

    Return how many of the sort of which there were most: with fewer than `limit` nothing is left.
    """
    over = "expires_at < $1 or (stage = 'open' and last_seen_at < $2)"
    return max(
        [
            await _delete(tx, "sessions", "id", over, limit, now, now - IDLE),
            await _delete(tx, "sign_in_tries", "subject", "last_at < $1", limit, now - FORGOTTEN),
            await _delete(tx, "sign_in_places", "place", "last_at < $1", limit, now - KNOWN),
        ]
    )


async def _delete(tx: Tx, table: str, key: str, old: str, limit: int, *times: datetime) -> int:
    # Locked as they are found: a row that somebody uses at this moment is not old.
    done: str = await tx.execute(
        f"""delete from {table} where {key} in (
                select {key} from {table} where {old} limit {limit} for update skip locked)""",
        *times,
    )
    return int(done.removeprefix("DELETE "))


# ---------------------------------------------------------------- tries


async def take_try(tx: Tx, subjects: Mapping[str, str], now: datetime) -> timedelta:
    """Take one try at a secret, before it is looked at: `subjects` by kind (see `FREE_TRIES`).

    Returns how long to wait when there is none to take now; such a try is not counted, or one address could keep an
    account shut. Each try counts as wrong until `give_back` is called: so tries side by side are as slow as one after
    the other. Must be committed whatever comes of the try.
    """
    rows: dict[str, Any] = {}  # asyncpg's records
    for kind, subject in sorted(subjects.items()):
        rows[kind] = await _held(tx, _subject(kind, subject), now)
        # Before anything is written down of the account that was named: strangers could name any number of them.
        if kind == "address" and rows[kind]["free_at"] > now:
            break
    # What strangers try elsewhere must not keep somebody out where they come from: their place slows down by itself.
    spared = {"person"} if "place" in rows and await _is_known(tx, subjects["place"], now) else set()
    wait: timedelta = max(row["free_at"] - now for kind, row in rows.items() if kind not in spared)
    if wait > timedelta(0):
        return wait
    for kind, row in rows.items():
        await tx.execute(
            "update sign_in_tries set tries = tries + 1, last_at = $2, free_at = $3 where subject = $1",
            row["subject"], now, now + pause(row["tries"] + 1, kind),
        )  # fmt: skip
    return timedelta(0)


async def note_place(tx: Tx, place: str, now: datetime) -> None:
    """Note that somebody signed in from a place."""
    await tx.execute(
        """insert into sign_in_places (place, last_at) values ($1, $2)
           on conflict (place) do update set last_at = excluded.last_at""",
        place,
        now,
    )


async def _held(tx: Tx, subject: str, now: datetime) -> Any:  # asyncpg's record
    """Return the tries of a subject, locked. A pause that a clock began which was ahead begins now."""
    return await tx.fetchrow(
        """insert into sign_in_tries as t (subject, tries, last_at, free_at) values ($1, 0, $2, $2)
           on conflict (subject) do update set tries = case when t.last_at < $3 then 0 else t.tries end,
               last_at = case when t.last_at > $4 then $2 else t.last_at end,
               free_at = case when t.last_at > $4 then $2 + (t.free_at - t.last_at) else t.free_at end
           returning subject, tries, free_at""",
        subject,
        now,
        now - FORGOTTEN,
        now + AHEAD,
    )


async def _is_known(tx: Tx, place: str, now: datetime) -> bool:
    found = await tx.fetchval("select true from sign_in_places where place = $1 and last_at > $2", place, now - KNOWN)
    return found is not None


async def give_back(tx: Tx, subjects: Mapping[str, str], taken: datetime) -> None:
    """Give back the one try that was `taken` at a moment and proved right, with the pause that it began.

    No other try is forgiven: who has an account of their own must not buy more tries at those of others by it.
    """
    for kind, subject in sorted(subjects.items()):
        row = await tx.fetchrow(
            "select subject, tries, last_at, free_at from sign_in_tries where subject = $1 for update",
            _subject(kind, subject),
        )
        if row is None or row["tries"] == 0:
            continue
        left = row["tries"] - 1
        # It could be taken, so no pause of an earlier try was left; only a later one may have begun another.
        later = min(row["free_at"], row["last_at"] + pause(left, kind))
        await tx.execute(
            "update sign_in_tries set tries = $2, free_at = $3 where subject = $1",
            row["subject"], left, later if row["last_at"] > taken else taken,
        )  # fmt: skip


async def right(tx: Tx, subjects: Mapping[str, str]) -> int:
    """Forget the wrong tries of who proved who they are, and return how many there were at their account."""
    mine = [_subject(kind, subject) for kind, subject in subjects.items() if kind in ("person", "place", "session")]
    missed = await tx.fetch("delete from sign_in_tries where subject = any($1) returning subject, tries", mine)
    return max((row["tries"] for row in missed if row["subject"].startswith("person ")), default=0)


def _subject(kind: str, subject: str) -> str:
    return f"{kind} {subject}"[:400]


def _session(row: Any, person: Person | None) -> Session:  # asyncpg's record
    return Session(
        id=row["session_id"],
        stage=Stage(row["stage"]),
        person=person,
        roles=_roles(row["roles"]),
        challenge=row["challenge"],
        asked_at=row["asked_at"],
        created_at=row["created_at"],
        last_seen_at=row["last_seen_at"],
        expires_at=row["expires_at"],
        proven_at=row["proven_at"],
        address=row["address"],
        agent=row["agent"],
    )


def _roles(text: str | None) -> Mapping[StoreId, Role]:
    found: dict[str, str] = msgspec.json.decode(text) if text else {}
    return {StoreId(store): Role(role) for store, role in found.items()}
