"""`kassa sandbox` as people and programs use it: the real program, in processes of its own."""

import base64
import json
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue
from subprocess import PIPE, STDOUT, Popen, run
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook

from kassa.chains.bitcoin.devnode import DevNode as BitcoinNode
from kassa.chains.devprocess import free_port
from kassa.sandbox.receiver import fault_of
from kassa.sandbox.start import _port

KASSA = Path(sys.executable).parent / "kassa"
LIMIT_SECONDS = 120
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()

pytestmark = pytest.mark.timeout(400)

Json = dict[str, Any]


class Running:
    """A `kassa sandbox --json` in a process of its own, and what it has told so far."""

    def __init__(self, folder: Path, *before: str) -> None:
        self.folder = folder
        self._process = Popen(
            [*before, KASSA, "sandbox", "--json"], cwd=folder, env=environment(), stdout=PIPE, stderr=STDOUT, text=True
        )
        self._lines: Queue[str] = Queue()
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self.document = self._next()
        except BaseException:  # else a later test that has nothing to do with it is told of a process that still runs
            self._process.kill()
            self._process.wait(LIMIT_SECONDS)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.end(signal.SIGINT)

    def end(self, how: signal.Signals) -> int:
        self._process.send_signal(how)
        code = self._process.wait(LIMIT_SECONDS)
        self._listener.join(LIMIT_SECONDS)
        return code

    def events(self, invoice: str, count: int) -> list[str]:
        """Return the types of the next events about an invoice; the others are passed over."""
        types: list[str] = []
        while len(types) < count:
            event = self._next()
            resource = event["data"]["object"]
            if invoice in (resource["id"], resource.get("invoice_id")):
                types.append(event["type"])
        return types

    def _next(self) -> Json:
        line = self._lines.get(timeout=LIMIT_SECONDS)
        assert line.startswith("{"), line
        return dict(json.loads(line))

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._lines.put(line)
        self._lines.put("it ended")


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("KASSA_")} | more


