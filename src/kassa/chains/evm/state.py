"""Balances at a block, asked for by the block's hash (EIP-1898), and what they say about the transfers in it.

A log is a contract's word. Before it counts, the receiver's balance must have grown by as much: a token may take a fee,
or log what it never did. Where the node no longer has the state of that block, the log stands.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kassa.chains.evm.hexadecimal import data
from kassa.chains.evm.matching import Fetched, is_transfer
from kassa.chains.evm.messages import Incomplete, Names
from kassa.chains.rpc import Call, Fault, JsonRpc
from kassa.core.facts import Doubt, Transaction, Transfer

BALANCE_OF = "0x70a08231"  # balanceOf(address)
_GONE = re.compile(
    r"missing trie node|historical state|state.{0,30}(not available|unavailable|not found|pruned)|no state|prun(ed|ing)"
    r"|old data|archive",
    re.IGNORECASE,
)
_REVERTED = re.compile(r"revert|invalid opcode|out of gas|stack|invalid jump", re.IGNORECASE)
_EXECUTION_FAILED = (3, -32015)  # the error codes of a call that failed: Geth's, and older Nethermind's in all cases


@dataclass(frozen=True, slots=True)
class _Claim:
    """What the logs of a block say that an address got of a token."""

    asset: str
    contract: str
    to: bytes


Described = tuple[Fetched, Sequence[Transaction]]
"""A block, and what its logs and transactions say that it holds of ours."""
Confirmed = tuple[tuple[Transaction, ...], tuple[Doubt, ...]]


async def confirm(rpc: JsonRpc, described: Sequence[Described], names: Names) -> list[Confirmed]:
    """Compare the token transfers of blocks with the balances before and after each; return what counts, and doubts.

    All is asked in one request.
    """
    claimed = [(fetched, _claims(transactions, names)) for fetched, transactions in described]
    calls = [
        _balance_of(claim, block)
        for fetched, claims in claimed
        for claim in claims
        for block in (fetched.body.parent, fetched.body.hash)
    ]
    answers = iter(await rpc.batch_raw(calls))
    found: list[Confirmed] = []
    for (fetched, claims), (_, transactions) in zip(claimed, described, strict=True):
        left: dict[tuple[str, bytes], int] = {}
        for claim in claims:
            before, after = [_balance(rpc, fetched, next(answers)) for _ in range(2)]
            if before is not None and after is not None:
                left[claim.asset, claim.to] = max(0, after - before + _sent(fetched, claim))
        found.append(_reduced(transactions, left))
    return found


def _claims(transactions: Sequence[Transaction], names: Names) -> list[_Claim]:
    contracts = {asset: contract for contract, asset in names.tokens.items()}
    claims = [
        _Claim(transfer.asset, contracts[transfer.asset], transfer.to)
        for transaction in transactions
        for transfer in transaction.transfers
        if transfer.asset in contracts
    ]
    return list(dict.fromkeys(claims))


def _reduced(transactions: Iterable[Transaction], left: dict[tuple[str, bytes], int]) -> Confirmed:
    """Let each transfer count for no more than is left of its receiver's growth, the earlier ones first."""
    kept: list[Transaction] = []
    doubts: list[Doubt] = []
    for transaction in transactions:
        transfers: list[Transfer] = []
        for transfer in transaction.transfers:
            most = left.get((transfer.asset, transfer.to), transfer.units)
            units = min(transfer.units, most)
            if units < transfer.units:
                reason = f"its contract logged a transfer of {transfer.units} units, but the receiver got {units}"
                doubts.append(Doubt(transfer.asset, transaction.txid, reason))
            if (transfer.asset, transfer.to) in left:
                left[transfer.asset, transfer.to] = most - units
            if units:
                transfers.append(replace(transfer, units=units))
        kept.append(replace(transaction, transfers=tuple(transfers)))
    return tuple(kept), tuple(doubts)


def _sent(fetched: Fetched, claim: _Claim) -> int:
    """Return what the receiver itself sent out in the block."""
    sender = f"0x{claim.to.hex():0>64}"
    return sum(
        int.from_bytes(data(log.data, 32))
        for receipt in (fetched.receipts or {}).values()
        for log in receipt.logs
        if log.address.lower() == claim.contract and log.topics[1:2] == [sender] and is_transfer(log, {claim.contract})
    )


def _balance_of(claim: _Claim, block: str) -> Call:
    return "eth_call", (
        {"to": claim.contract, "data": f"{BALANCE_OF}{claim.to.hex():0>64}"},
        {"blockHash": block},
    )


def _balance(rpc: JsonRpc, fetched: Fetched, answer: bytes | Fault) -> int | None:
    """Read a balance; None where the node does not have the state of that block any more."""
    if isinstance(answer, Fault):
        if is_gone(answer):
            return None
        if is_failed(answer):
            return 0  # it cannot say what anyone has: nothing arrived
        raise Incomplete(f"{rpc.node} refused eth_call: {answer.message[:200]} (error {answer.code})", fetched.ref)
    said = data(rpc.read(str, answer, "eth_call"))
    return int.from_bytes(said) if len(said) == 32 else 0  # no contract there yet, or none that speaks ERC-20


def is_gone(fault: Fault) -> bool:
    """Tell whether a refusal says that the node has dropped the state of an old block."""
    return _GONE.search(fault.message) is not None


def is_failed(fault: Fault) -> bool:
    """Tell whether a call was carried out and failed: the contract's own doing."""
    return fault.code in _EXECUTION_FAILED or _REVERTED.search(fault.message) is not None
