"""A private anvil under command: it pays, mines, replaces and reorganises when told. For sandbox and tests."""

import asyncio
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Self

from kassa.chains.base import Program
from kassa.chains.devprocess import Process, free_port
from kassa.chains.devrpc import DevRpc, Json
from kassa.chains.evm.demotoken import creation, mint
from kassa.core.clock import SystemClock
from kassa.core.errors import SandboxError
from kassa.core.facts import BlockRef

START_SECONDS = 30
ACCOUNTS = 20
GWEI = 10**9
_RICH = 10**9  # whole coins that each account has at the start
_GAS = 3_000_000  # named with each call of a contract, so that one that will fail is mined and not refused
_COIN_GAS = 21_000


@dataclass(frozen=True, slots=True)
class AnvilOptions:
    """How anvil is started. Without `block_seconds` blocks come on demand, with `automine` at each transaction.

    `slots_in_an_epoch`: "safe" lies so many blocks below the tip, "finalized" twice as many. `genesis_time` (UNIX
    seconds) alone makes two chains of one chain id different.
    """

    chain_id: int = 31337
    automine: bool = False
    block_seconds: int | None = None
    slots_in_an_epoch: int = 2
    genesis_time: int | None = None


class AnvilNode:
    """One node and its accounts. Amounts are smallest units; ids and hashes are as explorers show them.

    Every verb raises `SandboxError` with the node's own words when it refuses.
    """

    push: tuple[str, ...] = ()

    def __init__(self, rpc_url: str, tokens: Mapping[str, str], process: "_Anvil | None" = None) -> None:
        self.rpc_url = rpc_url
        self.tokens = dict(tokens)
        self.rpc = DevRpc(rpc_url)
        self._process = process
        self._accounts: list[str] = []

    @classmethod
    async def start(cls, program: Program, datadir: Path, options: AnvilOptions | None = None) -> Self:
        """Start a node on `datadir`; its chain is kept there when it is stopped in good order."""
        for _ in range(3):  # a port may be taken between its choice and its use
            process = _Anvil(program, datadir, options or AnvilOptions())
            node = cls(f"http://127.0.0.1:{process.port}", {}, process)
            try:
                await node._launch()
            except SandboxError as error:
                await node.kill()
                if "in use" not in str(error):
                    raise
            except BaseException:
                await node.kill()
                raise
            else:
                return node
        raise SandboxError(f"{program.name} found no free port in three attempts; start again")

    @classmethod
    def attach(cls, rpc_url: str, tokens: Mapping[str, str] | None = None) -> Self:
        """Command a node that another process started; `tokens`: what was deployed there, contracts by symbol."""
        return cls(rpc_url, tokens or {})

    @property
    def websocket_url(self) -> str:
        """The same node over WebSocket."""
        return "ws" + self.rpc_url.removeprefix("http")

    # The process

    @property
    def pid(self) -> int:
        """The id of the node's process."""
        return self._own().process.pid

    async def stop(self) -> None:
        """End the node in good order; its chain stays, what waited in its pool does not."""
        await self.close()
        if self._process is not None:
            await self._process.process.stop()

    async def kill(self) -> None:
        """End the node at once, as a power cut would: what it had not written is lost."""
        await self.close()
        if self._process is not None:
            await self._process.process.kill()

    async def restart(self) -> None:
        """End the node in good order and start it on the same chain and port."""
        await self.stop()
        await self._launch()

    async def close(self) -> None:
        """Let go of the node without ending it."""
        await self.rpc.close()

    # Payments

    async def address(self) -> str:
        """Return a fresh address that nobody has a key of."""
        return f"0x{secrets.token_hex(20)}"

    async def fund(self, to: str, units: int, asset: str | None = None) -> str:
        """Pay one address the coin, or the token of that symbol; return the transaction's id.

        Each payment has another sender than the last, so that one can be replaced or dropped without the others.
        """
        if asset is None or asset not in self.tokens:
            if asset not in (None, "ETH"):
                raise SandboxError(f"no token {asset!r} was deployed on this node; deploy it first")
            return await self.send({"to": to, "value": hex(units), "gas": hex(_COIN_GAS)})
        minter = (await self.accounts())[0]
        return await self.send({"from": minter, "to": self.tokens[asset], "data": mint(to, units)})

    async def deploy(self, symbol: str, decimals: int, name: str = "Demo money") -> str:
        """Deploy the demo token and mine it; return its contract. `fund` knows it by its symbol from then on."""
        minter = (await self.accounts())[0]
        txid = await self.send({"from": minter, "data": creation(name, symbol, decimals)})
        await self.mine()
        receipt = await self.rpc.call("eth_getTransactionReceipt", txid)
        if receipt is None or receipt["status"] != "0x1":
            raise SandboxError(f"the token {symbol} could not be deployed")
        self.tokens[symbol] = str(receipt["contractAddress"])
        return self.tokens[symbol]

    async def send(self, transaction: Json) -> str:
        """Send a transaction from one of the node's accounts, the next in turn unless it names one."""
        sender = transaction.get("from") or await self._sender()
        return str(await self.rpc.call("eth_sendTransaction", {"gas": hex(_GAS), **transaction, "from": sender}))

    async def broadcast(self, raw: str) -> str:
        """Hand a signed transaction to the node's pool; return its id."""
        return str(await self.rpc.call("eth_sendRawTransaction", raw))

    async def conflict(self, txid: str, to: str | None = None, units: int = 0) -> str:
        """Return a signed transaction, not broadcast, of the same sender and nonce and a higher fee: to `to` or nobody.

        A pool takes it in the place of the first.
        """
        tx = await self.transaction(txid)
        fee = 3 * int(tx["maxFeePerGas"], 16)
        draft = {
            "from": tx["from"],
            "to": to or tx["from"],
            "value": hex(units),
            "nonce": tx["nonce"],
            "gas": hex(_COIN_GAS),
            "maxFeePerGas": hex(fee),
            "maxPriorityFeePerGas": hex(fee),
        }
        return str(await self.rpc.call("eth_signTransaction", draft))

    async def replace(self, txid: str, to: str | None = None, units: int = 0) -> str:
        """Replace a waiting transaction by one that pays `to`, or nobody; return its id."""
        return await self.broadcast(await self.conflict(txid, to, units))

    async def drop(self, txid: str) -> None:
        """Make the node forget a waiting transaction."""
        await self.rpc.call("anvil_dropTransaction", txid)

    async def transaction(self, txid: str) -> Json:
        """Return what the node says about a transaction, in a block or waiting for one."""
        found = await self.rpc.call("eth_getTransactionByHash", txid)
        if found is None:
            raise SandboxError(f"the node does not know transaction {txid}")
        return found

    async def mempool(self) -> frozenset[str]:
        """Return the ids of the waiting transactions."""
        pool = await self.rpc.call("txpool_content")
        return frozenset(
            tx["hash"] for part in ("pending", "queued") for waiting in pool[part].values() for tx in waiting.values()
        )

    # Blocks

    async def tip(self) -> BlockRef:
        """Return the end of the best chain."""
        block = await self.rpc.call("eth_getBlockByNumber", "latest", False)
        return BlockRef(int(block["number"], 16), block["hash"])

    async def mine(self, count: int = 1) -> tuple[str, ...]:
        """Mine blocks and return their hashes; the first holds what waits."""
        first = (await self.tip()).height + 1
        await self.rpc.call("anvil_mine", hex(count))
        return tuple([await self.block_hash(height) for height in range(first, first + count)])

    async def fork(self, depth: int, drop: Collection[str] = frozenset()) -> tuple[str, ...]:
        """Undo `depth` blocks and mine a branch that is one block longer; return its hashes.

        Its first block holds what the undone ones held, without `drop`; what is dropped is forgotten altogether.
        """
        tip = await self.tip()
        first = tip.height - depth + 1
        kept = [
            raw for txid in await self._held(first, tip.height) if txid not in drop for raw in [await self._raw(txid)]
        ]
        await self.rpc.call("anvil_reorg", depth, [[raw, 0] for raw in kept])
        await self.rpc.call("anvil_mine", hex(1))
        return tuple([await self.block_hash(height) for height in range(first, tip.height + 2)])

    async def block_hash(self, height: int) -> str:
        """Return the hash of a block of the best chain."""
        block = await self.rpc.call("eth_getBlockByNumber", hex(height), False)
        if block is None:
            raise SandboxError(f"the node has no block {height}")
        return str(block["hash"])

    async def set_time(self, seconds: int) -> None:
        """Make the node believe that it is this UNIX time; the next block will say so."""
        await self.rpc.call("evm_setTime", seconds)

    async def accounts(self) -> list[str]:
        """Return the addresses that the node has the keys of."""
        if not self._accounts:
            self._accounts = await self.rpc.call("eth_accounts")
            self._turns = cycle(self._accounts[1:])
        return self._accounts

    # What the verbs are made of

    def _own(self) -> "_Anvil":
        if self._process is None:
            raise SandboxError(f"the node at {self.rpc_url} was started by another process")
        return self._process

    async def _launch(self) -> None:
        anvil = self._own()
        await anvil.process.launch(anvil.arguments())
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._serves():
                    anvil.process.check()
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            raise SandboxError(f"the node did not begin to serve within {START_SECONDS} seconds") from error
        # The chain began in the past (see `_Anvil`), and continues now.
        latest = await self.rpc.call("eth_getBlockByNumber", "latest", False)
        await self.set_time(max(_now(), int(latest["timestamp"], 16) + 1))

    async def _serves(self) -> bool:
        # Whoever took the port between its choice and its use may be an anvil too, and answers in this one's place.
        if not self._own().process.has_said("Listening on"):
            return False
        try:
            await self.rpc.call("eth_chainId")
        except SandboxError:
            return False
        return True

    async def _sender(self) -> str:
        await self.accounts()
        return next(self._turns)

    async def _held(self, first: int, last: int) -> list[str]:
        """Return the ids of the transactions in some blocks, in order."""
        blocks = await self.rpc.each(
            "eth_getBlockByNumber", [(hex(height), False) for height in range(first, last + 1)]
        )
        return [txid for block in blocks for txid in block["transactions"]]

    async def _raw(self, txid: str) -> str:
        return str(await self.rpc.call("eth_getRawTransactionByHash", txid))


