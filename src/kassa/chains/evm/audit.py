"""What reached our addresses, from balances at one block: no block, receipt or trace is read, as the follower does."""

from collections.abc import Mapping, Sequence

import msgspec

from kassa.chains.base import Connection
from kassa.chains.evm.hexadecimal import data, number
from kassa.chains.rpc import Call, Fault, JsonRpc
from kassa.core.audits import Claim, Received, Tell
from kassa.core.errors import ChainMoved
from kassa.core.facts import BlockRef

AT_ONCE = 100
_BALANCE_OF = "0x70a08231"  # balanceOf(address)
_TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"  # Transfer(address,address,uint256)


class _Block(msgspec.Struct):
    hash: str


class _Log(msgspec.Struct):
    """What we read of a log that an ERC-20 contract wrote of a transfer."""

    data: str
    removed: bool = False


class EvmAuditor:
    """An `Auditor`.

    An address that never sent anything (its count of transactions is zero) holds all the coin that reached it. Of one
    that did, only as much is known as it holds. Tokens move without that count, but not without a log.
    """

    def __init__(self, connection: Connection, coin: str, contracts: Mapping[str, bytes]) -> None:
        self._rpc = JsonRpc(connection.rpc_url)
        self._coin = coin
        self._contracts = {asset: f"0x{contract.hex()}" for asset, contract in contracts.items()}

    async def close(self) -> None:
        """Close every connection."""
        await self._rpc.close()

    async def received(self, tip: BlockRef, first: int, claims: Sequence[Claim], tell: Tell) -> Sequence[Received]:
        """See `Auditor`. The state of `tip` is asked for by its hash (EIP-1898)."""
        await self._check(tip)
        found: list[Received] = []
        for begin in range(0, len(claims), AT_ONCE):
            part = claims[begin : begin + AT_ONCE]
            answers = iter(await self._rpc.batch_raw([call for claim in part for call in self._calls(claim, tip)]))
            found += [await self._one(claim, next(answers), next(answers), tip, first) for claim in part]
            tell(len(found), len(claims))
        await self._check(tip)
        return found

    async def _check(self, tip: BlockRef) -> None:
        block = await self._rpc.call(_Block | None, "eth_getBlockByNumber", hex(tip.height), False)  # type: ignore[arg-type]
        if block is None or block.hash != tip.hash:
            raise ChainMoved(f"block {tip.hash} is not in the best chain of {self._rpc.node}")

    def _calls(self, claim: Claim, tip: BlockRef) -> Sequence[Call]:
        owner, block = f"0x{claim.script.hex()}", {"blockHash": tip.hash}
        count = ("eth_getTransactionCount", (owner, block))
        if claim.asset == self._coin:
            return ("eth_getBalance", (owner, block)), count
        asked = {"to": self._contracts[claim.asset], "data": f"{_BALANCE_OF}{claim.script.hex():0>64}"}
        return ("eth_call", (asked, block)), count

    async def _one(
        self, claim: Claim, balance: bytes | Fault, count: bytes | Fault, tip: BlockRef, first: int
    ) -> Received:
        if claim.asset == self._coin:
            held = number(self._rpc.take(str, balance, "eth_getBalance"))
            sent = number(self._rpc.take(str, count, "eth_getTransactionCount"))
            return Received(held, exact=not sent)
        said = data(self._rpc.take(str, balance, "eth_call"))
        held = int.from_bytes(said) if len(said) == 32 else 0  # no contract there
        if held == claim.units:
            return Received(held)
        return await self._with_sent(claim, held, tip, first)

    async def _with_sent(self, claim: Claim, held: int, tip: BlockRef, first: int) -> Received:
        """Add what the address's owner has sent on, by the contract's own logs; not exact where the node has none."""
        asked = {
            "address": self._contracts[claim.asset],
            "fromBlock": hex(first),
            "toBlock": hex(tip.height),
            "topics": [_TRANSFER, f"0x{claim.script.hex():0>64}"],
        }
        (logs,) = await self._rpc.batch(list[_Log], [("eth_getLogs", (asked,))])
        if isinstance(logs, Fault):
            return Received(held, exact=False)
        return Received(held + sum(int.from_bytes(data(log.data, 32)) for log in logs if not log.removed))
