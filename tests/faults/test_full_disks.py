"""D10: volumes that are full, of the log, of the database, of the data folder and of a node."""

import asyncio
import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pyrage
import pytest

from kassa.chains.base import Program as NodeProgram
from kassa.chains.bitcoin.devnode import DevNode
from kassa.core.errors import SandboxError
from kassa.core.files import write_whole
from kassa.wallets.mark import FILE as MARKS
from tests.e2e.program import Json, Program, installed
from tests.nodes import running
from tests.sizes import FULL

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


@pytest.mark.parametrize("unbuffered", ["", "1"])  # as many images of containers set it
async def test_d10_a_full_log_volume_ends_nothing_and_is_counted(
    bitcoind: DevNode, database_url: str, tmp_path: Path, unbuffered: str
) -> None:
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        (kassa.folder / "up.log").symlink_to("/dev/full")
        await kassa.start("up", environment={"PYTHONUNBUFFERED": unbuffered})
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
        await bitcoind.fund(addresses[0], 100_000)
        await bitcoind.mine()
        await kassa.until_invoice(shown[0], status="settled")
        assert await kassa.stop() == [0]


@contextmanager
def full(volume: Path) -> Iterator[None]:
    _fill(volume / "ballast", spare=0)
    yield
    (volume / "ballast").unlink()


@contextmanager
def read_only(volume: Path) -> Iterator[None]:
    """Let nothing be written by whoever opens a file from now on."""
    subprocess.run(["mount", "--bind", str(volume), str(volume)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(volume)], check=True)
    yield
    subprocess.run(["umount", str(volume)], check=True)


@pytest.mark.parametrize("unwritable", [full, read_only])
async def test_d10_a_full_data_folder_shows_no_address_above_its_mark_and_needs_no_repair(
    bitcoind: DevNode,
    database_url: str,
    volume: Path,
    tmp_path: Path,
    unwritable: Callable[[Path], AbstractContextManager[None]],
) -> None:
    """The mark that outlives a lost database cannot be raised: then nobody is shown what it does not cover."""
    folder = tmp_path / "kassa"
    folder.mkdir()
    (folder / "data").symlink_to(volume)
    async with installed(folder, bitcoind, database_url) as kassa:
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store()
        shown = [await kassa.invoice()]
        [mark] = json.loads((volume / MARKS).read_text()).values()
        with unwritable(volume):
            answers = [await order(kassa) for _ in range(2 * mark["index"])]
        made = [answer for status, answer in answers if status == 201]
        assert [status for status, _ in answers] == [201] * len(made) + [503] * (len(answers) - len(made))
        assert 0 < len(made) < mark["index"]

        made += [await kassa.invoice() for _ in range(mark["index"])]
        shown += made
        assert {each["id"] for each in await pages(kassa)} == {each["id"] for each in shown}
        addresses = [each["payment_options"][0]["address"] for each in shown]
        assert len(set(addresses)) == len(addresses)
        assert await kassa.stop() == [0]


async def test_d10_a_volume_that_fills_up_is_told_before_it_is_full_and_until_there_is_room(
    bitcoind: DevNode, database_url: str, volume: Path, tmp_path: Path
) -> None:
    """A volume is made smaller and larger beneath the running program: it fills up without a byte being written."""
    folder = tmp_path / "kassa"
    folder.mkdir()
    (folder / "data").symlink_to(volume)

    async with installed(folder, bitcoind, database_url) as kassa:

        async def found() -> list[tuple[str, str]]:
            _, told = await kassa.run("alert", "list", "--json")
            return [(each["kind"], each["severity"]) for each in json.loads(told)["data"]]

        async def until(size_mib: int, expected: list[tuple[str, str]]) -> None:
            _remount(volume, f"size={size_mib}m")

            async def is_so() -> bool:
                return await found() == expected

            await kassa.until(is_so, seconds=120)

        _remount(volume, "size=8000m")
        await kassa.start("up")
        await kassa.ready()
        await until(3_000, [("disk_fills", "warning")])
        _, told = await kassa.run("alert", "list", "--json")
        [alert] = json.loads(told)["data"]
        assert f"2.9 of 2.9 GiB are left under {volume}" in alert["reason"]
        [line] = [line for line in (await kassa.metrics()).splitlines() if line.startswith("kassa_disk_free_bytes{")]
        assert 2_900 * 2**20 < float(line.split()[-1]) < 3_000 * 2**20
        await until(500, [("disk_fills", "critical")])
        await until(8_000, [])
        assert await kassa.stop() == [0]


