"""Signing in, step by step: password, then code or passkey; or a passkey alone; or a link that an operator made.

Every secret that could be guessed costs a try before it is looked at, and a session gets a new token at every step, so
that nobody can hand a victim a token beforehand.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

import kassa.alerts.store as alerts
import kassa.audit.store as audit
import kassa.people.session_store as sessions
import kassa.people.store as people
from kassa.alerts.model import Finding, Kind, Severity
from kassa.audit.model import Actor, Shown
from kassa.core.clock import rfc3339
from kassa.core.errors import FieldFault, Forbidden, Invalid, NotFound, Throttled
from kassa.core.ids import PersonId, StoreId
from kassa.dashboard.browser import Browser, new_token
from kassa.dashboard.words import pause
from kassa.db.pool import Tx
from kassa.house import House
from kassa.limits.rules import bucket
from kassa.people import membership, proofs
from kassa.people.model import Ended, Invitation, Passkey, Person, Session, Stage
from kassa.people.rules import checked_email, is_open, question, recovery_hash
from kassa.people.seal_store import Sealed, put_seal

log = structlog.get_logger()

_ALARM_AFTER = timedelta(minutes=1)
"""Who must wait longer than this tried far more often than one mistypes."""
REFUSAL_SECONDS = 0.25
"""Refused sign-ins are answered after this time or a multiple of it."""
_FORGOTTEN_AT_ONCE = 100
"""Sessions that are over, deleted by whoever begins one: more than are begun, and few enough to wait for."""
_WRONG = "E-mail or password is wrong"
_UNFINISHED = (
    "The second step was not set up. Go on in the browser in which you opened your link,"
    " or ask whoever runs this server for a new one"
)
TOO_LONG = "This took too long. Sign in again."
_WRONG_CODE = "This code is wrong, or was used before"


async def by_password(house: House, browser: Browser, email: str, password: str) -> str:
    """Check a password; return the token of a session that still needs its second factor. Raises `Invalid`.

    A refusal takes whole steps of time: else the moments in which it is written down tell that the account exists.
    """
    time = asyncio.get_running_loop().time
    began = time()
    try:
        return await _by_password(house, browser, email, password)
    except (Invalid, Throttled):
        await asyncio.sleep((began - time()) % REFUSAL_SECONDS)
        raise


async def _by_password(house: House, browser: Browser, email: str, password: str) -> str:
    now = house.clock.now()
    try:
        email = checked_email(email)
    except Invalid:
        raise Invalid(FieldFault("password", _WRONG)) from None
    await _take_try(house, tries_of(browser, email), now, email)
    async with house.database.pool.acquire() as connection:
        found = await people.secrets_of(connection, email)
    if not await proofs.is_password(password, found.password_hash if found else None) or found is None:
        await _refused(house, browser, found.id if found else None, "password", now)
        raise Invalid(FieldFault("password", _WRONG))

    async def work(tx: Tx) -> str:
        # At once, or the code that follows would be refused by the pause that a right password began.
        await sessions.give_back(tx, tries_of(browser, email), now)
        return await _begin(tx, house, browser, Stage.CODE, found.id, now)

    async with house.database.pool.acquire() as connection:
        person = await people.get(connection, found.id)
    if not person.has_second_factor:  # else a password alone would open all, by an app of whoever has it
        await _refused(house, browser, person.id, "second step not set up", now)
        raise Invalid(FieldFault("password", _UNFINISHED))
    return await house.database.run(work)


async def by_code(house: House, browser: Browser, session: Session, code: str) -> str:
    """Check the second factor of a sign-in; return the token of an open session. Raises `Invalid`."""
    now, person = house.clock.now(), _person(session)
    await _take_try(house, tries_in(browser, session), now, person.email)
    await _check_code(house, browser, session, code, now)

    async def work(tx: Tx) -> str:
        await sessions.give_back(tx, tries_in(browser, session), now)
        return await finish(tx, house, browser, session, person, now)

    return await house.database.run(work)


async def by_passkey(house: House, browser: Browser, session: Session, answer: str, site: proofs.Site) -> str:
    """Check a passkey that signed what the session asked; return the token of an open session. Raises `Invalid`."""
    now = house.clock.now()
    person = await _check_passkey(house, browser, session, answer, site, now)

    return await house.database.run(lambda tx: finish(tx, house, browser, session, person, now))


async def ask_passkey(house: House, browser: Browser, session: Session | None, site: proofs.Site) -> str:
    """Return what a passkey must sign, as JSON for the browser, and remember it."""
    now = house.clock.now()
    if asking := _asking(browser):
        await _take_try(house, asking, now)

    async def work(tx: Tx) -> str:
        known = await people.passkeys(tx, session.person.id) if session and session.person else []
        challenge, options = proofs.authentication(site, known)
        if session is None or session.stage is Stage.PASSKEY:
            await sessions.end_dead(tx, browser.token, now)
            # Nobody needs to be known to get here, so nothing may pile up.
            await sessions.forget(tx, now, _FORGOTTEN_AT_ONCE)
            await sessions.begin(tx, browser.token, Stage.PASSKEY, None, browser.seen, now, challenge=challenge)
        else:
            await sessions.ask(tx, session.id, challenge, now)
        return options

    return await house.database.run(work)


async def confirm(house: House, browser: Browser, session: Session, password: str, code: str) -> None:
    """Prove anew, by password and code, who is signed in; raises `Invalid`. The two are one try."""
    now, person, tries = house.clock.now(), _person(session), tries_in(browser, session)
    await _take_try(house, tries, now, person.email)
    async with house.database.pool.acquire() as connection:
        found = await people.secrets_of(connection, person.email)
    if not await proofs.is_password(password, found.password_hash if found else None):
        await _refused(house, browser, person.id, "confirmation", now)
        raise Invalid(FieldFault("password", "This password is wrong"))
    await _check_code(house, browser, session, code, now)

    async def work(tx: Tx) -> None:
        await sessions.give_back(tx, tries, now)
        await sessions.right(tx, tries)
        await sessions.note_proven(tx, session.id, now)

    await house.database.run(work)


async def confirm_by_passkey(house: House, browser: Browser, session: Session, answer: str, site: proofs.Site) -> None:
    """Prove anew, by a passkey that signs what the session asked, who is signed in; raises `Invalid`."""
    now = house.clock.now()
    await _check_passkey(house, browser, session, answer, site, now)

    async def work(tx: Tx) -> None:
        await sessions.right(tx, tries_in(browser, session))
        await sessions.note_proven(tx, session.id, now)

    await house.database.run(work)


async def _check_passkey(
    house: House, browser: Browser, session: Session, answer: str, site: proofs.Site, now: datetime
) -> Person:
    """Return the person whose passkey signed what the session asked; raises `Invalid`.

    A question is used up by any answer, so each of a stranger's answers costs them a question.
    """
    asked = question(session, now)

    async def work(tx: Tx) -> tuple[Passkey | None, Invalid | None]:
        if asked is None or not await sessions.take_question(tx, session.id, asked):
            return None, Invalid(FieldFault("passkey", "was not asked for; try again"))
        passkey = None
        try:
            passkey = await people.passkey(tx, proofs.named_credential(answer))
            if passkey is None or (session.person is not None and session.person.id != passkey.person):
                return passkey, Invalid(FieldFault("passkey", "is not known here"))
            count = proofs.authenticated(site, answer, asked, passkey)
        except Invalid as fault:
            return passkey, fault
        await people.note_passkey(tx, passkey.id, count, now)
        await sessions.give_back(tx, _asking(browser), session.asked_at or now)
        return passkey, None

    passkey, fault = await house.database.run(work)
    if fault is None and passkey is not None:
        async with house.database.pool.acquire() as connection:
            return await people.get(connection, passkey.person)
    assert fault is not None
    await _refuse_passkey(house, browser, session, passkey, fault, now)
    raise fault


async def _refuse_passkey(
    house: House, browser: Browser, session: Session, passkey: Passkey | None, fault: Invalid, now: datetime
) -> None:
    copied = fault.code == proofs.COPIED
    who = session.person.id if session.person else passkey.person if passkey else None
    await _refused(house, browser, who, "passkey counter" if copied else "passkey", now)
    if copied and passkey is not None:
        key = passkey
        reason = f"the passkey {key.name!r} counted fewer uses than were seen of it: it may have been copied"
        await house.database.run(lambda tx: _alarm(tx, key.person, Kind.PASSKEY_COPIED, key.id, reason, now))


async def _check_code(house: House, browser: Browser, session: Session, code: str, now: datetime) -> None:
    """Check a code of an app or a recovery code, which is used up by that; raises `Invalid`."""
    plain, person = code.replace(" ", ""), _person(session)

    async def work(tx: Tx) -> bool:
        secrets = await people.secrets_of(tx, person.email)
        kept = secrets.totp_secret if secrets else None
        secret = house.seal.unlock(person.id, kept) if kept else None
        step = proofs.totp_step(plain, secret, now) if secret else None
        if step is not None:
            return await people.use_totp(tx, person.id, step)
        hashed = recovery_hash(code)
        return hashed is not None and await people.use_recovery(tx, person.id, hashed, now)

    if not await house.database.run(work):
        await _refused(house, browser, person.id, "code", now)
        raise Invalid(FieldFault("code", _WRONG_CODE))


async def by_invitation(house: House, browser: Browser, token: str, name: str, hashed: str | None) -> str:
    """Let in whom a link is for; return the token of their session. Raises `NotFound` for a link that is void.

    Who begins anew gets the password that was `hashed`, and must set up a second factor next.
    """
    now = house.clock.now()

    async def work(tx: Tx) -> str:
        invitation = await membership.invited(tx, house.seal, token, hold=True)
        if invitation is None or not is_open(invitation, now):
            raise NotFound("this link was used, or is too old")
        person = await people.create(tx, invitation.email, name, now)
        await people.use_invitation(tx, invitation.id, now)
        if not await begins_anew(tx, invitation, person):
            if invitation.store is not None:
                raise NotFound("sign in first, then open the link again")
            return await enter(tx, house, browser, person, now)
        if hashed is None:
            raise NotFound("open the link again")
        if invitation.store is not None:
            await people.set_name(tx, person.id, name)
            await membership.join(tx, house.seal, Actor(person.id, browser.address), invitation, person, now)
        if invitation.voids:
            await people.void_factors(tx, person.id)
            await note(tx, browser, person.id, "person.factors_voided", now, {"invitation": invitation.id})
        await people.set_password(tx, person.id, hashed)
        await end_others(tx, browser, person.id, now)  # who began before, and with another password, does not finish
        return await _begin(tx, house, browser, Stage.ENROL, person.id, now, proven=True)

    return await house.database.run(work)


async def begins_anew(tx: Tx, invitation: Invitation, person: Person) -> bool:
    """Tell whether a link makes its opener choose a password and set up a second factor.

    Who has a second factor proves themselves by it, unless the operator's link says that it is lost. An invitation to a
    store never opens an account that belongs to one already: whoever invites may not be whom the account is for.
    """
    if invitation.store is None:
        return invitation.voids or not person.has_second_factor
    return not person.has_second_factor and not await people.stores_of(tx, person.id)


async def join(tx: Tx, house: House, browser: Browser, token: str, person: Person, now: datetime) -> None:
    """Make somebody who is signed in a member of the store that a link invites them to; raises `NotFound`."""
    invitation = await membership.invited(tx, house.seal, token, hold=True)  # withdrawn meanwhile is withdrawn
    if invitation is None or invitation.store is None or invitation.role is None or invitation.email != person.email:
        raise NotFound("this link is for somebody else")
    if not is_open(invitation, now):
        raise NotFound("this link was used, or is too old")
    await people.use_invitation(tx, invitation.id, now)
    await membership.join(tx, house.seal, Actor(person.id, browser.address), invitation, person, now)


async def finish(tx: Tx, house: House, browser: Browser, session: Session, person: Person, now: datetime) -> str:
    """End a sign-in that somebody began, and open their session; return its token.

    Raises `Forbidden` where it was ended meanwhile: who ends all sessions ends those that are about to be open, too.
    """
    if not await sessions.end(tx, session.id):
        raise Forbidden(TOO_LONG, code="session")
    return await enter(tx, house, browser, person, now)


async def enter(tx: Tx, house: House, browser: Browser, person: Person, now: datetime) -> str:
    """Open a session for somebody who proved who they are; return its token."""
    tries = tries_of(browser, person.email)
    missed = await sessions.right(tx, tries)
    await sessions.forget(tx, now, _FORGOTTEN_AT_ONCE)
    await people.note_entered(tx, person.id, now)
    if "address" in tries:  # else the place may be everybody's
        await sessions.note_place(tx, tries["place"], now)
    token = await _begin(tx, house, browser, Stage.OPEN, person.id, now, proven=True)
    await note(tx, browser, person.id, "session.opened", now, {"agent": browser.agent, "wrong_tries_before": missed})
    return token


async def sign_out(tx: Tx, browser: Browser, session: Session, now: datetime) -> None:
    """End the session of a browser, at whatever stage it is."""
    if session.person is None:
        await sessions.end(tx, session.id)
        return
    ended = await sessions.end_one(tx, session.person.id, session.id)
    await note_ended(tx, browser, session.person.id, ended, now)


def tries_of(browser: Browser, email: str) -> dict[str, str]:
    """Return at whose expense a try is made. An address that may be everybody's is not counted by itself."""
    address = bucket(browser.address)
    counted = {} if address is None else {"address": address}
    return {"person": email, "place": f"{email} {address or 'here'}"} | counted


