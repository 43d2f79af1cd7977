"""What `kassa doctor` looks at in the nodes of a network."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import numpy as np

from kassa.chains.base import Chain, ChainSource, Keys, Probe
from kassa.core.clock import SystemClock
from kassa.core.errors import ChainError, ChainInvalid, KassaError
from kassa.core.facts import Ability, Opened, Tip
from kassa.doctor.finding import Finding, Verdict, skew
from kassa.house import connection_of, second_connection_of
from kassa.settings import Network
from kassa.watch.rules import INTERNAL, contract_doubt, lag

WAIT_SECONDS = 5
LISTEN_SECONDS = 5
"""How long to wait for a pushed message: on a busy network several come each second."""


async def look_at_network(network: Network, chain: Chain, height: int | None = None) -> list[Finding]:
    """Look at a network's nodes: whether they answer, hold its chain, are current, and push what they should.

    `height` is that of the last block that Kassa has seen there; None where it has seen none, or cannot be asked.
    """
    source = chain.connect(connection_of(network))
    try:
        findings = [await _look(f"{network.name} node", source.check, _remedy(network, chain))]
        if findings[0].verdict is not Verdict.FAIL:
            findings += await _tip(network, chain, source, height)
            findings += await _contracts(chain, source)
        return findings + await _second(network, chain) + await _closer(network, chain)
    finally:
        await source.close()


async def _second(network: Network, chain: Chain) -> list[Finding]:
    if network.second_rpc_url is None:
        return []
    source = chain.connect(second_connection_of(network))
    try:
        return [await _look(f"{network.name} second node", source.check, "start it, or correct second_rpc_url")]
    finally:
        await source.close()


async def _closer(network: Network, chain: Chain) -> list[Finding]:
    if chain.probe is None:
        return []
    probe = chain.probe(connection_of(network))
    try:
        name = network.name
        pushed = (_endpoint(name, probe, each) for each in network.zmq)
        looks = [_node_clock(name, probe), _node_about(name, probe), *pushed]
        return [finding for finding in await asyncio.gather(*looks) if finding is not None]
    finally:
        await probe.close()


async def _node_clock(name: str, probe: Probe) -> Finding | None:
    try:
        async with asyncio.timeout(2 * WAIT_SECONDS):
            told = await probe.clock()
    except (ChainError, TimeoutError):
        return None  # a node that does not answer was named before
    if told is None:
        return Finding(f"{name} node clock", Verdict.OK, "not compared: its answers do not tell the time of day")
    return skew(f"{name} node clock", told, Verdict.WARN)


async def _node_about(name: str, probe: Probe) -> Finding | None:
    try:
        async with asyncio.timeout(2 * WAIT_SECONDS):
            about = await probe.about()
    except (ChainError, TimeoutError):
        return None  # a node that does not answer was named before
    if about.outdated:
        detail = f"{about.name} is older than the rules of its chain"
        return Finding(f"{name} node version", Verdict.FAIL, detail, "install a current version")
    if about.warnings:
        remedy = "see what it means: a node that does not know new rules may follow a wrong chain"
        return Finding(f"{name} node version", Verdict.WARN, f"{about.name} warns: {about.warnings[0]}", remedy)
    return Finding(f"{name} node version", Verdict.OK, about.name)


async def _look(check: str, look: Callable[[], Awaitable[Ability]], remedy: str) -> Finding:
    try:
        async with asyncio.timeout(2 * WAIT_SECONDS):
            ability = await look()
    except ChainInvalid as fault:
        return Finding(check, Verdict.FAIL, str(fault), "point rpc_url at a node of the configured chain")
    except ChainError as fault:
        return Finding(check, Verdict.FAIL, str(fault), remedy)
    except TimeoutError:
        return Finding(check, Verdict.FAIL, f"no answer within {2 * WAIT_SECONDS} s", remedy)
    return _able(check, ability)


def _able(check: str, ability: Ability) -> Finding:
    """Say what a node was found to be able to show."""
    detail = "answers, and is on the configured chain"
    if ability.first_height:
        detail += f"; it has pruned what lies below block {ability.first_height}"
        remedy = "it must keep what comes while Kassa is down; reconciling with it notices only too much money"
        return Finding(check, Verdict.WARN, detail, remedy)
    if ability.internal:
        detail += f"; {INTERNAL[ability.internal]}"
    weak = ability.internal in ("balances", "off")
    remedy = "to see each of them, use a node with trace_block or debug_traceBlockByHash"
    return Finding(check, Verdict.WARN if weak else Verdict.OK, detail, remedy)


def _remedy(network: Network, chain: Chain) -> str:
    at = urlsplit(network.rpc_url.reveal())
    place = at.hostname if at.port is None else f"{at.hostname}:{at.port}"
    return f"start the node, or correct rpc_url (now {place}); it must be {chain.node_needs}"


async def _contracts(chain: Chain, source: ChainSource) -> list[Finding]:
    decimals = {asset.id: asset.decimals for asset in chain.assets}
    try:
        async with asyncio.timeout(2 * WAIT_SECONDS):
            seen = await source.contracts()
    except (KassaError, TimeoutError) as fault:
        return [Finding(f"{chain.name} contracts", Verdict.FAIL, str(fault) or "no answer", chain.node_needs)]
    remedy = "correct the token's contract or decimals in the settings"
    findings = []
    for contract in seen:
        wrong = contract_doubt(None, contract, decimals[contract.asset])
        detail = wrong or f"its contract says {contract.decimals} decimals, as the settings do"
        findings.append(Finding(contract.asset, Verdict.FAIL if wrong else Verdict.OK, detail, remedy))
    return findings


async def _tip(network: Network, chain: Chain, source: ChainSource, height: int | None) -> list[Finding]:
    check = f"{network.name} node"
    try:
        async with asyncio.timeout(2 * WAIT_SECONDS):
            tip = await source.tip()
            # Reads a whole block, over REST where the family has it.
            await source.blocks(tip.ref.height, tip.ref.height, _Nothing())
    except (KassaError, TimeoutError) as fault:
        return [Finding(f"{check} blocks", Verdict.FAIL, str(fault) or "no answer", f"it must be {chain.node_needs}")]
    found = [Finding(f"{check} blocks", Verdict.OK, f"block {tip.ref.height} was read")]
    found.append(_sync(f"{check} sync", tip, height, chain.block_seconds))
    age = (SystemClock().now() - tip.time).total_seconds()
    if chain.livemode and age > 6 * chain.block_seconds + 3600:
        found.append(
            Finding(f"{check} tip", Verdict.WARN, f"its last block is {age / 3600:.1f} hours old", "has it peers?")
        )
    if age < -2 * 3600:
        remedy = "set this machine's clock (NTP)"
        found.append(
            Finding(f"{check} block time", Verdict.FAIL, f"its last block is {-age / 3600:.1f} hours ahead", remedy)
        )
    return found


def _sync(check: str, tip: Tip, height: int | None, block_seconds: int) -> Finding:
    """Say whether a node is where its network is, by its own word and by the height that Kassa has seen."""
    below, behind = (height or 0) - tip.ref.height, tip.best_header - tip.ref.height
    if below > lag(block_seconds) and tip.best_header < (height or 0):
        detail = f"at height {tip.ref.height}, {below} blocks behind what Kassa has seen: nobody is asked to pay"
        remedy = (
            "is it on another branch, without peers, or an older copy? once it has caught up, all goes on by itself"
        )
        return Finding(check, Verdict.WARN, detail, remedy)
    if tip.behind:
        return Finding(check, Verdict.WARN, f"{behind} blocks behind its headers", "wait until it is done")
    return Finding(check, Verdict.OK, f"at height {tip.ref.height}")


async def _endpoint(name: str, probe: Probe, address: str) -> Finding:
    check = f"{name} push {address}"
    options = f"-zmqpubhashblock={address} -zmqpubrawtx={address}"
    at = urlsplit(address)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            _, writer = await asyncio.open_connection(at.hostname, at.port)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        heard = await probe.pushed(address, LISTEN_SECONDS)
    except (OSError, TimeoutError, ChainError) as fault:
        remedy = f"start the node with {options}, or remove the address from zmq"
        return Finding(check, Verdict.FAIL, f"is not open: {fault or 'no answer'}", remedy)
    if heard is None:
        detail = f"is open, but no message came within {LISTEN_SECONDS} s"
        remedy = f"normal where nobody pays at the moment; if it stays so, is the node started with {options}?"
        return Finding(check, Verdict.WARN, detail, remedy)
    return Finding(check, Verdict.OK, f"messages arrive ({heard})")


class _Nothing:
    """Watches for nothing: a block is read for the reading's sake."""

    async def refresh(self) -> None:
        return None

    @property
    def destinations(self) -> Keys:
        return np.empty(0, dtype=np.int64)

    @property
    def outpoints(self) -> Keys:
        return np.empty(0, dtype=np.int64)

    async def open(self) -> Opened:
        return Opened()
