"""What a node can be asked beyond the usual: whole blocks of receipts, and what contracts moved."""

from dataclasses import dataclass

from kassa.chains.evm.messages import Header, Names
from kassa.chains.rpc import JsonRpc
from kassa.core.errors import ChainInvalid

CALL_TRACER = {"tracer": "callTracer"}


@dataclass(frozen=True, slots=True)
class Abilities:
    """`internal` is how transfers inside transactions are seen: "trace", "debug", "balances" or "off"."""

    block_receipts: bool
    internal: str


async def learn(rpc: JsonRpc, names: Names, internal: str) -> Abilities:
    """Find out by asking about the latest block; raise `ChainInvalid` if the node cannot do what the settings want."""
    latest = await rpc.call(Header, "eth_getBlockByNumber", "latest", False)
    receipts = await rpc.knows("eth_getBlockReceipts", latest.hash)
    if names.tokens and not await rpc.knows("eth_getBalance", f"0x{0:040x}", {"blockHash": latest.hash}):
        raise ChainInvalid(f"{rpc.node} cannot be asked about a block's state by its hash (EIP-1898): use another node")
    if internal in ("auto", "trace") and await rpc.knows("trace_block", latest.number):
        return Abilities(receipts, "trace")
    if internal in ("auto", "debug") and await rpc.knows("debug_traceBlockByHash", latest.hash, CALL_TRACER):
        return Abilities(receipts, "debug")
    if internal in ("trace", "debug"):
        raise ChainInvalid(
            f'{rpc.node} does not offer {internal} calls: set internal of network {names.network!r} to "balances" or '
            '"off", or use a node that offers them'
        )
    return Abilities(receipts, "balances" if internal == "auto" else internal)
