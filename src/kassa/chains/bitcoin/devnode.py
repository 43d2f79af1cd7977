"""A private regtest node under command: it pays, mines, replaces and reorganises when told. For sandbox and tests."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from kassa.chains.base import Program
from kassa.chains.bitcoin import devtransactions as build
from kassa.chains.bitcoin.devprocess import NodeProcess
from kassa.chains.bitcoin.devtransactions import Tx, TxIn, TxOut
from kassa.chains.devrpc import DevRpc, Json
from kassa.core.errors import SandboxError
from kassa.core.facts import BlockRef
from kassa.core.money import format_units

Output = tuple[str, int]
"""An address and the smallest units it gets."""

START_SECONDS = 30
COIN = 10**8
_WALLET = "kassa"
_COINS, _LEGACY_COINS = 50, 10  # of 1 COIN each, ready to be spent when the node is handed over
_DUST = 1_000
_SPLIT = 1_000  # outputs of one transaction that a mempool still takes
_CHILD_FEE = 2_000


class DevNode:
    """One node and its wallet. Amounts are smallest units; ids and hashes are as explorers show them.

    Every verb raises `SandboxError` with the node's own words when it refuses.
    """

    def __init__(self, rpc_url: str, process: NodeProcess | None = None) -> None:
        self.rpc_url = rpc_url
        self.push: tuple[str, ...] = ()
        self._process = process
        self.rpc = DevRpc(f"{rpc_url}/wallet/{_WALLET}")

    @classmethod
    async def start(
        cls, program: Program, datadir: Path, chain: str = "bitcoin-regtest", *, zmq: bool = True, peers: bool = False
    ) -> Self:
        """Start a node on `datadir`, with a funded wallet; `peers` lets others connect to it.

        A data directory of an earlier run is continued, on new ports.
        """
        for _ in range(3):  # a port may be taken between its choice and its use
            process = NodeProcess(program, datadir, chain, zmq=zmq, peers=peers)
            node = cls(f"http://{process.user}:{process.password}@127.0.0.1:{process.ports.rpc}", process)
            node.push = () if process.ports.zmq is None else (f"tcp://127.0.0.1:{process.ports.zmq}",)
            try:
                await node._launch()
                await node._prepare()
            except SandboxError as error:
                await node.kill()
                if "Unable to" not in str(error):
                    raise
            except BaseException:
                await node.kill()
                raise
            else:
                return node
        raise SandboxError(f"{program.name} found no free port in three attempts; start again")

    @classmethod
    def attach(cls, rpc_url: str) -> Self:
        """Command a node that another process started with `start`."""
        return cls(rpc_url)

    # The process

    @property
    def pid(self) -> int:
        """The id of the node's process."""
        return self._own().pid

    async def stop(self) -> None:
        """End the node in good order; its data directory stays."""
        await self.close()
        if self._process is not None:
            await self._process.stop()

    async def kill(self) -> None:
        """End the node at once, as a power cut would."""
        await self.close()
        if self._process is not None:
            await self._process.kill()

    async def restart(self, *arguments: str) -> None:
        """End the node in good order and start it on the same data and ports, with these further options."""
        await self.stop()
        await self._launch(arguments)

    async def close(self) -> None:
        """Let go of the node without ending it."""
        await self.rpc.close()

    # Payments

    async def address(self, kind: str = "bech32") -> str:
        """Return a fresh address of the node's wallet; `kind` is bech32, bech32m, p2sh-segwit or legacy."""
        return str(await self.rpc.call("getnewaddress", "", kind))

    async def fund(self, to: str, units: int, asset: str | None = None) -> str:
        """Pay one address from the wallet; return the transaction's id. The change output stands anywhere.

        There is one asset, so its name may be left out.
        """
        return str(await self.rpc.call("sendtoaddress", to, format_units(units, 8)))

    async def fund_each(self, outputs: Sequence[Output]) -> list[str]:
        """Pay each output by a transaction of its own, without change; return the ids in order.

        Made for thousands: about 2 ms each, a tenth of what the wallet takes to choose coins.
        """
        txids: list[str] = []
        for first in range(0, len(outputs), _SPLIT):
            part = outputs[first : first + _SPLIT]
            between = await self.address()
            source = await self.send_many([(between, units + _CHILD_FEE) for _, units in part])
            drafts = [
                build.serialize(Tx((TxIn(source, number),), (output,)))
                for number, output in enumerate(await self._outputs(part))
            ]
            signed = await self.rpc.each("signrawtransactionwithwallet", ((draft.hex(),) for draft in drafts))
            txids += await self.rpc.each("sendrawtransaction", ((tx["hex"],) for tx in signed))
        return txids

    async def send_many(self, outputs: Sequence[Output], *, legacy: bool = False) -> str:
        """Pay all outputs by one transaction, in which the n-th output is the n-th here; return its id.

        The same address may stand there several times. `legacy` spends P2PKH coins, which `malleate` can rewrite.
        """
        return await self.broadcast(await self.draft(outputs, legacy=legacy))

    async def draft(self, outputs: Sequence[Output], *, legacy: bool = False) -> str:
        """Return such a transaction signed, but not broadcast. Its coins are set aside for it."""
        fee = 2_000 + 400 * len(outputs)
        coins = await self._take_coins(sum(units for _, units in outputs) + fee, legacy=legacy)
        return await self._sign(coins, outputs, fee)

    async def broadcast(self, raw: str) -> str:
        """Hand a transaction to the node's mempool; return its id."""
        return str(await self.rpc.call("sendrawtransaction", raw, 0))

    async def conflict(self, txid: str, outputs: Sequence[Output] = ()) -> str:
        """Return a signed transaction, not broadcast, that spends what `txid` spends: to `outputs`, the rest to us.

        It pays enough more that a mempool takes it in the place of the first.
        """
        tx = await self.transaction(txid)
        sources = await self.rpc.each("getrawtransaction", [(item["txid"], True) for item in tx["vin"]])
        coins = [
            (item["txid"], item["vout"], _units(source["vout"][item["vout"]]["value"]))
            for item, source in zip(tx["vin"], sources, strict=True)
        ]
        paid = sum(_units(item["value"]) for item in tx["vout"])
        fee = 2 * (sum(units for _, _, units in coins) - paid) + 20_000 + 400 * len(outputs)
        return await self._sign(coins, outputs, fee)

    async def replace(self, txid: str, outputs: Sequence[Output] = ()) -> str:
        """Replace an unconfirmed transaction by one that pays `outputs`, or only us; return its id."""
        return await self.broadcast(await self.conflict(txid, outputs))

    async def bump(self, txid: str) -> str:
        """Replace an unconfirmed transaction of the wallet by one that pays the same at a higher fee; return its id."""
        return str((await self.rpc.call("bumpfee", txid))["txid"])

    async def malleate(self, txid: str) -> str:
        """Return the raw form of the same payment under another id. For `send_many(…, legacy=True)`.

        No mempool takes it; `mine(transactions=[…])` does.
        """
        raw = await self.rpc.call("getrawtransaction", txid)
        return build.malleate(bytes.fromhex(raw)).hex()

    async def transaction(self, txid: str) -> Json:
        """Return what the node says about a transaction (`getrawtransaction` in words), confirmed or not."""
        return await self.rpc.call("getrawtransaction", txid, True)

    async def mempool(self) -> frozenset[str]:
        """Return the ids of the unconfirmed transactions."""
        return frozenset(await self.rpc.call("getrawmempool"))

    # Blocks

    async def tip(self) -> BlockRef:
        """Return the end of the best chain."""
        answer = await self.rpc.call("getblockchaininfo")
        return BlockRef(answer["blocks"], answer["bestblockhash"])

    async def mine(
        self, count: int = 1, to: str | None = None, transactions: Collection[str] | None = None
    ) -> tuple[str, ...]:
        """Mine blocks and return their hashes; the reward goes `to`, or to a fresh address of the wallet.

        Without `transactions` the mempool is mined. With them the first block holds exactly these, parents first, and
        the rest nothing: ids of the mempool, or raw transactions, which no policy has to like.
        """
        if transactions is None:
            return tuple(await self.rpc.call("generatetoaddress", count, to or await self.address()))
        hashes = []
        for number in range(count):
            held = list(transactions) if number == 0 else []
            answer = await self.rpc.call("generateblock", to or await self.address(), held)
            hashes.append(str(answer["hash"]))
        return tuple(hashes)

    async def fork(
        self, depth: int, drop: Collection[str] = frozenset(), transactions: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Undo `depth` blocks and mine a branch that is one block longer; return its hashes.

        Its first block holds what the mempool then holds, without `drop` and all that spends from it, and then
        `transactions` (raw). What is dropped stays in the mempool unless one of `transactions` conflicts with it.
        """
        tip = await self.tip()
        await self.invalidate(await self.block_hash(tip.height - depth + 1))
        kept = await self._mempool_without(drop)
        return await self.mine(depth + 1, transactions=[*kept, *transactions])

    async def block_hash(self, height: int) -> str:
        """Return the hash of a block of the best chain."""
        return str(await self.rpc.call("getblockhash", height))

    async def invalidate(self, block: str) -> None:
        """Make the node leave a block and all that stand on it; their transactions return to the mempool."""
        await self.rpc.call("invalidateblock", block)

    async def reconsider(self, block: str) -> None:
        """Take `invalidate` back; the node follows that branch again if it is the longest."""
        await self.rpc.call("reconsiderblock", block)

    async def set_mock_time(self, seconds: int) -> None:
        """Make the node believe that it is this UNIX time; 0 gives it back its clock."""
        await self.rpc.call("setmocktime", seconds)

    # Peers

    async def connect(self, other: "DevNode") -> None:
        """Let this node and another talk to each other, and wait until both have met."""
        port = other._own().ports.peers
        if port is None or self._own().ports.peers is None:
            raise SandboxError("one of the nodes takes no peers; start both with peers=True")
        await self.rpc.call("setnetworkactive", True)
        await self.rpc.call("addnode", f"127.0.0.1:{port}", "onetry")
        await self._until(self._has_peer, "the other node did not answer")

    async def partition(self) -> None:
        """Cut this node off from all others."""
        await self.rpc.call("setnetworkactive", False)
        await self._until(self._has_no_peer, "a peer did not let go")

    async def _has_peer(self) -> bool:
        return any(peer["version"] for peer in await self.rpc.call("getpeerinfo"))

    async def _has_no_peer(self) -> bool:
        return not await self.rpc.call("getpeerinfo")

    # What the verbs are made of

    def _own(self) -> NodeProcess:
        if self._process is None:
            raise SandboxError(f"the node at port {urlsplit(self.rpc_url).port} was started by another process")
        return self._process

    async def _launch(self, arguments: Sequence[str] = ()) -> None:
        process = self._own()
        await process.launch(arguments)

        async def serves() -> bool:
            process.check()
            try:
                await self.rpc.call("getblockchaininfo")
            except SandboxError:
                return False
            return True

        await self._until(serves, "the node did not begin to serve")
        # It goes on without its notices where somebody took their port, and another's would be waited for there.
        if self.push and not await self.rpc.call("getzmqnotifications"):
            raise SandboxError(f"Unable to use the port of {self.push[0]}: somebody else does; start again")

    async def _prepare(self) -> None:
        """Give a new node a wallet, and the wallet coins that can be spent."""
        if (await self.tip()).height > 0:
            return
        await self.rpc.named("createwallet", wallet_name=_WALLET, load_on_startup=True)
        await self.mine(110)  # 10 of them may be spent
        coins = [(await self.address(), COIN)] * _COINS + [(await self.address("legacy"), COIN)] * _LEGACY_COINS
        await self.send_many(coins)
        await self.mine()

    async def _take_coins(self, units: int, *, legacy: bool) -> list[tuple[str, int, int]]:
        """Choose confirmed coins worth at least `units`, the largest first, and set them aside."""
        chosen: list[tuple[str, int, int]] = []
        held = await self.rpc.call("listunspent", 1)
        for coin in sorted(held, key=lambda coin: coin["amount"], reverse=True):
            if build.p2pkh(bytes.fromhex(coin["scriptPubKey"])) == legacy:
                chosen.append((coin["txid"], coin["vout"], _units(coin["amount"])))
            if sum(item[2] for item in chosen) >= units:
                break
        else:
            raise SandboxError(f"the wallet has no {units} units in such coins; mine(101) brings more")
        await self.rpc.call("lockunspent", False, [{"txid": txid, "vout": vout} for txid, vout, _ in chosen])
        return chosen

    async def _sign(self, coins: Sequence[tuple[str, int, int]], outputs: Sequence[Output], fee: int) -> str:
        change = sum(units for _, _, units in coins) - sum(units for _, units in outputs) - fee
        if change < 0:
            raise SandboxError(f"these coins are {-change} units short of the outputs and the fee; pay less")
        paid = [*outputs, (await self.address(), change)] if change >= _DUST else list(outputs)
        tx = Tx(tuple(TxIn(txid, vout) for txid, vout, _ in coins), await self._outputs(paid))
        signed = await self.rpc.call("signrawtransactionwithwallet", build.serialize(tx).hex())
        if not signed["complete"]:
            raise SandboxError(f"the wallet cannot sign this: {signed['errors']}")
        return str(signed["hex"])

    async def _outputs(self, outputs: Sequence[Output]) -> tuple[TxOut, ...]:
        addresses = list({to: None for to, _ in outputs})
        answers = await self.rpc.each("validateaddress", [(to,) for to in addresses])
        wrong = [to for to, answer in zip(addresses, answers, strict=True) if not answer["isvalid"]]
        if wrong:
            raise SandboxError(f"{wrong[0]!r} is no address of this node's network")
        scripts = {to: bytes.fromhex(answer["scriptPubKey"]) for to, answer in zip(addresses, answers, strict=True)}
        return tuple(TxOut(units, scripts[to]) for to, units in outputs)

    async def _mempool_without(self, drop: Collection[str]) -> list[str]:
        """Return the mempool's ids, parents first, without these and all that spend from them."""
        entries: dict[str, Json] = await self.rpc.call("getrawmempool", True)
        kept: list[str] = []
        lost = set(drop)
        for txid in sorted(entries, key=lambda txid: int(entries[txid]["ancestorcount"])):
            if txid in lost or not lost.isdisjoint(entries[txid]["depends"]):
                lost.add(txid)
            else:
                kept.append(txid)
        return kept

    async def _until(self, holds: Callable[[], Awaitable[bool]], complaint: str) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await holds():  # noqa: ASYNC110 a node tells nobody that it is ready
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            raise SandboxError(f"{complaint} within {START_SECONDS} seconds") from error


def _units(amount: Json) -> int:
    return int(amount * COIN)
