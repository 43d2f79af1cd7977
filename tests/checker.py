"""What a bitcoind-like node holds for some addresses, read the slow and obvious way; shares no code with Kassa.

`python -m tests.checker RPC_URL FIRST_HEIGHT < addresses` prints each output and their sum: a second opinion on the
books. It asks for whole blocks in words (`getblock HASH 2`) and adds up the outputs that pay the addresses.
"""

import base64
import json
import sys
import urllib.request
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

Json = Any  # a node's answer


@dataclass
class Seen:
    """`blocks`: height, hash, parent. `outputs`: (txid, number) → (address, units, block or None in the mempool)."""

    blocks: list[tuple[int, str, str]] = field(default_factory=list)
    outputs: dict[tuple[str, int], tuple[str, int, tuple[int, str] | None]] = field(default_factory=dict)
    mined_spenders: dict[str, str] = field(default_factory=dict)
    pending_spenders: dict[str, str] = field(default_factory=dict)

    def sum(self) -> int:
        """Return the units that blocks hold."""
        return sum(units for _, units, block in self.outputs.values() if block is not None)


def tip(rpc_url: str) -> str:
    """Return the hash of the best chain's last block."""
    return str(_call(rpc_url, "getbestblockhash"))


def look(rpc_url: str, addresses: Collection[str], first: int) -> Seen:
    """Read the best chain from a height on, and the mempool."""
    seen, wanted = Seen(), set(addresses)
    top = _call(rpc_url, "getblockcount")
    for height in range(first, top + 1):
        block = _call(rpc_url, "getblock", _call(rpc_url, "getblockhash", height), 2)
        seen.blocks.append((height, block["hash"], block["previousblockhash"]))
        for tx in block["tx"]:
            for spent in _spent(tx):
                seen.mined_spenders[spent] = tx["txid"]
            for key, output in _paid(tx, wanted):
                seen.outputs[key] = (*output, (height, block["hash"]))
    for txid in _call(rpc_url, "getrawmempool"):
        tx = _call(rpc_url, "getrawtransaction", txid, True)
        for spent in _spent(tx):
            seen.pending_spenders[spent] = txid
        for key, output in _paid(tx, wanted):
            seen.outputs[key] = (*output, None)
    return seen


def _spent(tx: Json) -> list[str]:
    return [f"{item['txid']}:{item['vout']}" for item in tx["vin"] if "txid" in item]


def _paid(tx: Json, wanted: set[str]) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    for output in tx["vout"]:
        script = output["scriptPubKey"]
        # Before version 22 a script names a list of addresses.
        names = [script["address"]] if "address" in script else script.get("addresses", [])
        if len(names) == 1 and names[0] in wanted:
            units = output["value"] * 100_000_000
            assert units == int(units), f"{tx['txid']}:{output['n']} holds {output['value']}"
            yield (tx["txid"], output["n"]), (names[0], int(units))


def _call(rpc_url: str, method: str, *params: object) -> Json:
    parts = urlsplit(rpc_url)
    words = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    body = json.dumps({"method": method, "params": params, "id": 1}).encode()
    request = urllib.request.Request(
        f"http://{parts.hostname}:{parts.port}/", body, {"Authorization": f"Basic {words}"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.loads(response.read(), parse_float=Decimal)
    if answer["error"] is not None:
        raise SystemExit(f"{method}: {answer['error']}")
    return answer["result"]


def main() -> None:
    url, first = sys.argv[1:]
    seen = look(url, {line.strip() for line in sys.stdin if line.strip()}, int(first))
    for (txid, number), (address, units, block) in sorted(seen.outputs.items()):
        print(f"{txid}:{number} {address} {units} {'mempool' if block is None else block[0]}")
    print(f"in blocks: {seen.sum()}")


if __name__ == "__main__":
    main()
