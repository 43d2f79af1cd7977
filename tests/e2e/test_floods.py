"""A17, D29, E44: the real program while somebody floods its port, one of its invoices, or the network its node."""

import asyncio
import gzip
import resource
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from statistics import median
from time import monotonic

import aiohttp
import pytest
from embit import bech32

from kassa.api.server import HEAD_SECONDS
from kassa.chains.bitcoin.devnode import DevNode
from tests.e2e.program import Program, installed

SOCKETS, SECONDS = 5_000, 8
READERS, ORDERS = 6, 9
GROWTH_KB = 150_000
"""What the program may take more of while it is flooded: far less than what is thrown at it."""


@pytest.fixture
async def kassa(bitcoind: DevNode, database_url: str, tmp_path: Path) -> AsyncIterator[Program]:
    was = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (was[1], was[1]))  # the program's too, for it inherits it
    try:
        async with installed(tmp_path / "kassa", bitcoind, database_url) as program:
            await program.start("up")
            await program.ready()
            await program.open_store()
            yield program
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, was)


def memory_kb(kassa: Program) -> int:
    """Return the resident memory of the program."""
    status = Path(f"/proc/{kassa.pid('up')}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


async def crawl(port: int, until: float) -> None:
    """Begin a request, send a byte of it now and then, and begin again whenever we were thrown out."""
    while monotonic() < until:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"POST /v1/invoices HTTP/1.1\r\nhost: x\r\n")
                while monotonic() < until and not writer.is_closing():
                    await asyncio.sleep(2)
                    writer.write(b"x")
                    await writer.drain()
            finally:
                writer.transport.abort()
        await asyncio.sleep(3)


@asynccontextmanager
async def crawling(kassa: Program) -> AsyncIterator[None]:
    until = monotonic() + SECONDS
    tasks = [asyncio.create_task(crawl(kassa.port, until)) for _ in range(SOCKETS)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def newcomer(kassa: Program) -> int:
    """Ask as somebody who was never here; return the status. How long it takes is this process's own matter, mostly."""
    headers, limit = {"Authorization": f"Bearer {kassa.key}"}, aiohttp.ClientTimeout(total=3 * HEAD_SECONDS)
    async with (
        aiohttp.ClientSession(headers=headers, timeout=limit) as session,
        session.get(f"{kassa.url}/v1/assets") as answer,
    ):
        await answer.read()
        return answer.status


@asynccontextmanager
async def reading(kassa: Program, invoice_id: str) -> AsyncIterator[list[int]]:
    """Let strangers ask for an invoice's page as often as it comes; yield what they were answered."""
    answers: list[int] = []

    async def read() -> None:
        async with aiohttp.ClientSession(kassa.url) as session:
            while True:
                async with session.get(f"/i/{invoice_id}") as answer:
                    await answer.read()
                    answers.append(answer.status)

    tasks = [asyncio.create_task(read()) for _ in range(READERS)]
    try:
        yield answers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def waits_of_orders(kassa: Program) -> list[float]:
    waits = []
    for _ in range(ORDERS):
        began = monotonic()
        await kassa.invoice()
        waits.append(monotonic() - began)
        await asyncio.sleep(0.2)
    return waits


async def test_a17_who_looks_at_a_flooded_invoice_again_and_again_stalls_no_order(
    kassa: Program, bitcoind: DevNode
) -> None:
    plain, flooded = await kassa.invoice(), await kassa.invoice(amount="1000.00")
    for _ in range(4):
        await bitcoind.send_many([(flooded["payment_options"][0]["address"], 600)] * 500)
    await kassa.until_invoice(flooded, payments_left_off=1_950)
    waits: dict[str, list[float]] = {plain["id"]: [], flooded["id"]: []}
    for invoice_id in [*waits] * 3:  # in turns: what else the machine does is the same for both
        async with reading(kassa, invoice_id) as answers:
            waits[invoice_id] += await waits_of_orders(kassa)
        assert set(answers) == {200}
    assert median(waits[flooded["id"]]) < 3 * median(waits[plain["id"]]), waits


async def test_e44_five_thousand_callers_who_crawl_keep_nobody_out(kassa: Program) -> None:
    before, began = memory_kb(kassa), monotonic()
    answers = []
    async with crawling(kassa):
        while monotonic() < began + SECONDS:
            answers.append(await newcomer(kassa))
            await asyncio.sleep(0.1)
    assert set(answers) == {200}
    assert memory_kb(kassa) - before < GROWTH_KB


async def test_e44_what_swells_is_refused_before_it_does(kassa: Program) -> None:
    before, bomb = memory_kb(kassa), gzip.compress(bytes(200 * 2**20), 1)
    headers = {"Authorization": f"Bearer {kassa.key}", "Content-Type": "application/json"}

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65_536)

    async with aiohttp.ClientSession(kassa.url, headers=headers) as session:
        for _ in range(5):
            async with session.post("/v1/invoices", data=bomb, headers={"Content-Encoding": "gzip"}) as answer:
                assert answer.status == 415
            with suppress(aiohttp.ClientOSError):  # it may hang up in the middle of what we say
                async with session.post("/v1/invoices", data=endless()) as answer:
                    assert answer.status == 413
    assert await newcomer(kassa) == 200
    assert memory_kb(kassa) - before < GROWTH_KB


