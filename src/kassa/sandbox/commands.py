"""What is typed beside a running sandbox: invoice, pay, mine, reorg. They command its node and read its public API."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from kassa.core.errors import SandboxError
from kassa.core.money import format_units, parse_amount
from kassa.sandbox.chains import ANVIL, BITCOIN, COIN, Chains, attach
from kassa.sandbox.client import Client, Json
from kassa.sandbox.screen import Screen, plain, program, relative, short, summary
from kassa.sandbox.state import DEFAULT, Folder, State

LIMIT_SECONDS = 30
"""Within this time Kassa must have seen what the node was told to do."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A running sandbox as another process reaches it."""

    folder: Folder
    state: State
    client: Client
    chains: Chains
    screen: Screen

    def command(self, *words: str) -> str:
        """Write a command that works on this sandbox."""
        return command(self.folder, *words)


@asynccontextmanager
async def reached(folder: Folder, screen: Screen) -> AsyncIterator[Bench]:
    """Reach the sandbox that runs in a folder; raises `SandboxError` if none does."""
    state = folder.running()
    chains = attach(state.nodes)
    try:
        async with Client(state.api_url, state.api_key) as client:
            yield Bench(folder, state, client, chains, screen)
    finally:
        for node in chains.nodes.values():
            await node.close()


async def make_invoice(bench: Bench, amount: str, currency: str) -> None:
    """Make an invoice of the demo store and say how it can be paid."""
    invoice = await bench.client.post("/v1/invoices", {"amount": amount, "currency": currency, "expires_in": 3600})
    bench.screen.tell({"invoice": invoice})
    show_invoice(bench.screen, invoice)
    await _say_why_more(bench)
    bench.screen.line(f"\nPay it:  {bench.command('pay')}", "dim")


async def pay(bench: Bench, wanted: str, amount: str | None, asset: str | None) -> None:
    """Pay an invoice, by default what is due in its first asset, and wait until Kassa has seen it."""
    screen = bench.screen
    invoice = await bench.client.invoice(wanted)
    option = _option(invoice, asset)
    units = parse_amount(amount or option["amount_to_send"], option["decimals"])
    if units == 0:
        raise SandboxError(f"nothing is due on {invoice['id']}, it is {invoice['status']}: pay more by --amount")
    began = perf_counter()
    txid = await bench.chains.nodes[option["network"]].fund(option["address"], units, option["symbol"])
    paid = format_units(units, option["decimals"])
    screen.done("sent", f"{plain(paid)} {option['symbol']} to {option['address']}")
    screen.field("  transaction", txid)
    if option["network"] == ANVIL and option["symbol"] != COIN:
        # A token moves when its contract runs, in a block: before that there is nothing to be seen.
        screen.tell({"txid": txid, "amount": paid, "seen_ms": None, "invoice": invoice})
        screen.line(f"\nA token is seen in its block:  {bench.command('mine')}", "dim")
        return
    seen = await bench.client.until(
        f"/v1/invoices/{invoice['id']}", lambda now: _payment(now, txid) is not None, LIMIT_SECONDS, f"payment {txid}"
    )
    took = perf_counter() - began
    payment = _payment(seen, txid)
    screen.done("Kassa saw it", summary(seen), took)
    if payment is not None and payment["confirmations"] < payment["confirmations_required"]:
        missing = payment["confirmations_required"] - payment["confirmations"]
        blocks = "a block" if missing == 1 else f"{missing} blocks"
        words = ["mine"] if missing == 1 else ["mine", str(missing)]
        await _say_why_more(bench, option["network"])
        screen.line(f"\nThe payment settles with {blocks}:  {bench.command(*words)}", "dim")
    screen.tell({"txid": txid, "amount": paid, "seen_ms": round(took * 1000), "invoice": seen})


async def mine(bench: Bench, count: int, network: str | None) -> None:
    """Mine blocks on one network, or on each, and wait until Kassa has followed."""
    before = await _newest(bench)
    blocks, heights = {}, {}
    for name in _networks(bench, network):
        node = bench.chains.nodes[name]
        blocks[name] = list(await node.mine(count))
        heights[name] = (await node.tip()).height
        bench.screen.done("mined", f"{_blocks(count)} on {name}, its chain is {heights[name]} blocks long")
    took = await _followed(bench, {name: mined[-1] for name, mined in blocks.items()})
    bench.screen.done("Kassa follows", ", ".join(f"{name} at height {at}" for name, at in heights.items()), took)
    invoice = await _compared(bench, before)
    if invoice is not None and not invoice["is_final"]:
        await _say_why_more(bench, network)
    bench.screen.tell({"blocks": blocks, "heights": heights, "invoice": invoice})


