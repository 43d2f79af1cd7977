"""What the node's mempool holds that may concern us, kept from one look to the next.

A transaction is fetched once, when its id first appears. Of those that do not concern us only the 64-bit keys are kept,
because what we watch grows: an outpoint becomes watched when a payment that spends it is booked, and a rival of that
payment may have been seen before it (the payment came in a block that was reorganised away, and the rival was back in
the mempool before the next look). When the watched keys have grown, the kept keys are compared with the new ones, and a
match is fetched again.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from kassa.chains.base import Keys, Watched
from kassa.chains.bitcoin.ancestors import Ancestors
from kassa.chains.bitcoin.transactions import Names, RawTransaction, describe, read_transaction, transaction_keys
from kassa.chains.matching import NO_KEYS, members
from kassa.chains.rpc import Fault, JsonRpc
from kassa.core.errors import ChainUnavailable
from kassa.core.facts import Ancestor, Transaction

FETCHED_AT_ONCE = 100
MOST_ANCESTORS = 2
"""Unconfirmed transactions that one may spend from, itself or through others, and still be taken without a block."""
LOOK_SECONDS = 10.0  # a look that takes longer ends incomplete and is continued by the next

_NO_OWNERS = np.empty(0, np.int32)


class _Info(msgspec.Struct):
    """What we read of `getmempoolinfo`. Fee rates are whole coins for 1000 virtual bytes."""

    loaded: bool
    mempoolminfee: Decimal
    fullrbf: bool | None = None
    limitclustercount: int | None = None

    @property
    def replaces_all(self) -> bool:
        """Whether the node lets any transaction be replaced, whatever it signals.

        Bitcoin Core 31, the first to limit clusters, no longer says so: it knows no other policy.
        """
        return self.limitclustercount is not None if self.fullrbf is None else self.fullrbf


class _Fees(msgspec.Struct):
    base: Decimal


class _Entry(msgspec.Struct):
    """What we read of `getmempoolentry`; what it signals includes the unconfirmed ancestors' signals."""

    time: Annotated[int, msgspec.Meta(ge=0, le=2**32)]
    vsize: int | None = None
    ancestorcount: int | None = None  # with itself
    fees: _Fees | None = None
    signals: bool | None = msgspec.field(name="bip125-replaceable", default=None)

    def may_fall_out(self, least: Decimal) -> bool:
        """Whether it pays so little, or hangs on so many, that mempools may drop it; what is not said counts for that.

        Anything can then take its place.
        """
        if self.vsize is None or self.ancestorcount is None or self.fees is None:
            return True
        return self.fees.base * 1000 < least * self.vsize or self.ancestorcount > 1 + MOST_ANCESTORS


Txid = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
TxidList = list[Txid]


