"""Setting up a second factor: an authenticator app, passkeys, recovery codes."""

import io
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import segno
from markupsafe import Markup

import kassa.people.store as people
from kassa.core.errors import FieldFault, Invalid
from kassa.dashboard.browser import Browser
from kassa.dashboard.entering import note_changed
from kassa.db.pool import Tx
from kassa.house import House
from kassa.people import proofs
from kassa.people.model import Person, Session
from kassa.people.rules import RECOVERY_BYTES, RECOVERY_CODES, recovery_code, recovery_hash

Run: TypeAlias = Callable[[Callable[[Tx], Awaitable[list[str]]]], Awaitable[list[str]]]
"""What carries work out in a transaction."""
ISSUER = "Kassa"
_SECRET = re.compile(r"[A-Z2-7]{32}\Z")


@dataclass(frozen=True, slots=True)
class Offer:
    """A secret for an authenticator app, to be scanned or typed; it counts once a code proved that the app has it."""

    secret: str
    qr: Markup

    @classmethod
    def of(cls, person: Person, secret: str) -> "Offer":
        """Draw the offer of a secret."""
        out = io.BytesIO()
        uri = proofs.totp_uri(secret if _SECRET.match(secret) else proofs.new_totp_secret(), person.email, ISSUER)
        segno.make_qr(uri, error="m").save(out, kind="svg", border=3, omitsize=True, xmldecl=False, svgns=False)
        return cls(secret, Markup(out.getvalue().decode()))  # noqa: S704  drawn by segno: paths and numbers


def new_offer(person: Person) -> Offer:
    """Offer a new secret."""
    return Offer.of(person, proofs.new_totp_secret())


async def confirm_totp(house: House, run: Run, browser: Browser, session: Session, secret: str, code: str) -> list[str]:
    """Take a secret for the app of a session's person, proved by a code of it; return new recovery codes.

    Their other sessions end. Raises `Invalid`.
    """
    now, person = house.clock.now(), session.person
    assert person is not None  # whoever sets up an app is known
    if not _SECRET.match(secret):
        raise Invalid(FieldFault("code", "start again: the secret was lost on the way"))
    step = proofs.totp_step(code.replace(" ", ""), secret, now)
    if step is None:
        raise Invalid(FieldFault("code", "is not the code of this secret; is the clock of your device right?"))

    async def work(tx: Tx) -> list[str]:
        await people.set_totp(tx, person.id, house.seal.lock(person.id, secret), step)
        await note_changed(tx, browser, session, "person.app_set", now, {"replaced": person.has_totp})
        return await new_recovery_codes(tx, person)

    return await run(work)


async def new_recovery_codes(tx: Tx, person: Person) -> list[str]:
    """Replace a person's recovery codes; return the new ones, which are shown once."""
    codes = [recovery_code(secrets.token_bytes(RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]
    hashes = [hashed for code in codes if (hashed := recovery_hash(code)) is not None]
    assert len(hashes) == RECOVERY_CODES
    await people.put_recovery(tx, person.id, hashes)
    return codes
