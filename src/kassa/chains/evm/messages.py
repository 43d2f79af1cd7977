"""What we read of a node's answers: exactly the fields needed. An answer of another shape is no usable answer.

Numbers stay text until they are needed; `hexadecimal` reads them strictly. What comes by the thousand is not followed
by the collector of cycles (`gc=False`): an answer is a tree.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from kassa.chains.evm.networks import EvmNetwork
from kassa.core.errors import ChainUnavailable
from kassa.core.facts import BlockRef

Hash = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{64}$")]
AddressText = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}$")]


@dataclass(frozen=True, slots=True)
class Names:
    """What facts call this network, its coin and its tokens (asset ids, by contract in small letters)."""

    network: str
    coin: str
    tokens: dict[str, str]
    chain: EvmNetwork


class Incomplete(ChainUnavailable):
    """The node does not have, or not yet, or no longer, all that belongs to a block which it gave itself."""

    def __init__(self, message: str, ref: BlockRef) -> None:
        super().__init__(message)
        self.ref = ref


class Header(msgspec.Struct):
    """A block without its transactions."""

    hash: Hash
    number: str
    timestamp: str


class Tx(msgspec.Struct, gc=False):
    """A transaction, in a block or waiting for one."""

    hash: str
    sender: str = msgspec.field(name="from")
    value: str
    nonce: str = "0x0"
    to: str | None = None
    kind: str | None = msgspec.field(name="type", default=None)
    block_hash: str | None = msgspec.field(name="blockHash", default=None)
    block_number: str | None = msgspec.field(name="blockNumber", default=None)


class Body(msgspec.Struct):
    """A block with its transactions. The pending one has no hash yet; it is read elsewhere."""

    hash: Hash
    parent: Hash = msgspec.field(name="parentHash")
    number: str
    timestamp: str
    bloom: str = msgspec.field(name="logsBloom")
    transactions: list[Tx]


class Log(msgspec.Struct, gc=False):
    """What a contract logged."""

    address: str
    topics: list[str]
    data: str
    index: str | None = msgspec.field(name="logIndex", default=None)
    removed: bool | None = None


class Receipt(msgspec.Struct, gc=False):
    """What became of a transaction."""

    txid: str = msgspec.field(name="transactionHash")
    block: str = msgspec.field(name="blockHash")
    logs: list[Log]
    status: str | None = None
    gas_used: str | None = msgspec.field(name="gasUsed", default=None)
    gas_price: str | None = msgspec.field(name="effectiveGasPrice", default=None)
    data_fee: str | None = msgspec.field(name="l1Fee", default=None)
    operator_scalar: str | None = msgspec.field(name="operatorFeeScalar", default=None)
    operator_constant: str | None = msgspec.field(name="operatorFeeConstant", default=None)
    footprint_scalar: str | None = msgspec.field(name="daFootprintGasScalar", default=None)
