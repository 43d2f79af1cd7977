"""Secrets of people that the database holds locked: those of an earlier version, and of a key that is replaced."""

import kassa.people.store as people
from kassa.db.pool import Tx
from kassa.wallets.seal import Seal, is_locked


async def lock_secrets(tx: Tx, seal: Seal) -> int:
    """Lock the secrets of everybody's app that stand there plain, as an earlier version kept them; return how many."""
    plain = [(person, kept) for person, kept in await people.totp_secrets(tx) if not is_locked(kept)]
    for person, secret in plain:
        await people.keep_totp(tx, person, seal.lock(person, secret))
    return len(plain)


async def lock_anew(tx: Tx, former: Seal, seal: Seal) -> None:
    """Lock by a new key what the former one had locked.

    What that does not open is left: its owner needs a link (`kassa user link --email … --lost`).
    """
    for person, kept in await people.totp_secrets(tx):
        secret = former.unlock(person, kept) if is_locked(kept) else None
        if secret is not None:
            await people.keep_totp(tx, person, seal.lock(person, secret))
