"""The two ways to run a sandbox: until Ctrl-C, with every webhook shown as it comes, or once through the story."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from time import perf_counter

from kassa.core.clock import SystemClock
from kassa.core.errors import SandboxError
from kassa.db import embedded
from kassa.sandbox import start
from kassa.sandbox.client import Json
from kassa.sandbox.commands import command, show_invoice
from kassa.sandbox.receiver import Received
from kassa.sandbox.screen import Screen
from kassa.sandbox.state import DEFAULT, Folder, State
from kassa.sandbox.story import Story

_DEMO = {
    "amount": "49.90",
    "currency": "EUR",
    "reference": "order-1000",
    "description": "2 coffees",
    "expires_in": 3600,
}


def interactive(data_dir: Path | None, *, as_json: bool) -> int:
    """Run a sandbox until a signal; return the exit code. One that runs already is shown."""
    folder, screen = Folder(data_dir or DEFAULT), Screen(as_json=as_json)
    if folder.is_held:
        state = folder.running()
        screen.tell(_document(folder, state) | {"already_running": True})
        screen.heading("This sandbox is running already", f"process {state.pid}; data in {folder.path}")
        _show_ways(folder, screen, state)
        return 0
    with folder.held():
        start.run(_interact(folder, screen))
    screen.line("Stopped: node, database and Kassa have ended; the data stays.", "bold")
    screen.field("continue", command(folder))
    screen.field("start anew", f"{command(folder, 'reset')} && {command(folder)}")
    return 0


def once(data_dir: Path | None, *, as_json: bool) -> int:
    """Play the story, in a new folder of its own unless one is named; return the exit code.

    The new folder is deleted, unless the story failed: then it holds the log.
    """
    screen = Screen(as_json=as_json)
    path = data_dir or Path(tempfile.mkdtemp(prefix="kassa-sandbox-"))
    folder, code = Folder(path), None
    failed = False
    try:
        with folder.held():
            code = start.run(_play(folder, screen))
        failed = code == 1
    finally:
        if data_dir is None and not failed:
            shutil.rmtree(path)
    if code == 0:
        screen.heading("Now by hand", "a checkout address to pay, blocks to mine, webhooks to watch:")
        screen.line(f"  {command(Folder(data_dir or DEFAULT))}")
    return 130 if code is None else code


def reset(data_dir: Path | None) -> None:
    """Delete a sandbox's data; raises `SandboxError` while it runs."""
    folder, screen = Folder(data_dir or DEFAULT), Screen()
    if not folder.exists:
        screen.line(f"there is no sandbox in {folder.path}")
        return
    with folder.held():
        folder.end_leftover_nodes()
        if (folder.kassa / "postgres" / "postmaster.pid").exists():
            # A sandbox that was killed leaves its database running: take it over to end it.
            embedded.start(folder.kassa).close()
        folder.remove()
    screen.line(f"deleted the sandbox in {folder.path}")


class _Feed:
    """Shows webhooks as they come; those that came before it was opened are shown then."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._waiting: list[Received] | None = []

    def hear(self, received: Received) -> None:
        if self._waiting is None:
            self._screen.webhook(received, SystemClock().now())
        else:
            self._waiting.append(received)

    def open(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        for received in waiting:
            self.hear(received)


async def _interact(folder: Folder, screen: Screen) -> None:
    screen.heading("Kassa sandbox", f"all of it on this machine; data in {folder.path}")
    feed = _Feed(screen)
    async with start.opened(folder, screen, feed.hear) as sandbox:
        invoice = await sandbox.client.post("/v1/invoices", _DEMO)
        screen.tell(_document(folder, sandbox.state) | {"dashboard_url": sandbox.dashboard, "invoice": invoice})
        screen.heading("An invoice is waiting")
        show_invoice(screen, invoice)
        screen.heading("The merchant's dashboard", "this link signs you in as the owner, once")
        screen.field("dashboard", sandbox.dashboard, "bold cyan")
        _show_ways(folder, screen, sandbox.state)
        screen.heading("Webhooks", "as the shop receives and verifies them; Ctrl-C ends everything")
        feed.open()
        try:
            await asyncio.Event().wait()
        finally:
            screen.line("\nstopping…", "dim")


async def _play(folder: Folder, screen: Screen) -> int:
    screen.heading("Kassa", "one payment from invoice to webhook, on real nodes of your own")
    began, story = perf_counter(), None
    try:
        async with start.opened(folder, screen, lambda _: None) as sandbox:
            ready = perf_counter()
            story = Story(sandbox, screen)
            await story.play()
            ended = perf_counter()
    except SandboxError as fault:
        if story is None:
            raise
        screen.failed(str(fault))
        screen.field("the log", str(folder.log), indent=4)
        screen.tell(_played(story, str(fault)) | {"log": str(folder.log)})
        return 1
    screen.tell(_played(story, None) | {"seconds": round(ended - ready, 3)})
    checks = sum(len(step.checks) for step in story.steps)
    screen.heading(
        f"All {len(story.steps)} steps went as they must",
        f"{checks} checks; {ready - began:.1f} s to start everything, {ended - ready:.1f} s to play",
    )
    return 0


def _played(story: Story, error: str | None) -> Json:
    steps = [
        {"title": step.title, "milliseconds": step.milliseconds, "checks": list(step.checks)} for step in story.steps
    ]
    return {"ok": error is None, "error": error, "steps": steps}


def _document(folder: Folder, state: State) -> Json:
    """Return what a program needs to use a sandbox."""
    return {
        "api_url": state.api_url,
        "api_key": state.api_key,
        "store_id": state.store_id,
        "webhook_receiver_url": state.receiver_url,
        "node_urls": {network: note.url for network, note in state.nodes.items()},
        "data_dir": str(folder.path),
        "config": str(folder.settings),
        "log": str(folder.log),
        "pid": state.pid,
    }


def _show_ways(folder: Folder, screen: Screen, state: State) -> None:
    screen.heading("In another terminal, in this folder")
    screen.ways(
        [
            (command(folder, "pay"), "pay it, as its payer would"),
            (command(folder, "mine"), "mine a block: the payment settles"),
            (command(folder, "reorg", "--drop"), "replace that block, without the payment"),
            (command(folder, "pay", "--asset", "USDC"), "or pay in another of the assets that it offers"),
            (command(folder, "invoice", "--amount", "500"), "ask for more: it settles after 3 blocks"),
        ]
    )
    screen.heading("For programs")
    screen.field("API", f"{state.api_url}/v1")
    screen.field("settings", str(folder.settings))
    screen.field("log", str(folder.log))
    screen.line()
    screen.line(f"  KEY={state.api_key}")
    screen.line(f"""  curl {state.api_url}/v1/invoices -H "Authorization: Bearer $KEY" \\""")
    screen.line("""       -H 'Content-Type: application/json' \\""")
    screen.line("""       -d '{"amount": "12.00", "currency": "EUR"}'""")
