"""Seals: a keyed hash over an address and all that it belongs to, made when it is issued, checked when it is shown.

An address that is its wallet's may still be another invoice's, and a wallet in the database may be anyone's. Whoever
can write to the database cannot make a seal: its key is a file in the data folder.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kassa.core.errors import DatabaseError
from kassa.core.files import locked, others_may, usable, write_whole

FILE = "address-key"
_FORMER = f"{FILE}.former"
TERMS, SECRETS = "terms-sealed-since", "secrets-sealed-since"
"""Files that note since when all is sealed: what is asked of payers; the secrets of authenticator apps."""
_ALWAYS, _TOGETHER = datetime(1970, 1, 1, tzinfo=UTC), timedelta(hours=1)
_BYTES = 32
_NONCE = 12
_WALLETS = 1024  # of which the seal is kept in memory
_LOCKED = "locked:"
"""What begins a secret that is encrypted: no base32 has a colon."""


class Seal:
    """Makes and checks seals (HMAC-SHA256) with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.fingerprint = hashlib.sha256(b"kassa address key\n" + key).digest()
        # Checked for every order of its store; the same parts have the same seal.
        self._of_wallet = lru_cache(_WALLETS)(partial(self._seal, "wallet"))

        self._terms = hashlib.blake2b(key=self._seal("terms"), digest_size=_BYTES)

    def __repr__(self) -> str:
        return f"Seal({self.fingerprint.hex()[:8]}…)"

    def of_address(self, network: str, descriptor: str, index: int, address: str, owner: str) -> bytes:
        """Seal an address: where it comes from, and the invoice or customer that it was issued for."""
        return self._seal("address", network, descriptor, str(index), address, owner)

    def of_wallet(self, wallet_id: str, store_id: str, network: str, descriptor: str) -> bytes:
        """Seal a wallet: whose it is, and the descriptor that its addresses are derived from."""
        return self._of_wallet(wallet_id, store_id, network, descriptor)

    def of_terms(self, terms: str) -> bytes:
        """Seal what the payer of an invoice is asked for; by BLAKE2b, which is four times as fast: orders wait."""
        made = self._terms.copy()
        made.update(terms.encode())
        return made.digest()

    def of_change(self, change_id: str, *parts: str) -> bytes:
        """Seal what was asked, or decided, about the change of a wallet."""
        return self._seal("change", change_id, *parts)

    def of_row(self, table: str, *parts: str) -> bytes:
        """Seal a row that says who may do what."""
        return self._seal("row", table, *parts)

    def of_payer(self, link_id: str, token: str) -> bytes:
        """Hash what a payer's browser holds for one link: the database does not say who pays several."""
        return self._seal("payer", link_id, token)

    def of_origin(self, link_id: str, address: str) -> bytes:
        """Hash a network address for one link: who reads the database cannot try out which it was."""
        return self._seal("origin", link_id, address)

    def of_challenge(self, link_id: str, mark: bytes, origin: bytes | None, last: str, until: str) -> bytes:
        """Seal what is asked of a payer before they begin: whose it is, after which payment of theirs, until when."""
        return self._seal("challenge", link_id, mark.hex(), "" if origin is None else origin.hex(), last, until)

    def lock(self, owner: str, secret: str) -> str:
        """Encrypt a secret of an owner's (AES-256-GCM), to be kept in the database; nobody else's row can hold it."""
        nonce = secrets.token_bytes(_NONCE)
        return (
            _LOCKED + base64.b64encode(nonce + self._locks().encrypt(nonce, secret.encode(), owner.encode())).decode()
        )

    def unlock(self, owner: str, locked: str) -> str | None:
        """Return the secret that was locked for an owner; None for whatever was not, with this key."""
        try:
            sealed = base64.b64decode(locked.removeprefix(_LOCKED), validate=True)
            return self._locks().decrypt(sealed[:_NONCE], sealed[_NONCE:], owner.encode()).decode()
        except (ValueError, InvalidTag):
            return None

    def _locks(self) -> AESGCM:
        return AESGCM(self._seal("lock"))

    def _seal(self, *parts: str) -> bytes:
        # PostgreSQL's text cannot hold the separator.
        return hmac.digest(self._key, "\0".join(parts).encode(), "sha256")


def is_locked(secret: str) -> bool:
    """Tell whether a secret is kept encrypted."""
    return secret.startswith(_LOCKED)


def fits(seal: bytes | None, made: bytes) -> bool:
    """Compare a stored seal with the one that was just made, in constant time."""
    return seal is not None and hmac.compare_digest(seal, made)


def is_key_of(fingerprint: bytes, content: bytes) -> bool:
    """Tell whether the content of a file is the key with a fingerprint."""
    try:
        return Seal(bytes.fromhex(content.decode("ascii").strip())).fingerprint == fingerprint
    except ValueError:
        return False


