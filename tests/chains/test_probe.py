"""What nodes say of themselves: name, peers, a fee; and what is made of those that do not tell."""

from decimal import Decimal

import msgspec

from kassa.chains.base import Connection
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.bitcoin.probe import BitcoinProbe, _Fee, _fee
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.evm.probe import EvmProbe
from tests.chains.liar import lying


async def test_a_bitcoin_node_tells_its_name_and_peers_and_no_fee_before_it_saw_enough(bitcoind: DevNode) -> None:
    probe = BitcoinProbe(Connection(bitcoind.rpc_url))
    about = await probe.about()
    await probe.close()
    assert about.name.startswith("/")
    assert (about.peers, about.fee) == (0, None)


async def test_an_ethereum_node_tells_its_name_and_what_gas_costs(anvil: AnvilNode) -> None:
    probe = EvmProbe(Connection(anvil.rpc_url))
    about = await probe.about()
    await probe.close()
    assert about.name.startswith("anvil")
    assert about.fee is not None
    amount, unit = about.fee.split()
    assert (Decimal(amount) > 0, unit) == (True, "gwei")


async def test_a_rented_node_that_refuses_to_tell_is_no_fault(anvil: AnvilNode) -> None:
    async with lying(anvil.rpc_url) as liar:
        unknown = {"code": -32601, "message": "the method does not exist/is not available"}
        liar.errors |= {"net_peerCount": unknown, "eth_gasPrice": unknown}
        probe = EvmProbe(Connection(liar.url))
        about = await probe.about()
        await probe.close()
    assert (about.peers, about.fee) == (None, None)


def test_a_fee_is_read_exactly_as_smallest_units_for_a_byte() -> None:
    for told, said in (("0.00001", "1.0 sat/vB"), ("0.00012345", "12.3 sat/vB"), ("1e-05", "1.0 sat/vB")):
        assert _fee(msgspec.json.decode(f'{{"feerate": {told}, "blocks": 6}}', type=_Fee)) == said
    for told in ("-1", "1e30"):
        assert _fee(msgspec.json.decode(f'{{"feerate": {told}}}', type=_Fee)) is None
    assert _fee(msgspec.json.decode('{"errors": ["Insufficient data"], "blocks": 2}', type=_Fee)) is None
