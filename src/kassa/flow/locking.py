"""Secrets of people that the database holds locked: the ones that are not yet, and those of a key that is replaced."""

import kassa.people.store as people
from kassa.db.pool import Tx
from kassa.wallets.seal import Seal, is_locked


async def lock_secrets(tx: Tx, seal: Seal, former: Seal | None = None) -> int:
    """Lock the secrets of everybody's app by a key: what stands there plain, and what a former key had locked.

    Return how many were. What neither key opens is left: its owner needs a link (`kassa user link --email … --lost`).
    """
    done = 0
    for person, kept in await people.totp_secrets(tx):
        secret = kept
        if is_locked(kept):
            opened = None if former is None else former.unlock(person, kept)
            if opened is None:
                continue
            secret = opened
        await people.keep_totp(tx, person, seal.lock(person, secret))
        done += 1
    return done