def tries_in(browser: Browser, session: Session) -> dict[str, str]:
    """Return at whose expense a try is made in a session; in an open one not the account's, at which strangers try."""
    tries = tries_of(browser, _person(session).email)
    if session.stage is Stage.OPEN:
        del tries["person"]
        tries["session"] = session.id
    return tries


def _asking(browser: Browser) -> dict[str, str]:
    """Return at whose expense a question to a passkey is."""
    address = bucket(browser.address)
    return {} if address is None else {"asks": address}


async def note_changed(
    tx: Tx, browser: Browser, session: Session, kind: str, now: datetime, told: Shown | None = None
) -> None:
    """Record that something lets the person of a session in no more; end their others, which it may have opened."""
    person = _person(session).id
    await note(tx, browser, person, kind, now, told)
    await end_others(tx, browser, person, now, session.id)


async def end_others(tx: Tx, browser: Browser, person: PersonId, now: datetime, keep: str = "") -> None:
    """End every session of a person but one, at whatever stage, and record which open ones."""
    await note_ended(tx, browser, person, await sessions.end_others(tx, person, keep), now)


async def note_ended(tx: Tx, browser: Browser, person: PersonId, ended: Sequence[Ended], now: datetime) -> None:
    """Record which open sessions somebody ended, in the audit log of each store that they belong to."""
    for each in ended:
        if each.stage is Stage.OPEN:
            began = rfc3339(each.created_at)
            was = {"session": each.id, "began_at": began, "address": each.address, "agent": each.agent}
            await note(tx, browser, person, "session.ended", now, before=was)