async def reorganise(bench: Bench, depth: int | None, wanted: str, network: str | None, *, drop: bool) -> None:
    """Replace the last blocks of a network; with `drop` the new ones leave the invoice's payments out."""
    screen = bench.screen
    before = await bench.client.invoice(wanted) if drop else await _newest(bench)
    dropped = _confirmed(before, network) if drop and before is not None else {}
    if drop and not dropped:
        raise SandboxError("no block holds a payment of that invoice: pay it and mine, then try again")
    name = next(iter(dropped.values()))[0] if dropped else _networks(bench, network or BITCOIN)[0]
    depth = await _reach(bench, name, depth, [height for at, height in dropped.values() if at == name])
    gone = [txid for txid, (at, _) in dropped.items() if at == name]
    blocks = await bench.chains.nodes[name].fork(depth, drop=frozenset(gone))
    left_out = f", without {', '.join(short(txid) for txid in gone)}" if gone else ", with the same payments"
    screen.done("replaced", f"{_blocks(depth)} of {name} by {depth + 1} others{left_out}")
    took = await _followed(bench, {name: blocks[-1]})
    screen.done("Kassa follows", f"{name} at height {(await bench.chains.nodes[name].tip()).height}", took)
    invoice = await _compared(bench, before)
    if gone:
        waits = (
            "is forgotten by the node; pay again" if name == ANVIL else "waits in the mempool; the next block takes it"
        )
        screen.line(f"\nThe payment {waits}:  {bench.command('pay' if name == ANVIL else 'mine')}", "dim")
    screen.tell({"replaced": depth, "network": name, "blocks": list(blocks), "dropped": gone, "invoice": invoice})


def show_invoice(screen: Screen, invoice: Json) -> None:
    """Print where and what to pay."""
    screen.field("invoice", invoice["id"])
    screen.field("checkout", invoice["checkout_url"], "bold cyan")
    screen.field("price", f"{invoice['amount']} {invoice['currency']}")
    for option in invoice["payment_options"]:
        screen.field("to pay", f"{plain(option['amount_to_send'])} {option['symbol']} to {option['address']}")


def command(folder: Folder, *words: str) -> str:
    """Write a command for the sandbox of a folder, as it must be typed here."""
    return program("sandbox", *words, folder=None if folder.path == DEFAULT.resolve() else folder.path)


async def _newest(bench: Bench) -> Json | None:
    found = (await bench.client.get("/v1/invoices", limit="1"))["data"]
    return found[0] if found else None


async def _followed(bench: Bench, tips: Mapping[str, str]) -> float:
    """Wait until Kassa stands on a block of each of these networks; return the seconds that took."""
    began = perf_counter()

    def stands(networks: Json) -> bool:
        hashes = {network["id"]: network["hash"] for network in networks["data"]}
        return all(hashes[name] == tip for name, tip in tips.items())

    await bench.client.until("/v1/networks", stands, LIMIT_SECONDS, f"Kassa to follow to {', '.join(tips.values())}")
    return perf_counter() - began


async def _compared(bench: Bench, before: Json | None) -> Json | None:
    """Show what became of the invoice that was newest (or named) before."""
    if before is None:
        return None
    now = await bench.client.get(f"/v1/invoices/{before['id']}")
    change = "" if now["status"] == before["status"] else f"  (was {before['status']})"
    bench.screen.done("invoice", summary(now) + change)
    return now


async def _say_why_more(bench: Bench, network: str | None = None) -> None:
    """Say which alerts ask for more confirmations (of one network, or of any), and how to end them."""
    alerts = (await bench.client.get("/v1/alerts", status="open"))["data"]
    for alert in alerts:
        for action in alert["actions"]:
            if action["action"] == "raised" and network in (None, action["target"]):
                least = f"payments on {action['target']} need at least {action['blocks']} confirmations now"
                bench.screen.line(f"\n{least}: {alert['reason']}", "yellow")
                bench.screen.line(f"end that:  {_closing(bench, alert['id'])}", "dim")


def _closing(bench: Bench, alert: str) -> str:
    settings = relative(bench.folder.settings)
    return program("alert", "close", alert, "--undo", "--note", "tried", "--config", settings)


def _payment(invoice: Json, txid: str) -> dict[str, Any] | None:
    return next((payment for payment in invoice["payments"] if payment["txid"] == txid), None)


def _confirmed(invoice: Json, network: str | None) -> dict[str, tuple[str, int]]:
    """Return network and height of the blocks that hold the invoice's payments, by transaction."""
    found = {
        payment["txid"]: (payment["asset"].partition("@")[2], payment["block_height"])
        for payment in invoice["payments"]
        if payment["block_height"] is not None
    }
    return {txid: place for txid, place in found.items() if network is None or place[0] == network}


async def _reach(bench: Bench, network: str, depth: int | None, heights: Sequence[int]) -> int:
    """Return how many blocks to replace so that those at `heights` are among them; raises `SandboxError`."""
    tip = (await bench.chains.nodes[network].tip()).height
    reach = tip - min(heights) + 1 if heights else 1
    depth = reach if depth is None else depth
    if depth < reach:
        raise SandboxError(f"the payment lies {reach} blocks deep: replace at least {reach}")
    if depth > (mined := tip - bench.state.nodes[network].base_height):
        raise SandboxError(f"only the {mined} blocks mined since the sandbox began can be replaced: mine more first")
    return depth


def _option(invoice: Json, asset: str | None) -> Json:
    """Choose how to pay: by an asset's name or symbol, or by the first one offered."""
    options: list[Json] = invoice["payment_options"]
    for option in options:
        if asset is None or asset in (option["asset"], option["symbol"]):
            return option
    raise SandboxError(f"the invoice offers {', '.join(option['asset'] for option in options)}, not {asset}")


def _networks(bench: Bench, network: str | None) -> list[str]:
    names = list(bench.chains.nodes)
    if network is not None and network not in names:
        raise SandboxError(f"there is no network {network!r} here; there are {', '.join(names)}")
    return names if network is None else [network]


def _blocks(count: int) -> str:
    return "1 block" if count == 1 else f"{count} blocks"
