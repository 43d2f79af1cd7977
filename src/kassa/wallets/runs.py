"""The bound of addresses in a row that nobody paid: a signing wallet looks only so far ahead for what is paid next.

Kept in the memory of a process, so that no order waits for a question; `workers/count_unpaid` reads it anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from kassa.core.errors import Throttled
from kassa.wallets.model import Known, Taker, Wallet

_MOST_TAKERS = 10_000
_RETRY_SECONDS = 60
_KNOWN_SECONDS = 0.5
_UNREAD = 16
"""So many payers of links take an address before it was read how far the keychain is: a crowd comes within moments."""
Counted = tuple[int, int]
"""How many addresses of a keychain were counted here, ever: all, and those of links."""


@dataclass(slots=True)
class _Run:
    """A keychain's run, and who took how many of it.

    `before`: the index before the run; None: not read yet. What a counter jumped over belongs to no run, so this is not
    always an index that was paid. `takers` are those of the store's own side, `payers` those of its payment links.
    `counted` never falls.
    """

    bound: int
    next_index: int = 0
    before: int | None = None
    paid: int = -1
    links: int = 0
    takers: dict[str, int] = field(default_factory=dict)
    payers: dict[str, int] = field(default_factory=dict)
    touched: bool = False
    read_at: float = 0
    counted: Counted = (0, 0)

    @property
    def length(self) -> int:
        return 0 if self.before is None else self.next_index - 1 - self.before


class UnpaidRuns:
    """The runs of the keychains for which this process issues addresses.

    `test` and `live`: how many addresses in a row may be unpaid in stores of that mode; 0: any number. With
    `links_only` payers of links alone are bounded, by the unpaid addresses that links took.
    """

    def __init__(self, test: int = 0, live: int = 0, *, links_only: bool = False) -> None:
        self._bounds = test, live
        self._links_only = links_only
        self._runs: dict[int, _Run] = {}

    def take(
        self, wallets: Iterable[Wallet], by: Taker, *, livemode: bool, counted: bool = False, whole: bool = False
    ) -> frozenset[int]:
        """Count one more address of each keychain that has room for whoever orders, and return these keychains.

        Raises `Throttled` when none has, or (`whole`) not all have; nothing is counted then. What is taken and then not
        used is put right when the run is read anew; with `counted` it was counted before.
        """
        bound, chosen = self._bounds[livemode], list(wallets)
        if bound == 0 or (self._links_only and not by.link):
            return frozenset(wallet.keychain_id for wallet in chosen)
        taken: dict[int, _Run] = {}
        for wallet in chosen:
            run = self._runs.setdefault(wallet.keychain_id, _Run(bound))
            run.next_index, run.touched = max(run.next_index, wallet.next_index), True
            length = run.links if self._links_only else run.length
            if run.before is None:
                room = not by.link or run.counted[1] < _UNREAD
            else:
                room = has_room(length, bound, by, run.takers, run.payers, run.links)
            if room:
                taken[wallet.keychain_id] = run
        full = [wallet for wallet in chosen if wallet.keychain_id not in taken]
        if full and (whole or not taken):
            raise Throttled(_refusal(full, bound), seconds=_RETRY_SECONDS, code="too_many_unpaid")
        for run in taken.values() if not counted else ():
            _count(run, by)
        return frozenset(taken)

    def to_read(self) -> list[tuple[int, int]]:
        """Return the keychains that were asked for addresses of late and matter, with how far back to look."""
        return [
            (keychain, run.bound)
            for keychain, run in self._runs.items()
            if run.touched and (run.before is None or run.length >= run.bound // 4)
        ]

    def to_read_again(self, wallets: Iterable[Wallet]) -> list[tuple[int, int]]:
        """Return those keychains of wallets of which it is no longer known what holds now, as `to_read` does.

        However many are refused, each is read only so often for that.
        """
        now, found = monotonic(), {}
        for wallet in wallets:
            run = self._runs[wallet.keychain_id]
            if now - run.read_at >= _KNOWN_SECONDS:
                run.read_at, found[wallet.keychain_id] = now, run.bound
        return list(found.items())

    def counted(self, keychains: Iterable[int]) -> dict[int, Counted]:
        """Return what was counted of keychains so far; to be asked before they are read."""
        return {keychain: self._runs[keychain].counted for keychain in keychains}

    def know(self, known: Known, counted: Counted | None = None) -> None:
        """Take note of how far a keychain is; with a payment all takers begin anew.

        What was counted since (`counted`: before it was read) may not be in it, and comes on top until the next time:
        a crowd takes many addresses while a busy database answers.
        """
        run = self._runs[known.keychain_id]
        since, by_links = (now - then for now, then in zip(run.counted, counted or run.counted, strict=True))
        if known.paid > run.paid:
            run.takers.clear()
            run.payers.clear()
        run.next_index, run.before = known.next_index + since, known.next_index - 1 - known.unpaid
        run.paid, run.links, run.touched, run.read_at = known.paid, known.by_links + by_links, since > 0, monotonic()


def has_room(
    length: int, bound: int, by: Taker, takers: Mapping[str, int], payers: Mapping[str, int], links: int
) -> bool:
    """Tell whether somebody may take one more address of a run.

    Payers of links, whoever they are, get half of the bound at most, so they never shut out the store's own orders. In
    the second half of what its side may have, whoever took an equal share already is refused before the others.
    """
    if length >= bound:
        return False
    half = max(1, bound // 2)
    if by.link:
        return links < half and _is_fair(links, half, by.id, payers)
    return _is_fair(length, bound, by.id, takers, bound - links)


def _is_fair(length: int, bound: int, who: str, taken: Mapping[str, int], shared: int | None = None) -> bool:
    share = (bound if shared is None else shared) // len(taken.keys() | {who})
    return length < bound // 2 or taken.get(who, 0) < max(1, share)


def _count(run: _Run, by: Taker) -> None:
    run.next_index += 1
    run.links += by.link
    run.counted = run.counted[0] + 1, run.counted[1] + by.link
    taken = run.payers if by.link else run.takers
    if by.id in taken or len(taken) < _MOST_TAKERS:
        taken[by.id] = taken.get(by.id, 0) + 1


def _refusal(wallets: Iterable[Wallet], bound: int) -> str:
    networks = ", ".join(sorted({wallet.network for wallet in wallets}))
    return (
        f"nearly {bound} addresses in a row on {networks} were not paid, and the wallet that signs may look no further:"
        " no more are given out until one of them is paid in a block. The operator can pay the newest one, or raise the"
        " gap limit of that wallet and then limits.unpaid_addresses"
    )
