"""The next index of each keychain as this process believes it to be: a guess, which the database confirms or refuses.

An invoice that guessed right takes its index in the statement that writes it, and needs no question before. A guess is
wrong when another process, or a deposit address, took the index meanwhile.
"""

from datetime import datetime, timedelta

from kassa.wallets.model import Wallet

RESERVED = timedelta(seconds=10)
"""For how long after a wrong guess a keychain is asked first: others work with it too, and each loss costs a turn."""


class Guesses:
    """Guesses of one process. Nothing depends on them but speed: what is lost with it is read anew."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._asked_until: dict[int, datetime] = {}

    def next(self, wallet: Wallet, now: datetime) -> int | None:
        """Return the lowest index that nobody here took, or None when the keychain has to be asked.

        `wallet` was read some seconds ago at most: what others had taken until then is known by it.
        """
        if self.is_asked_first(wallet.keychain_id, now):
            return None
        index = max(self._next.get(wallet.keychain_id, 0), wallet.next_index)
        return index if index < 2**31 else None

    def is_asked_first(self, keychain: int, now: datetime) -> bool:
        """Tell whether a keychain is to be asked for its next index, since a guess was refused lately."""
        until = self._asked_until.get(keychain)
        return until is not None and until > now

    def take(self, keychain: int, index: int) -> None:
        """Give an index to an invoice that is put in line to be written now, before anyone takes another."""
        self._next[keychain] = index + 1

    def wrong(self, keychain: int, now: datetime) -> None:
        """Take note that a guess was refused."""
        self._next.pop(keychain, None)
        self._asked_until[keychain] = now + RESERVED
