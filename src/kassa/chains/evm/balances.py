"""Ether that balances grew by: what is left to see where a node shows no internal transfers."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kassa.chains.evm.hexadecimal import data, number
from kassa.chains.evm.matching import SUCCEEDED, Fetched
from kassa.chains.evm.messages import Names, Receipt, Tx
from kassa.chains.evm.state import is_gone
from kassa.chains.rpc import Fault, JsonRpc
from kassa.core.facts import BY_BALANCE, Transaction, Transfer, TransferKey, Unseen

_BLOCKS_HELD = 2
_SIGNED = range(5)  # legacy, EIP-2930, EIP-1559, EIP-4844, EIP-7702


@dataclass(frozen=True, slots=True)
class Grown:
    """What balances grew by in a block, and why that may not be all."""

    transactions: tuple[Transaction, ...] = ()
    unseen: Unseen | None = None


def senders(fetched: Fetched, addresses: Collection[bytes]) -> list[Tx]:
    """Return a block's transactions that some of these addresses sent: their receipts tell what that cost."""
    wanted = {f"0x{address.hex()}" for address in addresses}
    return [tx for tx in fetched.body.transactions if tx.sender.lower() in wanted]


class Balances:
    """Balances of the coin by block hash: what a block ends with, the next begins with, and is not asked for twice."""

    def __init__(self, rpc: JsonRpc, names: Names) -> None:
        self._rpc = rpc
        self._names = names
        self._held: dict[str, dict[bytes, int]] = {}

    async def unexplained(
        self, fetched: Fetched, addresses: Sequence[bytes], transactions: Iterable[Transaction]
    ) -> Grown:
        """Return what these addresses' balances grew by beyond the transfers that are known and what they sent.

        A block with transactions of theirs must have its receipts. Nobody can say which transaction did it: the
        transfer bears the block's hash in the place of a transaction id.
        """
        if not addresses or fetched.ref.height == 0:
            return Grown()
        before = await self._at(fetched.body.parent, addresses)
        after = None if before is None else await self._at(fetched.body.hash, addresses)
        if before is None or after is None:
            return Grown(unseen=Unseen.STATE_GONE)
        known = {to: -units for to, units in _sent(fetched, addresses).items()}
        for transaction in transactions:
            for transfer in transaction.transfers:
                if transfer.asset == self._names.coin:
                    known[transfer.to] = known.get(transfer.to, 0) + transfer.units
        grown = {to: after[to] - before[to] - known.get(to, 0) for to in addresses}
        transfers = tuple([self._transfer(fetched, to, units) for to, units in grown.items() if units > 0])
        found = (Transaction(fetched.body.hash, transfers, ()),) if transfers else ()
        # More left an address than its own transactions moved, or nobody can say what they did: what came in beside
        # that cannot be told.
        hidden = any(units < 0 for units in grown.values()) or not all(map(_is_signed, senders(fetched, addresses)))
        return Grown(found, Unseen.SPENT if hidden else None)

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


def _sent(fetched: Fetched, addresses: Collection[bytes]) -> dict[bytes, int]:
    """Return what transactions of these addresses took from them, in wei: value, gas, and a rollup's fee for data.

    A cost that a receipt does not tell is left out, and so is what a rollup does in an address's name: too little is
    added back, never too much.
    """
    sent: dict[bytes, int] = {}
    for tx in filter(_is_signed, senders(fetched, addresses)):
        receipt = (fetched.receipts or {})[tx.hash]
        moved = receipt.status == SUCCEEDED and (tx.to or "").lower() != tx.sender.lower()
        sender = data(tx.sender, 20)
        sent[sender] = sent.get(sender, 0) + _fee(receipt) + (number(tx.value) if moved else 0)
    return sent


def _is_signed(tx: Tx) -> bool:
    """Tell whether a transaction is of a kind by which its sender spends what it had, and pays gas in the coin.

    A rollup has others: a deposit (the OP Stack's type 0x7e) first gives its sender what it then moves.
    """
    return number(tx.kind or "0x0") in _SIGNED


def _fee(receipt: Receipt) -> int:
    """Return what a transaction cost its sender beyond its value, in wei (EIP-1559; data and operator: the OP Stack).

    An operator's fee is gas times a scalar and a constant: in millionths since Isthmus, in hundreds since Jovian, whose
    receipts name the scalar of the data's footprint. (`l1Fee` is without it.)
    """
    used = number(receipt.gas_used or "0x0")
    scaled = used * number(receipt.operator_scalar or "0x0")
    operator = scaled // 1_000_000 if receipt.footprint_scalar is None else scaled * 100
    fees = number(receipt.data_fee or "0x0") + operator + number(receipt.operator_constant or "0x0")
    return used * number(receipt.gas_price or "0x0") + fees
