"""What a bitcoind-like node holds, in the oracle's words."""

import asyncio

from kassa.house import House
from tests import checker
from tests.house import BITCOIN
from tests.oracle import Output, Truth


async def truth(house: House, rpc_url: str, network: str = BITCOIN) -> Truth:
    """Ask the independent checker what the node of a network holds."""
    pool = house.database.pool
    addresses = {
        row["address"]: row["script"]
        for row in await pool.fetch("select address, script from addresses where network = $1", network)
    }
    first = await pool.fetchval("select min(height) from blocks where network = $1", network)
    seen = await asyncio.to_thread(checker.look, rpc_url, addresses, first)
    outputs = {
        (txid, f"out:{number}"): Output(addresses[address], units, block)
        for (txid, number), (address, units, block) in seen.outputs.items()
    }
    (asset,) = house.chains[network].assets
    return Truth(network, asset.id, seen.blocks, outputs, seen.mined_spenders, seen.pending_spenders)
