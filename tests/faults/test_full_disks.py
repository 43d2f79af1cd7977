"""D10: volumes that are full, of the log and of the database."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kassa.chains.bitcoin.devnode import DevNode
from tests.e2e.program import Json, Program, installed

VOLUME_MIB = 256


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A small volume of its own."""
    place = tmp_path / "volume"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_MIB}m,mode=0755", "none", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("only who may mount a volume can fill one")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


async def test_d10_a_full_log_volume_ends_nothing_and_is_counted(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        (kassa.folder / "up.log").symlink_to("/dev/full")
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store()
        invoice = await kassa.invoice()
        await bitcoind.fund(invoice["payment_options"][0]["address"], 100_000)
        await bitcoind.mine(1)
        await kassa.until_invoice(invoice, status="settled")
        [lost] = [line for line in (await kassa.metrics()).splitlines() if line.startswith("kassa_log_failures_total ")]
        assert float(lost.split()[1]) > 0
        assert (await kassa.stop())[0] == 0


async def test_d10_a_full_database_volume_is_answered_by_503_and_needs_no_repair(
    bitcoind: DevNode, volume: Path
) -> None:
    async with installed(volume / "kassa", bitcoind, "embedded") as kassa:
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store()
        shown = [await kassa.invoice()]
        _fill(volume / "ballast")
        statuses = []
        while 503 not in statuses:
            for status, answer in await asyncio.gather(*(order(kassa) for _ in range(32))):
                statuses.append(status)
                shown += [answer] if status == 201 else []
        assert set(statuses) <= {201, 503}

        (volume / "ballast").unlink()

        async def takes_orders() -> bool:
            status, answer = await order(kassa)
            assert status in (201, 503), answer
            shown.extend([answer] if status == 201 else [])
            return status == 201

        await kassa.until(takes_orders, seconds=120)
        listed = {each["id"] for each in await pages(kassa)}
        assert {each["id"] for each in shown} <= listed
        created = [each["data"]["object"]["id"] for each in await kassa.events() if each["type"] == "invoice.created"]
        assert sorted(created) == sorted(listed)
        addresses = [each["payment_options"][0]["address"] for each in shown]
        assert len(set(addresses)) == len(addresses)
        assert await kassa.stop() == [0]


async def order(kassa: Program) -> tuple[int, Json]:
    body = {"amount": "50.00", "currency": "EUR", "description": "x" * 900, "metadata": {"x": "y" * 6_000}}
    return await kassa.call("POST", "/v1/invoices", body)


async def pages(kassa: Program) -> list[Json]:
    """Return every invoice."""
    found: list[Json] = []
    cursor = ""
    while True:
        _, page = await kassa.call("GET", f"/v1/invoices?limit=100{cursor}")
        found += page["data"]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def _fill(path: Path) -> None:
    with path.open("wb") as file:
        while True:
            try:
                file.write(bytes(65_536))
                file.flush()
            except OSError:
                os.truncate(path, max(0, path.stat().st_size - 65_536))
                return