async def read_or_make(data_dir: Path, fingerprint: bytes | None) -> tuple[Seal, bool]:
    """Return the seal of the key in a data folder, made at first start, and whether it was made by this call.

    `fingerprint` is of the key that made the seals in the database, if any: none is made then, and no other is taken.
    Raises `DatabaseError`.
    """
    path = data_dir / FILE
    try:
        with usable(data_dir):
            key, made = await asyncio.to_thread(_read, path), False
            if key is None and fingerprint is None:
                key, made = await asyncio.to_thread(_make, path)
    except (OSError, ValueError) as fault:
        raise DatabaseError(
            f"{path} cannot be used ({fault}): it holds 64 hexadecimal digits, for this user alone"
        ) from fault
    seal = None if key is None else Seal(key)
    if seal is None or (fingerprint is not None and seal.fingerprint != fingerprint):
        former = await asyncio.to_thread(_read_or_none, data_dir / _FORMER)
        if former is not None and Seal(former).fingerprint == fingerprint:
            raise DatabaseError(
                f"a renewal of {path} broke off: the key that sealed this database is {data_dir / _FORMER}; run"
                ' `kassa address-key renew --reason "…"` again, which goes on with it'
            )
        what = "is missing, the key" if seal is None else "is not the key"
        raise DatabaseError(
            f"{path} {what} that sealed the addresses in this database: copy it from the machine that made it; if it is"
            ' lost for ever, see `kassa address-key renew --reason "…"`'
        )
    return seal, made


async def sealed_since(data_dir: Path, what: str) -> datetime | None:
    """Return since when all of `what` (`TERMS`, `SECRETS`) is sealed here; None: nobody has noted that yet.

    Kept in the data folder, since whoever can write to the database could else move it. Raises `DatabaseError`.
    """
    path = data_dir / what
    try:
        with usable(data_dir):
            return datetime.fromisoformat((await asyncio.to_thread(path.read_text, "ascii")).strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as fault:
        raise DatabaseError(f"{path} cannot be used ({fault}): put it back from a backup") from fault


async def note_sealed_since(data_dir: Path, what: str, now: datetime, *, upgraded: bool) -> datetime:
    """Note since when all of `what` (`TERMS`, `SECRETS`) is sealed, at the first start of a version that seals it.

    Always; or, where something has no seal (`upgraded`), an hour from now: processes of the version before may run
    beside this one for a while. Of several that start at once, the first one's word holds. Raises `DatabaseError` or
    `OSError`.
    """
    since = now + _TOGETHER if upgraded else _ALWAYS
    with usable(data_dir):
        await asyncio.to_thread(_note, data_dir / what, since)
    noted = await sealed_since(data_dir, what)
    assert noted is not None
    return noted


def _note(path: Path, since: datetime) -> None:
    with locked(path):
        if not path.exists():
            write_whole(path, f"{since.isoformat()}\n")


async def make_another(data_dir: Path, fingerprint: bytes | None) -> tuple[Seal | None, Seal]:
    """Replace the key in a data folder by a new one; return the former one, if it can be read, and the new one.

    The key of `fingerprint`, by which the database is sealed, is kept beside it until `forget_former`: whoever dies
    before the database is sealed anew would lose all that only that key opens. Raises `DatabaseError` or `OSError`.
    """
    with usable(data_dir):
        former = await asyncio.to_thread(_put_aside, data_dir, fingerprint)
        key, _ = await asyncio.to_thread(_make, data_dir / FILE)
    return None if former is None else Seal(former), Seal(key)


async def forget_former(data_dir: Path) -> None:
    """Delete the key that was replaced, once nothing needs it any more; raises `OSError`."""
    await asyncio.to_thread((data_dir / _FORMER).unlink, missing_ok=True)


def _put_aside(data_dir: Path, fingerprint: bytes | None) -> bytes | None:
    path, former = data_dir / FILE, data_dir / _FORMER
    key = _read_or_none(path)
    if key is not None and fingerprint in (None, Seal(key).fingerprint):
        path.replace(former)
    else:
        _set_by(path, key)  # of a renewal that broke off, or of another database: nobody here can tell
    return _read_or_none(former)


def _set_by(path: Path, key: bytes | None) -> None:
    """Take a key out of the way without losing it; a file that holds none is deleted."""
    if key is None:
        path.unlink(missing_ok=True)
    else:
        path.replace(path.with_name(f"{path.name}.{Seal(key).fingerprint.hex()[:16]}"))


def _read_or_none(path: Path) -> bytes | None:
    try:
        return _read(path)
    except ValueError:
        return None


def _read(path: Path) -> bytes | None:
    try:
        _refuse_if_open(path)
        key = bytes.fromhex(path.read_text("ascii").strip())
    except FileNotFoundError:
        return None
    if len(key) != _BYTES:
        raise ValueError("it is not a key")
    return key


def _refuse_if_open(path: Path) -> None:
    """Raise `PermissionError` where every user of the machine can read the key, or put another in its place."""
    if others_may(path.parent) == "change":  # also before there is a key: else the next start would be refused
        raise PermissionError(f"every user of this machine may replace it: run `chmod o-w {path.parent}`")
    if others_may(path):
        raise PermissionError(
            f"every user of this machine may use it: run `chmod 600 {path}`, and renew it if one could"
        )


def _make(path: Path) -> tuple[bytes, bool]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(path):  # whoever is first makes it; a key that is there is never replaced
        if (made := _read(path)) is not None:
            return made, False
        key = secrets.token_bytes(_BYTES)
        write_whole(path, key.hex() + "\n")
        return key, True
