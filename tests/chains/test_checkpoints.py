"""A32: a node that follows another chain than the one that everybody knows is not followed."""

from dataclasses import replace

import pytest

from kassa.chains.base import Connection
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.bitcoin.networks import NETWORKS
from kassa.chains.bitcoin.probe import BitcoinProbe
from kassa.chains.bitcoin.source import BitcoinSource
from kassa.chains.bitcoin.transactions import Names
from kassa.core.errors import ChainInvalid

REGTEST = NETWORKS["bitcoin-regtest"]
WRONG = "ab" * 32


async def check(node: DevNode, checkpoints: dict[int, str]) -> None:
    names = Names("n", "BTC@n", replace(REGTEST, checkpoints=checkpoints))
    source = BitcoinSource(Connection(node.rpc_url), names)
    try:
        await source.check()
    finally:
        await source.close()


async def test_a32_a_node_without_a_known_block_is_refused(bitcoind: DevNode) -> None:
    tip = await bitcoind.tip()
    known = {tip.height - 1: await bitcoind.block_hash(tip.height - 1)}
    await check(bitcoind, known)
    await check(bitcoind, known | {tip.height + 1: WRONG})  # it has not come so far
    with pytest.raises(ChainInvalid, match=f"does not hold block {tip.height}"):
        await check(bitcoind, known | {tip.height: WRONG})


@pytest.mark.parametrize("chain", ["bitcoin", "litecoin"])
def test_a32_the_networks_with_real_money_have_known_blocks(chain: str) -> None:
    known = NETWORKS[chain].checkpoints
    assert len(known) >= 2
    assert list(known) == sorted(known)
    for hash_ in known.values():
        assert len(bytes.fromhex(hash_)) == 32
        # Scrypt is Litecoin's work: only Bitcoin's block hashes are small numbers.
        assert chain != "bitcoin" or hash_.startswith("0" * 16)


async def test_f4_a_node_says_what_it_is_and_whether_that_is_too_old(bitcoind: DevNode) -> None:
    for least, outdated in ((1, False), (10**7, True)):
        probe = BitcoinProbe(Connection(bitcoind.rpc_url), least_version=least)
        try:
            about = await probe.about()
        finally:
            await probe.close()
        assert (about.name.startswith("/Satoshi:"), about.outdated) == (True, outdated)