async def test_d10_a_backup_that_leaves_too_little_for_the_next_one_is_told_until_one_finds_room(
    bitcoind: DevNode, database_url: str, volume: Path, tmp_path: Path
) -> None:
    key = str(pyrage.x25519.Identity.generate().to_public())
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        await kassa.start("up")
        await kassa.ready()

        async def backup(name: str) -> Json:
            code, told = await kassa.run("backup", "--to", str(volume / name), "--recipient", key, "--json")
            assert code == 0, told
            return json.loads(told)  # type: ignore[no-any-return]

        async def reasons() -> list[str]:
            _, told = await kassa.run("alert", "list", "--json")
            return [each["reason"] for each in json.loads(told)["data"] if each["kind"] == "disk_fills"]

        async def is_told() -> bool:
            return await reasons() != []

        async def is_over() -> bool:
            return await reasons() == []

        size = (await backup("first.age"))["bytes"]
        _fill(volume / "ballast", spare=5 * size // 2)
        await backup("second.age")
        await kassa.until(is_told, seconds=120)
        [reason] = await reasons()
        assert f"left on the volume of {volume} on " in reason
        assert "keep fewer (--keep)" in reason
        (volume / "ballast").unlink()
        await backup("third.age")
        await kassa.until(is_over, seconds=120)
        assert await kassa.stop() == [0]


async def test_d10_a_backup_on_a_volume_that_fills_half_way_says_so_and_leaves_nothing(
    bitcoind: DevNode, database_url: str, volume: Path, tmp_path: Path
) -> None:
    key = str(pyrage.x25519.Identity.generate().to_public())
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        await kassa.open_store()
        backup = ("backup", "--to", str(volume), "--recipient", key, "--json")
        _, told = await kassa.run(*backup)
        made = Path(json.loads(told)["file"])
        _fill(volume / "ballast", spare=json.loads(told)["bytes"] // 2)
        code, told = await kassa.run(*backup)
        assert code == 1
        assert "No space left on device" in told
        assert "is there room for it" in told or "cannot be written" in told
        assert _names(volume) == ["ballast", made.name]
        (volume / "ballast").unlink()
        assert (await kassa.run(*backup))[0] == 0


async def test_d10_a_restore_to_a_read_only_volume_says_so_changes_nothing_and_works_once_it_can_write(
    bitcoind: DevNode, database_url: str, volume: Path, tmp_path: Path
) -> None:
    key, made, folder = pyrage.x25519.Identity.generate(), tmp_path / "made.age", tmp_path / "kassa"
    (tmp_path / "key").write_text(str(key))
    folder.mkdir()
    (folder / "data").symlink_to(volume)
    async with installed(folder, bitcoind, database_url) as kassa:
        await kassa.open_store()
        assert (await kassa.run("backup", "--to", str(made), "--recipient", str(key.to_public())))[0] == 0
        _, stores = await kassa.run("store", "list")
        restore = ("restore", str(made), "--identity", str(tmp_path / "key"), "--replace")
        with read_only(volume):
            code, told = await kassa.run(*restore)
        assert (code, "Traceback" in told, "Read-only file system" in told) == (1, False, True), told
        assert "mount it for writing, and restore again" in told
        assert (await kassa.run("store", "list"))[1] == stores
        assert (await kassa.run(*restore))[0] == 0


@pytest.mark.parametrize("spare", [0, 8_192], ids=["nothing", "the marks alone"])
async def test_d10_a_restore_to_a_full_volume_says_so_changes_nothing_and_works_with_room(
    bitcoind: DevNode, database_url: str, volume: Path, tmp_path: Path, spare: int
) -> None:
    key, made = pyrage.x25519.Identity.generate(), tmp_path / "made.age"
    (tmp_path / "key").write_text(str(key))
    async with installed(volume / "kassa", bitcoind, database_url) as kassa:
        await kassa.open_store()
        assert (await kassa.run("backup", "--to", str(made), "--recipient", str(key.to_public())))[0] == 0
        for path in (kassa.folder / "data").iterdir():
            path.unlink()  # another machine
        _, stores = await kassa.run("store", "list")
        _fill(volume / "ballast", spare=spare)
        restore = ("restore", str(made), "--identity", str(tmp_path / "key"), "--replace")
        code, told = await kassa.run(*restore)
        assert (code, "Traceback" in told, "No space left on device" in told) == (1, False, True), told
        assert "make room, and restore again" in told
        (volume / "ballast").unlink()
        assert (await kassa.run("store", "list"))[1] == stores
        assert (await kassa.run(*restore))[0] == 0


async def test_d10_an_embedded_database_that_cannot_start_on_a_full_volume_says_so_and_starts_with_room(
    bitcoind: DevNode, volume: Path
) -> None:
    async with installed(volume / "kassa", bitcoind, "embedded") as kassa:
        assert (await kassa.run("migrate"))[0] == 0
        _fill(volume / "ballast", spare=0)
        code, told = await kassa.run("store", "list")
        assert (code, told.count("make room")) == (1, 1), told
        _, told = await kassa.run("doctor")
        assert "0.0 of 0.2 GiB are left under" in told
        assert "its volume is full: make room" in told
        (volume / "ballast").unlink()
        assert (await kassa.run("store", "list"))[0] == 0
        with read_only(volume):
            code, told = await kassa.run("store", "list")
        assert (code, told.count("mount it for writing")) == (1, 1), told
        assert (await kassa.run("store", "list"))[0] == 0


@pytest.mark.parametrize(("failing", "left"), [(1, "old"), (2, "new")], ids=["the file", "its name"])
def test_d10_a_file_that_a_disk_does_not_keep_is_not_taken_for_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, left: str
) -> None:
    path, asked, fsync = tmp_path / "kept", 0, os.fsync
    write_whole(path, "old")

    def fails(descriptor: int) -> None:
        nonlocal asked
        asked += 1
        if asked == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_whole(path, "new")
    assert path.read_text() == left


async def test_d10_a_node_whose_volume_is_full_loses_no_payment(
    bitcoind_program: NodeProgram, bitcoind_data: Path, database_url: str, volume: Path, tmp_path: Path
) -> None:
    async with (
        running(bitcoind_program, bitcoind_data, volume / "bitcoind", "bitcoin-regtest") as node,
        installed(tmp_path / "kassa", node, database_url) as kassa,
    ):
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store()
        paid = await kassa.invoice()
        _fill(volume / "ballast")
        await node.fund(paid["payment_options"][0]["address"], 100_000)
        await kassa.until_invoice(paid, status="processing")
        with suppress(SandboxError):  # the node gives up rather than write half a block
            for _ in range(100):
                await node.mine(10)

        async def unseen() -> bool:
            [network] = (await kassa.call("GET", "/v1/networks"))[1]["data"]
            return bool(network["state"] == "unreachable")

        if FULL:  # after a minute nobody is asked to pay where nothing is seen
            await kassa.until(unseen, seconds=180)
            assert (await order(kassa))[0] == 503
        # As the node's last blocks said, if it could still write any.
        assert (await kassa.call("GET", f"/v1/invoices/{paid['id']}"))[1]["status"] in ("processing", "settled")

        (volume / "ballast").unlink()
        await node.restart()
        await node.mine()

        async def takes_orders() -> bool:
            return (await order(kassa))[0] == 201

        await kassa.until(takes_orders, seconds=120)
        await kassa.until_invoice(paid, status="settled", payments=["settled"])
        told = [each["type"] for each in await kassa.events() if each["type"].startswith("payment.")]
        assert (told[0], told[-1]) == ("payment.detected", "payment.settled")
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


def _fill(path: Path, spare: int = 65_536) -> None:
    with path.open("wb") as file:
        while True:
            try:
                file.write(bytes(65_536))
                file.flush()
            except OSError:
                os.truncate(path, max(0, path.stat().st_size - spare))
                return


def _remount(volume: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(volume)], check=True)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
