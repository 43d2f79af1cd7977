"""The unconfirmed transactions that ours hang on: whatever else spends an output that one of them spends ends ours.

Nothing here is taken on a node's word: a parent is named by the id in an input, and its bytes must have that id. A node
can only leave a parent out; its payment is then missed as any other that has vanished.
"""

from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence

from kassa.chains.bitcoin.transactions import RawTransaction, inputs_of
from kassa.core.facts import Ancestor, Input

MOST_FOLLOWED = 64
"""Ancestors that are followed for one transaction: as many as a cluster of Bitcoin Core 31 may have; before, 25."""

Fetch = Callable[[Sequence[str]], Awaitable[Sequence[RawTransaction]]]


class Ancestors:
    """Those read before, as long as they wait in the mempool."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._known: dict[str, Ancestor] = {}

    def forget(self, txids: Iterable[str]) -> None:
        """Forget what has left the mempool."""
        for txid in txids:
            self._known.pop(txid, None)

    async def of(self, inputs: Sequence[Input], waiting: Container[str]) -> tuple[Ancestor, ...]:
        """Return the ancestors among what is `waiting`, the nearest first; `MOST_FOLLOWED` at most."""
        found: dict[str, Ancestor] = {}
        nearest = _parents(inputs)
        while nearest := [txid for txid in nearest if txid in waiting and txid not in found]:
            nearest = nearest[: MOST_FOLLOWED - len(found)]
            await self._learn([txid for txid in nearest if txid not in self._known])
            generation = [self._known[txid] for txid in nearest if txid in self._known]
            found |= {each.txid: each for each in generation}
            nearest = _parents([spent for each in generation for spent in each.inputs])
        return tuple(found.values())

    async def _learn(self, txids: Sequence[str]) -> None:
        if txids:
            self._known |= {raw.txid: Ancestor(raw.txid, inputs_of(raw)) for raw in await self._fetch(txids)}


async def ancestors_among(
    made: Mapping[str, RawTransaction], needed: Mapping[str, Sequence[Input]]
) -> dict[str, tuple[Ancestor, ...]]:
    """Return which of some transactions (by id) ours hang on; `needed`: what ours spend, by their ids."""

    async def fetch(txids: Sequence[str]) -> Sequence[RawTransaction]:
        return [made[txid] for txid in txids]

    among = Ancestors(fetch)
    return {txid: await among.of(inputs, made) for txid, inputs in needed.items()}


def _parents(inputs: Sequence[Input]) -> list[str]:
    return list(dict.fromkeys(spent.outpoint.partition(":")[0] for spent in inputs))
