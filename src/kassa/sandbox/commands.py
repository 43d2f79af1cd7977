"""What is typed beside a running sandbox: invoice, pay, mine, reorg. They command its node and read its public API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from kassa.chains.bitcoin.devnode import DevNode
from kassa.core.errors import SandboxError
from kassa.core.money import format_units, parse_amount
from kassa.sandbox.client import Client, Json
from kassa.sandbox.screen import Screen, program, short, summary
from kassa.sandbox.state import DEFAULT, Folder, State

LIMIT_SECONDS = 30
"""Within this time Kassa must have seen what the node was told to do."""
_DECIMALS = 8


@dataclass(frozen=True, slots=True)
class Bench:
    """A running sandbox as another process reaches it."""

    folder: Folder
    state: State
    client: Client
    node: DevNode
    screen: Screen

    def command(self, *words: str) -> str:
        """Write a command that works on this sandbox."""
        return command(self.folder, *words)


@asynccontextmanager
async def reached(folder: Folder, screen: Screen) -> AsyncIterator[Bench]:
    """Reach the sandbox that runs in a folder; raises `SandboxError` if none does."""
    state = folder.running()
    node = DevNode.attach(state.node_url)
    try:
        async with Client(state.api_url, state.api_key) as client:
            yield Bench(folder, state, client, node, screen)
    finally:
        await node.close()


async def make_invoice(bench: Bench, amount: str, currency: str) -> None:
    """Make an invoice of the demo store and say how it can be paid."""
    invoice = await bench.client.post("/v1/invoices", {"amount": amount, "currency": currency, "expires_in": 3600})
    bench.screen.tell({"invoice": invoice})
    show_invoice(bench.screen, invoice)
    bench.screen.line(f"\nPay it:  {bench.command('pay')}", "dim")


async def pay(bench: Bench, wanted: str, amount: str | None) -> None:
    """Pay an invoice, by default what is still due, and wait until Kassa has seen it."""
    screen = bench.screen
    invoice = await bench.client.invoice(wanted)
    option = invoice["payment_options"][0]
    units = parse_amount(amount or option["amount_due"], _DECIMALS)
    if units == 0:
        raise SandboxError(f"nothing is due on {invoice['id']}, it is {invoice['status']}: pay more by --amount")
    began = perf_counter()
    txid = await bench.node.fund(option["address"], units)
    screen.done("sent", f"{format_units(units, _DECIMALS)} BTC to {option['address']}")
    screen.field("  transaction", txid)
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
        screen.line(f"\nThe payment settles with {blocks}:  {bench.command(*words)}", "dim")
    paid = format_units(units, _DECIMALS)
    screen.tell({"txid": txid, "amount": paid, "seen_ms": round(took * 1000), "invoice": seen})


async def mine(bench: Bench, count: int) -> None:
    """Mine blocks and wait until Kassa has followed."""
    before = await _newest(bench)
    blocks = await bench.node.mine(count)
    tip = await bench.node.tip()
    bench.screen.done("mined", f"{_blocks(count)}, the chain is {tip.height} blocks long")
    took = await _followed(bench, tip.hash)
    bench.screen.done("Kassa follows", f"at height {tip.height}", took)
    invoice = await _compared(bench, before)
    bench.screen.tell({"blocks": list(blocks), "height": tip.height, "invoice": invoice})


async def reorganise(bench: Bench, depth: int | None, wanted: str, *, drop: bool) -> None:
    """Replace the last blocks; with `drop` the new ones leave the invoice's payments out, which wait in the mempool."""
    screen = bench.screen
    before = await bench.client.invoice(wanted) if drop else await _newest(bench)
    tip = await bench.node.tip()
    dropped = _confirmed(before) if drop and before is not None else {}
    if drop and not dropped:
        raise SandboxError("no block holds a payment of that invoice: pay it and mine, then try again")
    reach = tip.height - min(dropped.values()) + 1 if dropped else 1
    depth = reach if depth is None else depth
    if depth < reach:
        raise SandboxError(f"the payment lies {reach} blocks deep: replace at least {reach}")
    if depth > tip.height - bench.state.base_height:
        mined = tip.height - bench.state.base_height
        raise SandboxError(f"only the {mined} blocks mined since the sandbox began can be replaced: mine more first")
    blocks = await bench.node.fork(depth, drop=dropped.keys())
    tip = await bench.node.tip()
    left_out = f", without {', '.join(short(txid) for txid in dropped)}" if dropped else ", with the same payments"
    screen.done("replaced", f"{_blocks(depth)} by {depth + 1} others{left_out}")
    took = await _followed(bench, tip.hash)
    screen.done("Kassa follows", f"at height {tip.height}", took)
    invoice = await _compared(bench, before)
    if dropped:
        screen.line(f"\nThe payment waits in the mempool; the next block takes it up:  {bench.command('mine')}", "dim")
    screen.tell({"replaced": depth, "blocks": list(blocks), "dropped": list(dropped), "invoice": invoice})


def show_invoice(screen: Screen, invoice: Json) -> None:
    """Print where and what to pay."""
    option = invoice["payment_options"][0]
    screen.field("invoice", invoice["id"])
    screen.field("checkout", invoice["checkout_url"], "bold cyan")
    screen.field("to pay", f"{option['amount_due']} BTC  ({invoice['amount']} {invoice['currency']})")
    screen.field("address", option["address"])


def command(folder: Folder, *words: str) -> str:
    """Write a command for the sandbox of a folder, as it must be typed here."""
    return program("sandbox", *words, folder=None if folder.path == DEFAULT.resolve() else folder.path)


async def _newest(bench: Bench) -> Json | None:
    found = (await bench.client.get("/v1/invoices", limit="1"))["data"]
    return found[0] if found else None


async def _followed(bench: Bench, tip: str) -> float:
    """Wait until Kassa stands on a block; return the seconds that took."""
    began = perf_counter()

    def stands(networks: Json) -> bool:
        return all(network["hash"] == tip for network in networks["data"])

    await bench.client.until("/v1/networks", stands, LIMIT_SECONDS, f"Kassa to follow to {tip}")
    return perf_counter() - began


async def _compared(bench: Bench, before: Json | None) -> Json | None:
    """Show what became of the invoice that was newest (or named) before."""
    if before is None:
        return None
    now = await bench.client.get(f"/v1/invoices/{before['id']}")
    change = "" if now["status"] == before["status"] else f"  (was {before['status']})"
    bench.screen.done("invoice", summary(now) + change)
    return now


def _payment(invoice: Json, txid: str) -> dict[str, Any] | None:
    return next((payment for payment in invoice["payments"] if payment["txid"] == txid), None)


def _confirmed(invoice: Json) -> dict[str, int]:
    """Return the heights of the blocks that hold the invoice's payments, by transaction."""
    return {p["txid"]: p["block_height"] for p in invoice["payments"] if p["block_height"] is not None}


def _blocks(count: int) -> str:
    return "1 block" if count == 1 else f"{count} blocks"
