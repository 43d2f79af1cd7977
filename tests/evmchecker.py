"""What an Ethereum node holds for our addresses, asked the slow and obvious way: balances; shares no code with Kassa.

Nobody ever spends from an address in a test, so what it holds is what it was paid.
"""

import asyncio
import json
import urllib.request
from collections.abc import Sequence
from typing import Any

from kassa.house import House

Json = Any  # a node's answer
_BALANCE_OF = "0x70a08231"


async def check(house: House, network: str, rpc_url: str) -> None:
    """O2, O11: our blocks are the node's, and the books hold of each address and asset what the node does.

    What was accepted without a block is in the books, and not yet in the node's latest state.
    """
    pool = house.database.pool
    blocks = await pool.fetch("select height, hash, parent from blocks where network = $1 order by height", network)
    theirs = await asyncio.to_thread(_blocks, rpc_url, [row["height"] for row in blocks])
    assert [tuple(row) for row in blocks] == theirs, "our blocks are not the node's"
    addresses = [
        row["address"] for row in await pool.fetch("select address from addresses where network = $1", network)
    ]
    contracts = {f"{token.symbol}@{network}": token.contract for token in house.settings.networks[network].tokens}
    held = await asyncio.to_thread(_held, rpc_url, addresses, contracts, f"ETH@{network}")
    booked = {
        (row["address"], row["asset"]): int(row["units"])
        for row in await pool.fetch(
            """select a.address, p.asset, sum(p.units) as units from entries e join postings p on p.entry_id = e.id
               join payments y on y.id = e.payment_id join addresses a on a.id = y.address_id
               where p.account = $1 and y.block_height is not null group by 1, 2 having sum(p.units) <> 0""",
            f"wallet:{network}",
        )
    }
    assert held == booked, f"the node holds {held}, the books say {booked}"


def tip(rpc_url: str) -> str:
    """Return the hash of the node's latest block."""
    return str(_ask(rpc_url, [("eth_getBlockByNumber", ["latest", False])])[0]["hash"])


def _blocks(rpc_url: str, heights: Sequence[int]) -> list[tuple[int, str, str]]:
    found = _ask(rpc_url, [("eth_getBlockByNumber", [hex(height), False]) for height in heights])
    return [(int(block["number"], 16), block["hash"], block["parentHash"]) for block in found]


def _held(rpc_url: str, addresses: Sequence[str], contracts: dict[str, str], coin: str) -> dict[tuple[str, str], int]:
    asked = [(address, coin, ("eth_getBalance", [address, "latest"])) for address in addresses]
    for address in addresses:
        data = _BALANCE_OF + address[2:].lower().rjust(64, "0")
        asked += [
            (address, asset, ("eth_call", [{"to": contract, "data": data}, "latest"]))
            for asset, contract in contracts.items()
        ]
    answers = _ask(rpc_url, [question for *_, question in asked])
    units = {(address, asset): int(answer, 16) for (address, asset, _), answer in zip(asked, answers, strict=True)}
    return {key: value for key, value in units.items() if value}


def _ask(rpc_url: str, questions: Sequence[tuple[str, list[Json]]]) -> list[Json]:
    if not questions:
        return []
    body = [
        {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        for number, (method, params) in enumerate(questions)
    ]
    request = urllib.request.Request(rpc_url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answers = {answer["id"]: answer for answer in json.loads(response.read())}
    return [answers[number]["result"] for number in range(len(questions))]