def command(folder: Path, *words: str, **more: str) -> tuple[int, str, str]:
    """Run `kassa sandbox …` to its end; return its exit code, its output and its complaints."""
    done = run(
        [KASSA, "sandbox", *words], cwd=folder, env=environment(**more), capture_output=True, text=True,
        timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def told(folder: Path, *words: str) -> Json:
    """Run a command with --json and return what it answers."""
    code, output, complaints = command(folder, *words, "--json")
    assert code == 0, complaints
    return dict(json.loads(output))


def processes(folder: Path) -> list[str]:
    """Return the command lines of all processes that were told of a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


def is_open(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port)) == 0


@contextmanager
def made_folder() -> Iterator[Path]:
    # Not pytest's own: every run of pytest closes the folder above them to other users, and the database runs as one.
    with TemporaryDirectory(prefix="kassa-test-") as path:
        yield Path(path)


@pytest.fixture
def folder() -> Iterator[Path]:
    with made_folder() as path:
        yield path


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Running]:
    """One sandbox for the tests that only use it."""
    with made_folder() as path, Running(path) as started:
        yield started


def test_once_plays_the_whole_story_and_leaves_nothing(folder: Path) -> None:
    code, output, complaints = command(folder, "--once", TMPDIR=str(folder))

    assert (code, complaints) == (0, "")
    for words in (
        "invoice.created, signature verified",
        "new → processing, 0.00 EUR settled",
        "processing → settled, 49.90 EUR settled",
        "invoice.reopened, signature verified",
        "settled → processing [reversed], 0.00 EUR settled",
        "9 events, all delivered in order",
        "a webhook with a false signature was refused",
        "All 7 steps went as they must",
    ):
        assert words in output
    assert output.count("invoice.settled, signature verified") == 3
    assert list(folder.iterdir()) == []
    assert processes(folder) == []


# A receiver whose clock is off refuses every webhook, so the first step cannot be completed. The step's two seconds
# begin when the first webhook was refused: it may take longer than that to come.
SABOTAGE = """
import asyncio, sys
from kassa.sandbox import receiver, run, story
waits = receiver.Receiver.nth
async def nth(self, *asked):
    while not self.refused:
        await asyncio.sleep(0.05)
    return await waits(self, *asked)
receiver.Receiver.nth, receiver.TOLERANCE_SECONDS, story.LIMIT_SECONDS = nth, -1, 2
sys.exit(run.once(None, as_json=False))
"""


def test_a_step_that_fails_says_what_was_seen_and_keeps_the_log(folder: Path) -> None:
    done = run(
        [sys.executable, "-c", SABOTAGE], cwd=folder, env=environment(TMPDIR=str(folder)), capture_output=True,
        text=True, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (1, "")
    refusal = "✗ no further webhook within 2 seconds; so far came nothing; refused: the time of the message"
    assert refusal in done.stdout
    assert "All 7 steps" not in done.stdout
    [log] = folder.glob("*/sandbox.log")
    assert str(log) in done.stdout
    assert processes(folder) == []


def test_a_larger_invoice_in_two_payments_waits_for_three_blocks(sandbox: Running) -> None:
    invoice = told(sandbox.folder, "invoice", "--amount", "500")["invoice"]
    half = told(sandbox.folder, "pay", invoice["id"], "--amount", "0.004")
    rest = told(sandbox.folder, "pay", "last")
    early, late = told(sandbox.folder, "mine", "2"), told(sandbox.folder, "mine")

    assert (half["invoice"]["status"], half["invoice"]["amount_paid"]) == ("new", "240.00")
    assert (rest["invoice"]["status"], rest["amount"]) == ("processing", "0.00433334")
    assert (early["invoice"]["status"], late["invoice"]["status"]) == ("processing", "settled")


def test_an_invoice_is_paid_in_parts_in_several_assets(sandbox: Running) -> None:
    invoice = told(sandbox.folder, "invoice", "--amount", "90")["invoice"]
    assert [option["asset"] for option in invoice["payment_options"]] == [
        "BTC@bitcoin-regtest", "ETH@anvil", "USDC@anvil",
    ]  # fmt: skip
    told(sandbox.folder, "pay", "--amount", "0.0005")  # 30 EUR
    told(sandbox.folder, "pay", "--asset", "ETH", "--amount", "0.01")  # 30 EUR
    told(sandbox.folder, "pay", "--asset", "USDC@anvil", "--amount", "30")  # 27.60 EUR
    short = told(sandbox.folder, "mine")["invoice"]
    rest = told(sandbox.folder, "pay", "--asset", "ETH")
    settled = told(sandbox.folder, "mine", "--network", "anvil")["invoice"]

    assert (short["status"], short["amount_paid"], short["amount_due"]) == ("new", "87.60", "2.40")
    # 2.40 EUR, and what 30 USDC were rounded by; asked for with eight decimals, rounded up.
    assert rest["amount"] == "0.000800010000000000"
    assert (settled["status"], settled["amount_settled"], settled["flags"]) == ("settled", "90.00", [])


async def test_blocks_give_payers_no_coins_that_a_reorganisation_would_take(sandbox: Running) -> None:
    state = json.loads((sandbox.folder / ".kassa/sandbox/sandbox.json").read_text())
    node = BitcoinNode.attach(state["nodes"]["bitcoin-regtest"]["url"])
    try:
        before = [coin for coin in await node.rpc.call("listunspent", 0) if coin["amount"] == 50]
        told(sandbox.folder, "mine", "3", "--network", "bitcoin-regtest")
        after = [coin for coin in await node.rpc.call("listunspent", 0) if coin["amount"] == 50]
    finally:
        await node.close()
    assert 0 < len(after) <= len(before)


# These reorganise: once an alert is open, later payments of the shared sandbox need more confirmations.
def test_a_payment_by_hand_from_another_terminal(sandbox: Running) -> None:
    invoice = told(sandbox.folder, "invoice")["invoice"]["id"]
    paid = told(sandbox.folder, "pay")
    mined = told(sandbox.folder, "mine")
    reorganised = told(sandbox.folder, "reorg", "--drop")
    recovered = told(sandbox.folder, "mine", "2")
    kept = told(sandbox.folder, "reorg", "3")

    seen = [each["invoice"] for each in (paid, mined, reorganised, recovered, kept)]
    assert [each["id"] for each in seen] == [invoice] * 5
    assert [each["status"] for each in seen] == ["processing", "settled", "processing", "settled", "settled"]
    assert [each["flags"] for each in seen] == [[], [], ["reversed"], [], []]
    assert reorganised["dropped"] == [paid["txid"]]
    height, blocks = recovered["heights"]["bitcoin-regtest"], recovered["blocks"]["bitcoin-regtest"]
    assert (height, len(blocks)) == (mined["heights"]["bitcoin-regtest"] + 3, 2)
    assert sandbox.events(invoice, 9) == [
        "invoice.created", "payment.detected", "invoice.processing", "payment.settled", "invoice.settled",
        "payment.detected", "invoice.reopened", "payment.settled", "invoice.settled",
    ]  # fmt: skip


def test_a_payment_on_the_second_chain_is_taken_back_with_its_block(sandbox: Running) -> None:
    told(sandbox.folder, "invoice", "--amount", "10")
    told(sandbox.folder, "pay", "--asset", "ETH")
    settled = told(sandbox.folder, "mine", "--network", "anvil")["invoice"]
    undone = told(sandbox.folder, "reorg", "--drop")
    assert (settled["status"], undone["network"], undone["invoice"]["flags"]) == ("settled", "anvil", ["reversed"])


def test_why_the_next_invoice_needs_more_confirmations_is_said_with_the_way_out(sandbox: Running) -> None:
    told(sandbox.folder, "mine", "2")
    told(sandbox.folder, "reorg", "2")
    said = ""
    for _ in range(LIMIT_SECONDS):  # until the next look at reorganisations
        _, said, _ = command(sandbox.folder, "invoice")
        if "undid" in said:
            break
        time.sleep(0.2)
    lines = said.splitlines()
    (place,) = (n for n, line in enumerate(lines) if "bitcoin-regtest need at least" in line and "undid" in line)
    words = shlex.split(lines[place + 1].partition(":")[2])
    done = run([KASSA, *words[1:]], cwd=sandbox.folder, env=environment(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "undid" not in command(sandbox.folder, "invoice")[1]


@pytest.mark.parametrize("words", [["pay"], ["mine"], ["reorg"], ["invoice"]])
def test_without_a_sandbox_nothing_can_be_commanded(folder: Path, words: list[str]) -> None:
    code, output, complaints = command(folder, *words)
    assert (code, output) == (1, "")
    assert complaints == f"kassa: no sandbox is running in {folder}/.kassa/sandbox: start one in another terminal\n"


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["reorg", "--drop", "--invoice", "FIRST"], "no block holds a payment of that invoice: pay it and mine"),
        (["reorg", "999"], "blocks mined since the sandbox began can be replaced: mine more first"),
        (["pay", "inv_0"], "was answered 404"),
        (["pay", "--amount", "1e3"], "amount"),
        (["pay", "--asset", "DOGE"], "the invoice offers BTC@bitcoin-regtest, ETH@anvil, USDC@anvil, not DOGE"),
        (["mine", "--network", "moon"], "there is no network 'moon' here; there are bitcoin-regtest, anvil"),
        (["reset"], "a sandbox is running in"),
        (["--once", "--data-dir", ".kassa/sandbox"], "a sandbox is running in"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(sandbox: Running, words: list[str], remedy: str) -> None:
    first = sandbox.document["invoice"]["id"]
    code, output, complaints = command(sandbox.folder, *(first if word == "FIRST" else word for word in words))
    assert (code, output.strip()) == (1, "")
    assert remedy in complaints
    assert complaints.count("\n") == 1


def test_a_second_start_shows_the_one_that_runs(sandbox: Running) -> None:
    code, output, complaints = command(sandbox.folder)
    assert (code, complaints) == (0, "")
    assert "This sandbox is running already" in output
    assert sandbox.document["api_key"] in output


def test_nobody_else_can_read_its_keys(sandbox: Running) -> None:
    folder = sandbox.folder / ".kassa" / "sandbox"
    assert [oct((folder / name).stat().st_mode & 0o077) for name in ("sandbox.json", "kassa.toml")] == ["0o0", "0o0"]
    assert "kassa_test_" not in (folder / "sandbox.log").read_text()


def test_it_ends_whole_and_continues_later(folder: Path) -> None:
    played = told(folder, "--once", "--data-dir", ".kassa/sandbox")
    assert (played["ok"], len(played["steps"])) == (True, 7)
    assert all(step["checks"] for step in played["steps"])
    before = json.loads((folder / ".kassa" / "sandbox" / "sandbox.json").read_text())

    with Running(folder) as sandbox:
        document = sandbox.document
        assert (document["store_id"], document["api_key"]) == (before["store_id"], before["api_key"])
        assert told(folder, "pay")["invoice"]["status"] == "processing"
        assert sandbox.end(signal.SIGTERM) == 0
    assert processes(folder) == []
    assert [url for url in (document["api_url"], document["webhook_receiver_url"]) if is_open(url)] == []

    code, _, complaints = command(folder, "reset")
    assert (code, complaints) == (0, "")
    assert not (folder / ".kassa" / "sandbox").exists()


def test_one_that_was_told_to_outlive_its_terminal_does(folder: Path) -> None:
    with Running(folder, "nohup") as sandbox:
        os.kill(sandbox.document["pid"], signal.SIGHUP)
        assert told(folder, "pay")["invoice"]["status"] == "processing"
        assert sandbox.end(signal.SIGTERM) == 0


async def test_of_two_that_start_at_once_each_is_given_a_port_of_its_own() -> None:
    default = free_port()
    async with AsyncExitStack() as one, AsyncExitStack() as other:
        assert _port(one, None, default) == default
        assert _port(other, None, default) != default  # although nobody listens there yet
    async with AsyncExitStack() as later:
        assert _port(later, None, default) == default


def test_what_a_killed_sandbox_left_is_cleared_up(folder: Path) -> None:
    with Running(folder) as killed:
        killed.end(signal.SIGKILL)
    assert processes(folder) != []
    notes = folder / ".kassa" / "sandbox" / "notes.txt"
    notes.write_text("not the sandbox's")

    with Running(folder) as sandbox:
        assert told(folder, "pay")["invoice"]["status"] == "processing"
        sandbox.end(signal.SIGKILL)

    assert command(folder, "reset")[0] == 0
    assert list(notes.parent.iterdir()) == [notes]
    assert processes(folder) == []


@pytest.mark.parametrize(
    ("more", "remedy"),
    [
        ({"KASSA_NODES_DIR": "empty"}, "Put bitcoind (version 25 or later) on PATH and start again"),
        ({"KASSA_NODES_DIR": "/dev/null/nodes"}, "set KASSA_NODES_DIR to a folder that can"),
    ],
)
def test_without_a_node_the_remedy_is_said(folder: Path, more: dict[str, str], remedy: str) -> None:
    for words in ([], ["--once"]):
        code, _, complaints = command(folder, *words, PATH=str(folder), TMPDIR=str(folder), **more)
        assert code == 1
        assert complaints.startswith("kassa: ")
        assert remedy in complaints
        assert complaints.count("\n") == 1


def test_the_receiver_agrees_with_the_published_library() -> None:
    now, body = datetime.now(UTC), b'{"id": "evt_1"}'
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": "v1,AAAA v1a,BBBB " + Webhook(SECRET).sign("evt_1", now, body.decode()),
    }

    def fault(secret: str = SECRET, body: bytes = body, at: datetime = now, **changed: str) -> str | None:
        different = {f"webhook-{name}": value for name, value in changed.items()}
        return fault_of(headers | different, body, secret, int(at.timestamp()))

    assert fault() is None
    assert fault(at=now + timedelta(seconds=300)) is None
    wrong = "no signature is right"
    assert fault(body=body + b" ") == wrong
    assert fault(secret="whsec_" + base64.b64encode(bytes(32)).decode()) == wrong
    assert fault(id="evt_2") == wrong
    assert fault(timestamp=str(int(now.timestamp()) + 1)) == wrong
    assert fault(signature="v1,") == wrong
    assert fault(at=now + timedelta(seconds=302)) == "the time of the message is too far from ours"
    missing = "a header of the signature is missing or malformed"
    assert [fault(id=""), fault(timestamp="now"), fault(timestamp="²"), fault(signature="")] == [missing] * 4
