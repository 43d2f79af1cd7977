"""Ether that balances grew by: what is left to see where a node shows no internal transfers."""

from collections.abc import Iterable, Mapping, Sequence

from kassa.chains.evm.hexadecimal import number
from kassa.chains.evm.matching import Fetched
from kassa.chains.evm.messages import Names
from kassa.chains.evm.state import is_gone
from kassa.chains.rpc import Fault, JsonRpc
from kassa.core.facts import BY_BALANCE, Transaction, Transfer, TransferKey

_BLOCKS_HELD = 2


class Balances:
    """Balances of the coin by block hash: what a block ends with, the next begins with, and is not asked for twice."""

    def __init__(self, rpc: JsonRpc, names: Names) -> None:
        self._rpc = rpc
        self._names = names
        self._held: dict[str, dict[bytes, int]] = {}

    async def unexplained(
        self, fetched: Fetched, addresses: Sequence[bytes], transactions: Iterable[Transaction]
    ) -> tuple[Transaction, ...] | None:
        """Return what these addresses' balances grew by beyond the transfers that are known.

        None where the node no longer has the state of the block or of the one before. Nobody can say which transaction
        did it: the transfer bears the block's hash in the place of a transaction id.
        """
        if not addresses or fetched.ref.height == 0:
            return ()
        before = await self._at(fetched.body.parent, addresses)
        after = None if before is None else await self._at(fetched.body.hash, addresses)
        if before is None or after is None:
            return None
        known: dict[bytes, int] = {}
        for transaction in transactions:
            for transfer in transaction.transfers:
                if transfer.asset == self._names.coin:
                    known[transfer.to] = known.get(transfer.to, 0) + transfer.units
        grown = {to: after[to] - before[to] - known.get(to, 0) for to in addresses}
        transfers = tuple([self._transfer(fetched, to, units) for to, units in grown.items() if units > 0])
        return (Transaction(fetched.body.hash, transfers, ()),) if transfers else ()

    def _transfer(self, fetched: Fetched, to: bytes, units: int) -> Transfer:
        key = TransferKey(self._names.network, fetched.body.hash, f"{BY_BALANCE}0x{to.hex()}")
        return Transfer(key, to, self._names.coin, units)

    async def _at(self, block: str, addresses: Sequence[bytes]) -> Mapping[bytes, int] | None:
        """Return balances after a block, asking for those alone that are not known of it."""
        held = self._held.setdefault(block, {})
        missing = [to for to in addresses if to not in held]
        method = "eth_getBalance"
        answers = await self._rpc.batch_raw([(method, (f"0x{to.hex()}", {"blockHash": block})) for to in missing])
        if any(isinstance(answer, Fault) and is_gone(answer) for answer in answers):
            return None
        held |= {to: number(self._rpc.take(str, answer, method)) for to, answer in zip(missing, answers, strict=True)}
        while len(self._held) > _BLOCKS_HELD:
            del self._held[next(iter(self._held))]
        return held
