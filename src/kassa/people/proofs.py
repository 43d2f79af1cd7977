"""Check what people prove themselves by: passwords (argon2id), codes of an app (RFC 6238), passkeys (WebAuthn 2)."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

import pyotp
import webauthn
from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from webauthn.helpers import bytes_to_base64url, parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from kassa.core.errors import FieldFault, Invalid
from kassa.people.model import Passkey, Person
from kassa.people.rules import is_totp, password_form

STEP_SECONDS = 30
MAX_CREDENTIAL = 16_384
COPIED = "passkey_copied"
"""The code of the refusal of a passkey that counts fewer uses than were seen."""
_HASHING = asyncio.Semaphore(2)
# OWASP's parameters (Password Storage Cheat Sheet): 19 MiB, two passes; about 30 ms.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)
# Of a password that nobody has: an account that does not exist must take as long as one that does.
_NOBODY = _HASHER.hash("nobody's password")


@dataclass(frozen=True, slots=True)
class Site:
    """Where the dashboard is, as browsers see it: passkeys are made for one origin and hold nowhere else."""

    origin: str
    host: str

    @property
    def has_passkeys(self) -> bool:
        """Tell whether browsers make passkeys here: not for a bare IP address, and only over https or on localhost."""
        try:
            ip_address(self.host)
        except ValueError:
            return self.origin.startswith("https://") or self.host == "localhost"
        return False


def site_of(public_url: str) -> Site:
    """Return the site of a public URL."""
    parts = urlsplit(public_url)
    return Site(f"{parts.scheme}://{parts.netloc}", (parts.hostname or "").strip("[]"))


async def hash_password(password: str) -> str:
    """Hash a checked password; takes tens of milliseconds, beside the loop."""
    async with _HASHING:
        return await asyncio.to_thread(_HASHER.hash, password)


async def is_password(given: str, hashed: str | None) -> bool:
    """Tell whether a password is the one that was hashed; without a hash (no such account) it takes as long."""
    async with _HASHING:
        return await asyncio.to_thread(_matches, password_form(given), hashed or _NOBODY) and hashed is not None


def new_totp_secret() -> str:
    """Draw a secret of 160 bits (RFC 4226, section 4) for an authenticator app."""
    return pyotp.random_base32(32)


def totp_uri(secret: str, email: str, issuer: str) -> str:
    """Write what an authenticator app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer.replace(":", " "))


def totp_step(code: str, secret: str, now: datetime) -> int | None:
    """Return the time step to which a code belongs: this, the one before or the one after; None: it is wrong."""
    if not is_totp(code):
        return None
    totp, step = pyotp.TOTP(secret), int(now.timestamp()) // STEP_SECONDS
    fits = [near for near in (step, step - 1, step + 1) if pyotp.utils.strings_equal(code, totp.generate_otp(near))]
    return fits[0] if fits else None


def registration(site: Site, person: Person, known: Sequence[Passkey], issuer: str) -> tuple[bytes, str]:
    """Return the challenge for a new passkey, and the options for the browser as JSON."""
    options = webauthn.generate_registration_options(
        rp_id=site.host,
        rp_name=issuer,
        user_id=person.id.encode(),
        user_name=person.email,
        user_display_name=person.called,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[
            PublicKeyCredentialDescriptor(id=webauthn.base64url_to_bytes(each.credential)) for each in known
        ],
    )
    return options.challenge, webauthn.options_to_json(options)


def registered(site: Site, answer: str, challenge: bytes) -> tuple[str, bytes, int]:
    """Return credential id, public key and counter of a passkey that was made; raise `Invalid`."""
    try:
        found = webauthn.verify_registration_response(
            credential=_bounded(answer),
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=site.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise _refused() from error
    return bytes_to_base64url(found.credential_id), found.credential_public_key, found.sign_count


def authentication(site: Site, known: Sequence[Passkey] = ()) -> tuple[bytes, str]:
    """Return the challenge that a passkey must sign, and the options for the browser as JSON."""
    options = webauthn.generate_authentication_options(
        rp_id=site.host,
        allow_credentials=[
            PublicKeyCredentialDescriptor(id=webauthn.base64url_to_bytes(each.credential)) for each in known
        ],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options.challenge, webauthn.options_to_json(options)


def named_credential(answer: str) -> str:
    """Return which credential an answer claims to be signed by; raise `Invalid`."""
    try:
        return bytes_to_base64url(parse_authentication_credential_json(_bounded(answer)).raw_id)
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise _refused() from error


def authenticated(site: Site, answer: str, challenge: bytes, passkey: Passkey) -> int:
    """Return the counter of a passkey that signed the challenge; raise `Invalid` when it did not.

    One whose counter did not grow is refused as `COPIED` (WebAuthn 2, section 6.1.1); those that do not count say 0.
    """
    try:
        found = webauthn.verify_authentication_response(
            credential=_bounded(answer),
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=site.origin,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=0,  # compared below, where it can be told apart
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise _refused() from error
    if max(found.new_sign_count, passkey.sign_count) > 0 and found.new_sign_count <= passkey.sign_count:
        fault = "counts fewer uses than were seen here: it may have been copied. Sign in by password, and remove it"
        raise Invalid(FieldFault("passkey", fault), code=COPIED)
    return found.new_sign_count


def _matches(password: str, hashed: str) -> bool:
    try:
        return _HASHER.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


def _bounded(answer: str) -> str:
    if len(answer) > MAX_CREDENTIAL:
        raise ValueError("no credential")
    try:
        found = json.loads(answer)
    except RecursionError:  # a few thousand brackets suffice
        raise ValueError("no credential") from None
    if not isinstance(found, dict):
        raise ValueError("no credential")
    return answer


def _refused() -> Invalid:
    return Invalid(FieldFault("passkey", "was not accepted; try again"), code="passkey_refused")