# ---------------------------------------------------------------- the mempool

_ANYONE = b"\x51"  # a witness script that lets anyone spend
_SCRIPT = b"\0\x20" + sha256(_ANYONE).digest()
_FLOOD, _OUTPUTS = 8_000, 2_000


def spending(txid: str, index: int) -> str:
    """Return a transaction that spends an output of anyone's, to a script of nobody's."""
    spent = bytes.fromhex(txid)[::-1] + struct.pack("<I", index)
    paid = struct.pack("<Q", 600) + b"\x16\0\x14" + sha256(spent).digest()[:20]
    middle = b"\x01" + spent + b"\0" + b"\xff" * 4 + b"\x01" + paid
    return (struct.pack("<I", 2) + b"\0\x01" + middle + b"\x01\x01" + _ANYONE + bytes(4)).hex()


async def flood(node: DevNode) -> list[str]:
    """Make coins that anyone may spend; return transactions that do."""
    address = bech32.encode("bcrt", 0, list(_SCRIPT[2:]))
    raw = []
    for _ in range(_FLOOD // _OUTPUTS):
        txid = await node.send_many([(address, 1_000)] * _OUTPUTS)
        outputs = (await node.rpc.call("getrawtransaction", txid, True))["vout"]
        raw += [spending(txid, o["n"]) for o in outputs if o["scriptPubKey"]["hex"] == _SCRIPT.hex()]
        await node.mine()
    return raw


async def test_d29_a_flood_of_foreign_transactions_hides_no_payment(kassa: Program, bitcoind: DevNode) -> None:
    raw = await flood(bitcoind)
    before = memory_kb(kassa)
    first, last = await kassa.invoice(), await kassa.invoice()

    async def pour() -> None:  # as fast as the node takes them: the case asks for 50,000 a minute
        for start in range(0, len(raw), 100):
            await asyncio.gather(*(bitcoind.rpc.call("sendrawtransaction", each) for each in raw[start : start + 100]))

    async with asyncio.TaskGroup() as group:
        pouring = group.create_task(pour())
        await bitcoind.fund(first["payment_options"][0]["address"], 100_000)
        await kassa.until_invoice(first, status="processing")
    assert pouring.done()
    await bitcoind.fund(last["payment_options"][0]["address"], 100_000)
    await kassa.until_invoice(last, status="processing")
    for _ in range(2):  # the first holds most of the flood
        await bitcoind.mine()
        await kassa.until(lambda: stands_on_tip(kassa, bitcoind))  # before the next: blocks come every ten minutes
    await kassa.until_invoice(last, status="settled")
    assert memory_kb(kassa) - before < GROWTH_KB


async def stands_on_tip(kassa: Program, node: DevNode) -> bool:
    [network] = (await kassa.call("GET", "/v1/networks"))[1]["data"]
    return bool(network["height"] == (await node.tip()).height)