async def note(
    tx: Tx,
    browser: Browser,
    person: PersonId,
    kind: str,
    now: datetime,
    told: Shown | None = None,
    *,
    before: Shown | None = None,
) -> None:
    """Record what somebody did about getting in, in the audit log of each store that they belong to."""
    by = Actor(person, browser.address)
    known: Sequence[StoreId | None] = await people.stores_of(tx, person) or [None]
    for store in known:
        await audit.record(tx, by, kind, person, now, store_id=store, before=before, after=told)


async def _refused(house: House, browser: Browser, person: PersonId | None, what: str, now: datetime) -> None:
    log.warning("a sign-in was refused", what=what, person=person, address=browser.address)
    if person is not None:  # what strangers guess at accounts that do not exist is for the log alone
        known = person
        await house.database.run(lambda tx: note(tx, browser, known, "session.refused", now, {"wrong": what}))


async def _take_try(house: House, subjects: dict[str, str], now: datetime, email: str = "") -> None:
    wait = await house.database.run(lambda tx: sessions.take_try(tx, subjects, now))
    if wait:
        seconds = int(wait.total_seconds()) + 1
        log.warning("sign-in is slowed down", seconds=seconds, **{k: v for k, v in subjects.items() if k == "address"})
        if wait > _ALARM_AFTER and email:
            await house.database.run(lambda tx: _tell_of_guesses(tx, email, now))
        raise Throttled(f"There were too many tries. Wait {pause(seconds)}, then try again.", seconds=seconds)


async def _tell_of_guesses(tx: Tx, email: str, now: datetime) -> None:
    """Tell the stores of whoever signs in with an address that somebody guesses at it."""
    found = await people.secrets_of(tx, email)
    if found is not None:
        reason = f"many wrong passwords or codes were tried for {email}; tries are slowed down"
        await _alarm(tx, found.id, Kind.SIGN_IN_GUESSED, email, reason, now)


async def _alarm(tx: Tx, person: PersonId, kind: Kind, what: str, reason: str, now: datetime) -> None:
    for store in await people.stores_of(tx, person):
        finding = Finding(kind, f"{store} {what}", Severity.WARNING, reason, store_id=store, lasting=True)
        await alerts.open_alert(tx, finding, now)


async def _begin(
    tx: Tx, house: House, browser: Browser, stage: Stage, person: PersonId, now: datetime, *, proven: bool = False
) -> str:
    token = new_token()
    begun = await sessions.begin(tx, token, stage, person, browser.seen, now, proven=proven)
    await put_seal(tx, house.seal, Sealed.SESSION, begun)
    return token


def _person(session: Session) -> Person:
    assert session.person is not None  # a session at this stage has one
    return session.person