class Mempool:
    """The memory behind `pending`."""

    def __init__(self, rpc: JsonRpc, names: Names) -> None:
        self._rpc = rpc
        self._names = names
        self._seen = _Seen()
        self._ancestors = Ancestors(self._fetch)
        self._ours: dict[str, Transaction] = {}
        self._verdicts: set[str] = set()
        self._judged: set[str] = set()  # at the tip `_judged_at`
        self._judged_at = ""
        self._destinations = NO_KEYS
        self._outpoints = NO_KEYS

    def concerns_us(self, txid: str) -> bool:
        """Tell whether the last look reported this transaction."""
        return txid in self._ours

    async def look(self, watched: Watched) -> tuple[bool, tuple[Transaction, ...]]:
        """Return whether the whole mempool was read, and the transactions in it that touch a watched key."""
        info, listed, tip = await self._listing()
        self._forget(listed)
        complete = await self._fetch_new(listed, watched) and info.loaded
        await self._match_grown(watched)
        await self._judge(tip, info)
        return complete, tuple(self._ours.values())

    async def _listing(self) -> tuple[_Info, TxidList, str]:
        # In this order: a mempool that says it is loaded was so when it was listed.
        names = ("getmempoolinfo", "getrawmempool", "getbestblockhash")
        answers = []
        for method, answer in zip(names, await self._rpc.batch_raw([(name, ()) for name in names]), strict=True):
            if isinstance(answer, Fault):
                raise self._rpc.refused(method, answer)
            answers.append(answer)
        info = self._rpc.read(_Info, answers[0], names[0])
        listed = self._rpc.read(TxidList, answers[1], names[1])
        return info, listed, self._rpc.read(Txid, answers[2], names[2])

    def _forget(self, listed: TxidList) -> None:
        gone = self._seen.keep_only(listed)
        self._ancestors.forget(gone)
        for txid in gone:
            self._ours.pop(txid, None)
            self._verdicts.discard(txid)
            self._judged.discard(txid)

    async def _fetch_new(self, listed: TxidList, watched: Watched) -> bool:
        """Fetch and match what appeared since the last look; tell whether all of it was done in time."""
        new = [txid for txid in listed if txid not in self._seen]
        deadline = asyncio.get_running_loop().time() + LOOK_SECONDS
        for start in range(0, len(new), FETCHED_AT_ONCE):
            if start and asyncio.get_running_loop().time() > deadline:
                return False
            fetched = await self._fetch(new[start : start + FETCHED_AT_ONCE])
            await watched.refresh()
            hits = self._seen.add(fetched, watched.destinations, watched.outpoints)
            self._adopt([fetched[hit] for hit in hits], watched)
        if not new:
            await watched.refresh()
        return True

    async def _match_grown(self, watched: Watched) -> None:
        """Compare what was seen before with the keys that were not watched then."""
        destinations, outpoints = watched.destinations, watched.outpoints
        if destinations is self._destinations and outpoints is self._outpoints:
            return
        txids = self._seen.matching(
            _grown(self._destinations, destinations, self._seen.size),
            _grown(self._outpoints, outpoints, self._seen.size),
        )
        for start in range(0, len(txids), FETCHED_AT_ONCE):
            self._adopt(await self._fetch(txids[start : start + FETCHED_AT_ONCE]), watched)
        self._destinations, self._outpoints = destinations, outpoints

    def _adopt(self, transactions: Iterable[RawTransaction], watched: Watched) -> None:
        for raw in transactions:
            described = describe(raw, watched.destinations, self._names)
            if raw.txid in self._verdicts:
                held = self._ours[raw.txid]
                described = replace(
                    described,
                    replaceable=held.replaceable,
                    first_seen_at=held.first_seen_at,
                    ancestors=held.ancestors,
                )
            self._ours[raw.txid] = described
            self._judged.discard(raw.txid)

    async def _fetch(self, txids: Sequence[str]) -> list[RawTransaction]:
        """Fetch and decode transactions; those that left the mempool meanwhile are left out."""
        answers = await self._rpc.batch(str, [("getrawtransaction", (txid, False)) for txid in txids])
        return [_decode(txid, raw) for txid, raw in zip(txids, answers, strict=True) if isinstance(raw, str)]

    async def _judge(self, tip: str, info: _Info) -> None:
        """Ask when the node took our transactions in, and whether others can take their place.

        Ancestors leave when a block confirms them, so everything is asked again at each new tip.
        """
        if tip != self._judged_at:
            self._judged.clear()
            self._judged_at = tip
        unjudged = [txid for txid in self._ours if txid not in self._judged]
        for start in range(0, len(unjudged), FETCHED_AT_ONCE):
            txids = unjudged[start : start + FETCHED_AT_ONCE]
            answers = await self._rpc.batch(_Entry, [("getmempoolentry", (txid,)) for txid in txids])
            for txid, entry in zip(txids, answers, strict=True):
                ours = self._ours[txid]
                if isinstance(entry, Fault):
                    # It has just left the mempool, or so the node says. Asked again: what was never judged is not
                    # trusted until then, and no refusal takes a verdict back. Whatever replaces it will be seen itself.
                    if txid not in self._verdicts:
                        self._ours[txid] = replace(ours, replaceable=True)
                    continue
                self._ours[txid] = replace(
                    ours,
                    replaceable=info.replaces_all
                    or (ours.replaceable if entry.signals is None else entry.signals)
                    or entry.may_fall_out(info.mempoolminfee),
                    first_seen_at=datetime.fromtimestamp(entry.time, UTC),
                    ancestors=await self._ancestors_of(ours, entry),
                )
                self._verdicts.add(txid)
                self._judged.add(txid)

    async def _ancestors_of(self, ours: Transaction, entry: _Entry) -> tuple[Ancestor, ...]:
        if not ours.transfers or entry.ancestorcount == 1:
            return ()
        return await self._ancestors.of(ours.inputs, self._seen)