class _Anvil:
    """The process, its port and its options.

    A chain that is loaded from a file gets its first block anew, so that block's time is fixed at the first start.
    """

    def __init__(self, program: Program, datadir: Path, options: AnvilOptions) -> None:
        self.process = Process(program, datadir)
        self.port = free_port()
        self._options = options
        self._state = datadir / "chain.json"
        self._genesis = datadir / "genesis-time"

    def arguments(self) -> list[str]:
        options = self._options
        arguments = [
            *("--host", "127.0.0.1"),
            *("--port", str(self.port)),
            *("--chain-id", str(options.chain_id)),
            *("--accounts", str(ACCOUNTS)),
            *("--balance", str(_RICH)),
            *("--slots-in-an-epoch", str(options.slots_in_an_epoch)),
            *("--timestamp", str(self._genesis_time())),
            *("--state", str(self._state)),
            "--preserve-historical-states",
        ]
        if options.block_seconds is not None:
            return [*arguments, "--block-time", str(options.block_seconds)]
        return arguments if options.automine else [*arguments, "--no-mining"]

    def _genesis_time(self) -> int:
        if not self._genesis.exists():
            self._genesis.parent.mkdir(parents=True, exist_ok=True)
            self._genesis.write_text(str(self._options.genesis_time or _now()))
        return int(self._genesis.read_text())


def _now() -> int:
    return int(SystemClock().now().timestamp())
