"""D26: the drill. An old backup is restored under a shop that went on: nothing is issued or told twice in silence."""

import json
import os
import signal
from pathlib import Path

import asyncpg
import pyrage
import pytest

from kassa.chains.bitcoin.devnode import DevNode
from tests.e2e.program import Json, Program, installed
from tests.tools.sink import Got, Sink


def address(invoice: Json) -> str:
    return str(invoice["payment_options"][0]["address"])


def told(got: Got) -> tuple[str, str]:
    """Return what a post was about, whatever the event's id."""
    event = json.loads(got.body)
    return event["type"], event["data"]["object"]["id"]


async def pay(kassa: Program, node: DevNode, invoice: Json) -> None:
    await node.fund(address(invoice), 100_000)
    await node.mine()
    await kassa.until_invoice(invoice, status="settled")


@pytest.mark.timeout(600)
async def test_d26_restoring_an_old_backup_repeats_nothing_in_silence(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "key.txt").write_text(f"{key}\n")
    file = str(tmp_path / "kassa.age")
    async with Sink() as sink, installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store()
        await kassa.call("POST", "/v1/webhooks", {"url": f"{sink.url}/hook", "events": ["*"]})
        before = await kassa.invoice()
        await pay(kassa, bitcoind, before)
        open_then = await kassa.invoice()
        code, said = await kassa.run("backup", "--to", file, "--recipient", str(key.to_public()))
        assert (code, "read back and whole" in said) == (0, True), said

        await pay(kassa, bitcoind, open_then)
        forgotten = await kassa.invoice()
        await pay(kassa, bitcoind, forgotten)
        shown = [await kassa.invoice() for _ in range(3)]
        history = await kassa.events()
        await sink.until(lambda: {told_of(event) for event in history} <= set(map(told, sink.got)))
        assert not any("webhook-restored" in got.headers for got in sink.got)
        known = set(map(told, sink.got))
        first = len(sink.got)
        await kassa.stop()
        code, said = await kassa.run("restore", file, "--identity", str(tmp_path / "key.txt"), "--replace")
        assert code == 0, said

        await kassa.start("up")
        await kassa.ready()
        await kassa.until_invoice(open_then, status="settled", payments=["settled"])
        await sink.until(lambda: ("invoice.settled", open_then["id"]) in set(map(told, sink.got[first:])))
        fresh = await kassa.invoice()
        assert address(fresh) not in {address(each) for each in (before, open_then, forgotten, *shown)}
        assert (await kassa.call("GET", f"/v1/invoices/{forgotten['id']}"))[0] == 404
        await bitcoind.fund(address(shown[1]), 100_000)
        await bitcoind.mine()
        await kassa.until(lambda: unowned(database_url, {address(forgotten), address(shown[1])}))
        assert (await kassa.run("reconcile"))[0] == 0

        again = [got for got in sink.got[first:] if told(got) in known]
        assert again
        assert {got.headers.get("webhook-restored") for got in again} == {"true"}


@pytest.mark.timeout(600)
async def test_d26_a_process_that_slept_through_a_restore_ends_and_issues_nothing_again(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "key.txt").write_text(f"{key}\n")
    file = str(tmp_path / "kassa.age")
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store()
        known = [await kassa.invoice()]
        assert (await kassa.run("backup", "--to", file, "--recipient", str(key.to_public())))[0] == 0
        known += [await kassa.invoice() for _ in range(3)]
        os.kill(kassa.pid("up"), signal.SIGSTOP)
        await ended(database_url)  # as by a restart of the server
        code, said = await kassa.run("restore", file, "--identity", str(tmp_path / "key.txt"), "--replace")
        assert (code, "counter on bitcoin-regtest: from 1 to " in said) == (0, True), said
        os.kill(kassa.pid("up"), signal.SIGCONT)
        assert await kassa.died("up") == 1
        assert "the database was restored since this process started" in kassa.log("up")

        await kassa.start("up")
        await kassa.ready()
        assert address(await kassa.invoice()) not in set(map(address, known))


async def ended(url: str) -> None:
    """End every connection of Kassa to its database."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where application_name = 'kassa' and datname = current_database()"
        )
    finally:
        await connection.close()


def told_of(event: Json) -> tuple[str, str]:
    return event["type"], event["data"]["object"]["id"]


async def unowned(url: str, addresses: set[str]) -> bool:
    """Tell whether the money that came to addresses is in the books as nobody's."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch(
            "select a.address from payments p join addresses a on a.id = p.address_id where p.store_id is null"
        )
        return {row["address"] for row in found} == addresses
    finally:
        await connection.close()
