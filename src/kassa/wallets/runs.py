"""The bound of addresses in a row that nobody paid: a signing wallet looks only so far ahead for what is paid next.

Kept in the memory of a process, so that no order waits for a question; `workers/count_unpaid` reads it anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kassa.core.errors import Throttled
from kassa.wallets.model import Wallet

_MOST_TAKERS = 10_000
_RETRY_SECONDS = 60


@dataclass(slots=True)
class _Run:
    """`paid`: the highest index that was paid in a block; None: not read yet. `next_index`: what is taken next."""

    next_index: int = 0
    paid: int | None = None
    takers: dict[str, int] = field(default_factory=dict)
    touched: bool = False


class UnpaidRuns:
    """The runs of the keychains for which this process issues addresses.

    `bound`: how many addresses in a row may be unpaid; 0: any number.
    """

    def __init__(self, bound: int = 0) -> None:
        self._bound = bound
        self._runs: dict[int, _Run] = {}

    def take(self, wallets: Iterable[Wallet], by: str) -> None:
        """Count one more address of each wallet for whoever orders it; raises `Throttled` when there is no room.

        What is refused is counted nowhere. What is taken and then not used is put right when the run is read anew.
        """
        bound = self._bound
        if bound == 0:
            return
        runs = []
        for wallet in wallets:
            run = self._runs.setdefault(wallet.keychain_id, _Run())
            run.next_index, run.touched = max(run.next_index, wallet.next_index), True
            if run.paid is not None and not has_room(run.next_index - 1 - run.paid, bound, by, run.takers):
                raise Throttled(_refusal(wallet.network, bound), seconds=_RETRY_SECONDS, code="too_many_unpaid")
            runs.append(run)
        for run in runs:
            run.next_index += 1
            if by in run.takers or len(run.takers) < _MOST_TAKERS:
                run.takers[by] = run.takers.get(by, 0) + 1

    def to_read(self) -> list[int]:
        """Return the keychains that were asked for addresses of late, and of which it matters how far they are."""
        near = self._bound // 4
        return [
            keychain
            for keychain, run in self._runs.items()
            if run.touched and (run.paid is None or run.next_index - 1 - run.paid >= near)
        ]

    def read_back(self) -> int:
        """Return how far back it is worth to look for a paid address."""
        return self._bound

    def know(self, keychain: int, next_index: int, paid: int) -> None:
        """Take note of how far a keychain is; with a payment all begin anew."""
        run = self._runs.setdefault(keychain, _Run())
        if run.paid is not None and paid > run.paid and paid >= next_index - self.read_back():
            run.takers.clear()
        run.next_index, run.paid, run.touched = next_index, paid, False


def has_room(length: int, bound: int, by: str, takers: dict[str, int]) -> bool:
    """Tell whether somebody may take one more address of a run.

    In the second half of the bound, whoever took their share already is refused before those who did not.
    """
    if length >= bound:
        return False
    share = bound // max(1, len(takers.keys() | {by}))
    return length < bound // 2 or takers.get(by, 0) < max(1, share)


def _refusal(network: str, bound: int) -> str:
    return (
        f"nearly {bound} addresses in a row on {network} were not paid, and the store's own wallet may look no further:"
        " no more are given out until one of them is paid in a block. The operator can pay the newest one, or raise the"
        " gap limit of the wallet and then limits.unpaid_addresses"
    )
