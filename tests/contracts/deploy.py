"""Deploy our contracts on a private Ethereum node and call them, from accounts that the node itself signs for."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from eth_abi import decode, encode

from contracts import build
from kassa.chains.rpc import JsonRpc

MINING_SECONDS = 20
GAS = 3_000_000  # named with each transaction, so that one that will fail is not refused but mined, with status 0

HOSTILE_NAMES: Mapping[str, tuple[bytes, int]] = {
    "markup": (encode(["string"], ["<img src=x onerror=alert(1)>"]), 0),
    "huge": (encode(["uint256", "uint256"], [32, 2**20]), 2**20),
    "broken UTF-8": (encode(["bytes"], [b"Dollar \xff\xfe\xc3\x28"]), 0),
    "bytes32": (b"Dollar".ljust(32, b"\0"), 0),
    "a length that lies": (encode(["uint256", "uint256"], [32, 2**255]), 0),
    "nothing": (b"", 0),
}
"""What HostileMetadataToken can be deployed with, by what its name then is."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract on the chain. Functions are called by name; addresses are hex text, amounts are units or wei."""

    rpc: JsonRpc
    address: str
    artifact: Json

    async def send(
        self, function: str, *values: object, sender: str | None = None, wei: int = 0, gas: int = GAS
    ) -> str:
        """Send a transaction that calls a function; return its txid without waiting for a block."""
        return await send(self.rpc, self.address, self.data(function, *values), sender=sender, wei=wei, gas=gas)

    async def run(
        self, function: str, *values: object, sender: str | None = None, wei: int = 0, gas: int = GAS
    ) -> Json:
        """Send such a transaction and return its receipt; status 0x0 says that it failed."""
        return await receipt(self.rpc, await self.send(function, *values, sender=sender, wei=wei, gas=gas))

    async def read(self, function: str, *values: object) -> Any:
        """Call a function without a transaction, in the latest block; return its one answer, or a tuple of several."""
        answer = await self.rpc.call(
            str, "eth_call", {"to": self.address, "data": self.data(function, *values)}, "latest"
        )
        read = decode(_types(self._function(function)["outputs"]), bytes.fromhex(answer[2:]))
        return read[0] if len(read) == 1 else read

    def seen_as(self, name: str) -> "Contract":
        """Return the same address with the functions of another contract: a proxy, as what stands behind it."""
        return replace(self, artifact=artifact(name))

    def data(self, function: str, *values: object) -> str:
        """Return what calls a function, as hex text."""
        types = _types(self._function(function)["inputs"])
        return "0x" + self.artifact["selectors"][f"{function}({','.join(types)})"] + encode(types, values).hex()

    def _function(self, name: str) -> Json:
        return next(item for item in self.artifact["abi"] if item["type"] == "function" and item["name"] == name)


def artifact(name: str) -> Json:
    """Return the committed artifact of one of our contracts."""
    path = build.path(name)
    read: Json = json.loads(path.read_text("utf-8"))
    return read


async def deploy(rpc: JsonRpc, name: str, *values: object, sender: str | None = None, wei: int = 0) -> Contract:
    """Deploy a contract with its constructor's values and wait for its block, as `receipt` does."""
    made = artifact(name)
    constructor = next((item for item in made["abi"] if item["type"] == "constructor"), {"inputs": []})
    data = made["bytecode"] + encode(_types(constructor["inputs"]), values).hex()
    mined = await receipt(rpc, await send(rpc, None, data, sender=sender, wei=wei))
    if mined["status"] != "0x1":
        raise AssertionError(f"{name} was not deployed: its transaction failed")
    return Contract(rpc, mined["contractAddress"], made)


async def send(
    rpc: JsonRpc, to: str | None, data: str = "0x", *, sender: str | None = None, wei: int = 0, gas: int = GAS
) -> str:
    """Send a transaction from one of the node's own accounts, the first if none is named; return its txid."""
    sender = sender or (await rpc.call(list[str], "eth_accounts"))[0]
    transaction = {"from": sender, "data": data, "value": hex(wei), "gas": hex(gas)}
    if to is not None:
        transaction["to"] = to
    return await rpc.call(str, "eth_sendTransaction", transaction)


async def receipt(rpc: JsonRpc, txid: str) -> Json:
    """Return a transaction's receipt, as the node writes it; mine a block for it where the node mines only when told.

    A node that mines by itself answers with the txid before it has mined, so waiting is needed there too.
    """
    found = await rpc.call(Json | None, "eth_getTransactionReceipt", txid)
    if found is None and not await rpc.call(bool, "anvil_getAutomine"):
        await rpc.call(object, "evm_mine")
    async with asyncio.timeout(MINING_SECONDS):
        while found is None:
            await asyncio.sleep(0.01)
            found = await rpc.call(Json | None, "eth_getTransactionReceipt", txid)
    return found


def _types(inputs: list[Json]) -> list[str]:
    return [item["type"] for item in inputs]
