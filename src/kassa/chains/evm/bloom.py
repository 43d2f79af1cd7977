"""The bloom filter by which a block's header commits to who logged what (Yellow Paper, 4.3.1)."""

from collections.abc import Iterable
from functools import lru_cache, reduce
from itertools import chain
from operator import or_

from kassa.chains.evm.hexadecimal import data
from kassa.chains.evm.keccak import keccak
from kassa.chains.evm.messages import Receipt

BLOOM_BYTES = 256
_CACHED = 65_536  # contracts, topics and frequent payers come again


def read_bloom(text: str) -> int:
    """Read a header's bloom as a number of 2048 bits."""
    return int.from_bytes(data(text, BLOOM_BYTES))


@lru_cache(_CACHED)
def bits(text: str) -> int:
    """Return the three bits that an address or a topic sets; each is 11 bits of its hash."""
    digest = keccak(data(text))
    found = 0
    for place in (0, 2, 4):
        found |= 1 << (int.from_bytes(digest[place : place + 2]) & 2047)
    return found


def logged(receipts: Iterable[Receipt]) -> set[str]:
    """Return every address and topic in the logs of these receipts: what their bloom is made of."""
    logs = [log for receipt in receipts for log in receipt.logs]
    texts = {log.address for log in logs}
    texts.update(chain.from_iterable([log.topics for log in logs]))
    return texts


def union(texts: Iterable[str]) -> int:
    """Return the bloom of these addresses and topics."""
    return reduce(or_, map(bits, texts), 0)