class _Seen:
    """The ids in the mempool, and the keys of each transaction in flat arrays: about 200 bytes for a transaction."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._txids: list[str] = []
        self._pays, self._paid_by = NO_KEYS, _NO_OWNERS
        self._spends, self._spent_by = NO_KEYS, _NO_OWNERS

    def __contains__(self, txid: object) -> bool:
        return txid in self._numbers

    @property
    def size(self) -> int:
        return int(self._pays.size + self._spends.size)

    def keep_only(self, listed: TxidList) -> list[str]:
        """Forget every transaction that is not listed; return the forgotten."""
        gone = list(self._numbers.keys() - set(listed))
        for txid in gone:
            del self._numbers[txid]
        if len(self._txids) > 2 * len(self._numbers) + 1000:
            self._compact()
        return gone

    def add(self, fetched: Sequence[RawTransaction], destinations: Keys, outpoints: Keys) -> list[int]:
        """Keep the keys of new transactions; return the places of those that touch a watched key."""
        base = len(self._txids)
        keys = [transaction_keys(raw) for raw in fetched]
        pays, paid_by = _flat([pair[0] for pair in keys])
        spends, spent_by = _flat([pair[1] for pair in keys])
        for number, raw in enumerate(fetched, base):
            self._numbers[raw.txid] = number
            self._txids.append(raw.txid)
        self._pays, self._paid_by = np.concatenate((self._pays, pays)), np.concatenate((self._paid_by, paid_by + base))
        self._spends = np.concatenate((self._spends, spends))
        self._spent_by = np.concatenate((self._spent_by, spent_by + base))
        hits = {*paid_by[members(pays, destinations)].tolist(), *spent_by[members(spends, outpoints)].tolist()}
        return sorted(hits)

    def matching(self, destinations: Keys, outpoints: Keys) -> list[str]:
        """Return the ids of the transactions that pay or spend one of these keys."""
        numbers = {
            *self._paid_by[members(self._pays, destinations)].tolist(),
            *self._spent_by[members(self._spends, outpoints)].tolist(),
        }
        return [txid for number in sorted(numbers) if self._numbers.get(txid := self._txids[number]) == number]

    def _compact(self) -> None:
        kept = sorted(self._numbers.values())
        renumbered = np.full(len(self._txids), -1, np.int32)
        renumbered[kept] = np.arange(len(kept), dtype=np.int32)
        self._txids = [self._txids[number] for number in kept]
        self._numbers = {txid: number for number, txid in enumerate(self._txids)}
        self._pays, self._paid_by = _alive(self._pays, renumbered[self._paid_by])
        self._spends, self._spent_by = _alive(self._spends, renumbered[self._spent_by])


def _alive(keys: Keys, owners: NDArray[np.int32]) -> tuple[Keys, NDArray[np.int32]]:
    kept = owners >= 0
    return keys[kept], owners[kept]


def _flat(parts: Sequence[Keys]) -> tuple[Keys, NDArray[np.int32]]:
    if not parts:
        return NO_KEYS, _NO_OWNERS
    return np.concatenate(parts), np.repeat(np.arange(len(parts), dtype=np.int32), [part.size for part in parts])


def _grown(before: Keys, now: Keys, seen: int) -> Keys:
    """Return the keys that are new in `now`, or all of them where comparing everything costs less than finding out."""
    if before is now:
        return NO_KEYS
    if seen * 8 < now.size or not before.size:
        return now
    return now[~members(now, before)]


def _decode(txid: str, raw: str) -> RawTransaction:
    try:
        decoded = read_transaction(bytes.fromhex(raw), alone=True)
    except ValueError as error:
        raise ChainUnavailable(f"transaction {txid} arrived damaged ({error}): asking again") from None
    if decoded.txid == txid:
        return decoded
    if decoded.outpoints or decoded.outputs:
        raise ChainUnavailable(f"the node answered with another transaction than {txid}")
    return replace(decoded, txid=txid)  # wholly inside MWEB: see read_transaction
