"""The real program from its command line: a fresh folder, the embedded database, a real node, HTTP, and its end."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from kassa.chains.bitcoin.devnode import DevNode
from kassa.main import EXIT_SECONDS
from kassa.sandbox.nodes import find_or_install, nodes_dir
from tests.house import TPUB

KASSA = Path(sys.executable).parent / "kassa"
LIMIT_SECONDS = 60

Json = dict[str, Any]


def settings(rpc_url: str = "http://u:hunter2@127.0.0.1:1", zmq: tuple[str, ...] = (), port: int = 0) -> str:
    return f"""
        [http]
        listen = "127.0.0.1:{port}"
        [networks.bitcoin-regtest]
        family = "bitcoin"
        chain = "bitcoin-regtest"
        rpc_url = "{rpc_url}"
        zmq = {json.dumps(list(zmq))}
        confirmations = [{{ blocks = 1 }}]
        [rates]
        fixed = {{ "BTC/EUR" = "50000" }}
        """


@dataclass(frozen=True)
class Shell:
    """Runs the program in a folder, with nothing of ours in its environment."""

    folder: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.more}

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [KASSA, *arguments], cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Json:
        answer: Json = json.loads(self.run(*arguments, "--json").stdout)
        return answer

    @contextmanager
    def up(self) -> Iterator["Running"]:
        with (self.folder / "log").open("wb") as log:
            # An open pipe holds up whoever reads from it.
            process = subprocess.Popen(
                [KASSA, "up"], cwd=self.folder, env=self.environ, stdin=subprocess.PIPE, stderr=log
            )
        running = Running(process, self.folder / "log")
        try:
            yield running
        finally:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class Running:
    """A running program and its log."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def line(self, event: str) -> Json:
        """Wait for a line of the log."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            lines = [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
            if found := [line for line in lines if line["event"] == event]:
                return dict(found[0])
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(f"no {event!r} within {LIMIT_SECONDS} s:\n{self.log.read_text()}")

    def call(self, method: str, path: str, key: str = "", body: Json | None = None) -> Json:
        url = f"http://{self.line('listening')['at']}{path}"
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Idempotency-Key": "one"}
        request = Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
        with urlopen(request, timeout=20) as answer:
            read: Json = json.loads(answer.read())
        return read


@contextmanager
def new_shell() -> Iterator[Shell]:
    # Not under tmp_path: every start of pytest closes its folders to other users, such as a root's database server.
    with tempfile.TemporaryDirectory(prefix="kassa-test-") as folder:
        (Path(folder) / "kassa.toml").write_text(settings())
        yield Shell(Path(folder))


@pytest.fixture
def shell() -> Iterator[Shell]:
    with new_shell() as shell:
        yield shell


@pytest.fixture(scope="module")
def shared() -> Iterator[Shell]:
    """One folder for tests that do not mind each other: a fresh database costs seconds."""
    with new_shell() as shell:
        yield shell


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[DevNode]:
    program = await asyncio.to_thread(find_or_install, "bitcoind", nodes_dir(), print)
    node = await DevNode.start(program, tmp_path / "node")
    yield node
    await node.kill()


def test_help_answers_at_once() -> None:
    # In turns, beside what no command is without: a processor is as slow for the one as for the other.
    least, help_ = (sys.executable, "-c", "import rich, typer"), (KASSA, "--help")
    took = [(_processor_seconds(*help_), _processor_seconds(*least)) for _ in range(5)]
    assert min(each for each, _ in took) < 4 * min(each for _, each in took), took


def _processor_seconds(*command: str) -> float:
    """Run a command; return what it took of a processor: what else the machine does is not in it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_store_is_made_on_an_empty_folder(shell: Shell) -> None:
    first = shell.run(
        "store", "create", "--name", "Café", "--currency", "EUR", "--test", "--tolerance", "0.5%", "--spread", "1%",
        "--json",
    )  # fmt: skip
    made, place = json.loads(first.stdout), shell.folder / "kassa-data" / "postgres"
    assert first.stderr == f"making the embedded database in {place}: this takes some seconds, once\n"
    assert made.keys() == {"store_id", "api_key"}
    assert made["api_key"].startswith("kassa_test_")
    [store] = shell.json("store", "list")["data"]
    assert (store["id"], store["livemode"]) == (made["store_id"], False)
    assert (store["tolerance_ppm"], store["spread_ppm"]) == (5000, 10_000)
    assert shell.run("store", "list").stderr == ""
    assert not (place / "postmaster.pid").exists()


def test_a_first_start_says_in_its_log_that_it_makes_the_database(shell: Shell) -> None:
    with shell.up() as running:
        assert running.line("listening") is not None
        assert any("making the embedded database" in line for line in running.log.read_text().splitlines())


def test_keys_are_made_listed_and_revoked(shared: Shell) -> None:
    store = shared.json("store", "create", "--name", "One", "--currency", "EUR")["store_id"]
    made = shared.json("key", "create", "--store", store, "--scope", "invoices:read", "--label", "till")
    shared.run("key", "revoke", made["key_id"])
    keys = shared.json("key", "list", "--store", store)["data"]
    assert [key["label"] for key in keys] == ["made with the store", "till"]
    assert keys[1]["revoked_at"] is not None
    assert keys[1]["scopes"] == ["invoices:read"]
    table = shared.run("key", "list", "--store", store).stdout
    assert made["key_id"] in table
    assert made["api_key"] not in table


def test_wallets_and_webhooks_are_listed_for_their_own_store_alone_and_without_secrets(shared: Shell) -> None:
    one, other = (
        shared.json("store", "create", "--name", name, "--currency", "EUR", "--test")["store_id"] for name in "ab"
    )
    wallet = shared.json(
        "wallet", "add", "--store", one, "--network", "bitcoin-regtest", "--descriptor", f"wpkh({TPUB}/0/*)"
    )
    hook = shared.json(
        "webhook", "add", "--store", one, "--url", "https://example.com/hook", "--events", "invoice.settled"
    )
    [shown] = shared.json("wallet", "list", "--store", one)["data"]
    assert (shown["id"], shown["fingerprint"]) == (wallet["wallet_id"], wallet["fingerprint"])
    assert (shown["next_index"], shown["retired_at"]) == (0, None)
    [receiver] = shared.json("webhook", "list", "--store", one)["data"]
    assert (receiver["id"], receiver["url"]) == (hook["webhook_id"], "https://example.com/hook")

    head, line = shared.run("wallet", "list", "--store", one).stdout.splitlines()
    assert head.index("fingerprint") == line.index(wallet["fingerprint"])
    head, line = shared.run("webhook", "list", "--store", one).stdout.splitlines()
    assert head.index("events") == line.index("invoice.settled")
    assert hook["secret"] not in line + json.dumps(receiver)
    for what in ("wallet", "webhook"):
        assert shared.json(what, "list", "--store", other)["data"] == []


def test_e9_keys_are_bound_to_networks(shared: Shell) -> None:
    store = shared.json("store", "create", "--name", "Bound", "--currency", "EUR")["store_id"]
    made = shared.json("key", "create", "--store", store, "--from", "203.0.113.7/32", "--from", "2001:DB8::/32")

    def kept() -> list[str]:
        [_, key] = shared.json("key", "list", "--store", store)["data"]
        assert key["id"] == made["key_id"]
        return list(key["allowed_from"])

    assert kept() == ["203.0.113.7", "2001:db8::/32"]
    assert "203.0.113.7,2001:db8::/32" in shared.run("key", "list", "--store", store).stdout
    for given in ((), ("--from", "10.0.0.0/8", "--anywhere"), ("--from", "10.0.0.5/8"), ("--from", "")):
        assert "allowed_from" in shared.run("key", "bind", made["key_id"], *given, code=1).stderr
    assert kept() == ["203.0.113.7", "2001:db8::/32"]
    bound = shared.run("key", "bind", made["key_id"], "--from", "10.0.0.0/8").stdout
    assert (kept(), "may be used from 10.0.0.0/8 alone" in bound) == (["10.0.0.0/8"], True)
    assert shared.json("key", "bind", made["key_id"], "--anywhere")["allowed_from"] == kept() == []


def test_a_policy_is_shown_and_changed_as_far_as_it_is_named(shared: Shell) -> None:
    store = shared.json("store", "create", "--name", "One", "--currency", "EUR", "--tolerance", "0.5%")["store_id"]
    ask = ("store", "policy", "--store", store)
    before = shared.json(*ask)
    assert (before["version"], before["policy"]["tolerance_percent"]) == (1, "0.5")
    told = shared.json(*ask, "--short", "accept", "--short-limit", "5%", "--late-grace", "600")
    changed = {"short": "accept", "short_limit_percent": "5", "late_grace_seconds": 600}
    assert (told["version"], told["policy"]) == (2, before["policy"] | changed)
    assert "tolerance_percent    0.5" in shared.run(*ask).stdout
    assert "policy.over: must be one of flag, credit" in shared.run(*ask, "--over", "keep", code=1).stderr
    assert shared.json(*ask) == told


def test_a_webhook_tells_its_secret_once(shared: Shell) -> None:
    store = shared.json("store", "create", "--name", "One", "--currency", "EUR")["store_id"]
    made = shared.json(
        "webhook", "add", "--store", store, "--url", "https://shop.example/hook", "--events", "invoice.*"
    )
    assert made["secret"].startswith("whsec_")
    assert made["events"] == ["invoice.*"]


def test_the_secret_of_a_store_is_shown_as_often_as_asked_until_it_is_rotated(shared: Shell) -> None:
    store = shared.json("store", "create", "--name", "One", "--currency", "EUR")["store_id"]
    ask = ("webhook", "secret", "--store", store)
    first = shared.json(*ask)
    assert shared.json(*ask) == first
    rotated = shared.json(*ask, "--rotate")
    assert rotated["secret"] != first["secret"]
    assert rotated["previous_secret_until"].endswith("Z")
    assert shared.json(*ask) == {"store_id": store, "secret": rotated["secret"]}
    assert "there is no store" in shared.run("webhook", "secret", "--store", "sto_x", "--rotate", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("store", "create", "--name", "One", "--currency", "EURO"), "'EURO' is not a known currency code"),
        (("store", "create", "--name", "One", "--currency", "EUR", "--tolerance", "60%"), "tolerance: '60%' is not"),
        (("store", "create", "--name", "One", "--currency", "EUR", "--tolerance", "0.5"), "tolerance: '0.5' is not"),
        (("store", "create", "--name", "One", "--currency", "EUR", "--spread", "1"), "spread: '1' is not"),
        (("store", "spread", "--store", "sto_nobody", "1%"), "there is no store 'sto_nobody'"),
        (("key", "list", "--store", "sto_nobody"), "there is no store 'sto_nobody'"),
        (("wallet", "list", "--store", "sto_nobody"), "there is no store 'sto_nobody'"),
        (("webhook", "list", "--store", "sto_nobody"), "there is no store 'sto_nobody'"),
        (("network", "resume", "bitcoin-regtest", "--depth", "3"), "'bitcoin-regtest' is not halted"),
        (("store", "list", "--config", "nowhere.toml"), "there is no file nowhere.toml"),
    ],
)
def test_a_foreseen_error_is_one_line(shared: Shell, arguments: tuple[str, ...], message: str) -> None:
    [line] = shared.run(*arguments, code=1).stderr.splitlines()
    assert line.startswith("kassa: ")
    assert message in line


def test_a_wallet_of_the_other_mode_or_with_a_private_key_is_refused(shared: Shell) -> None:
    live = shared.json("store", "create", "--name", "One", "--currency", "EUR")["store_id"]
    add = ("wallet", "add", "--store", live, "--network", "bitcoin-regtest", "--descriptor")
    assert "is not a live network" in shared.run(*add, TPUB, code=1).stderr
    private = (
        "tprv8ZgxMBicQKsPd7Uf69XL1XwhmjHopUGep8GuEiJDZmbQz6o58LninorQAfcKZWARbtRtfnLcJ5MQ2AtHcQJCCRUcMRvmDUjyEmNUWwx"
    )
    private += "8UbK"
    refused = shared.run(*add, f"wpkh({private}/0/*)", code=1).stderr
    assert "PRIVATE" in refused
    assert private not in refused


def test_no_network_means_nothing_to_run(shell: Shell) -> None:
    (shell.folder / "kassa.toml").write_text("")
    assert "no network is configured" in shell.run("up", code=1).stderr


def test_a_port_in_use_is_one_line(shell: Shell) -> None:
    with shell.up() as first:
        port = int(first.line("listening")["at"].rpartition(":")[2])
        (shell.folder / "kassa.toml").write_text(settings(port=port))
        refused = shell.run("up", code=1).stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}" in refused[-1]


@pytest.mark.parametrize(
    "foreign",
    [
        {"PGPORT": "6543", "PGSSLMODE": "verify-full", "PGTARGETSESSIONATTRS": "standby"},
        {"SSLKEYLOGFILE": "keys"},
        {"PROMETHEUS_MULTIPROC_DIR": "/nowhere"},
        {"WEB_CONCURRENCY": "auto"},
        {"LITESTAR_PDB": "1", "LITESTAR_DEBUG": "1"},
    ],
    ids=lambda foreign: next(iter(foreign)),
)
def test_what_other_programs_are_told_by_the_environment_changes_nothing(shell: Shell, foreign: Json) -> None:
    with replace(shell, more=foreign).up() as running:
        with pytest.raises(HTTPError, match="404"):
            running.call("GET", "/v1/nothing/here")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(6 * EXIT_SECONDS) == 0
    assert not (shell.folder / "keys").exists()


def test_the_doctor_names_what_is_broken(shared: Shell) -> None:
    done = shared.run("doctor", "--json", code=1)
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["database"]["verdict"] == "ok"
    assert findings["database durability"]["verdict"] == "ok"
    assert findings["bitcoin-regtest node"]["verdict"] == "fail"
    assert "rpc_url" in findings["bitcoin-regtest node"]["remedy"]
    assert "hunter2" not in done.stdout
    shown = shared.run("doctor", "--role", "api", code=1).stdout
    assert "egress: " in shown
    assert ("bitcoin-regtest node" in shown, "hunter2" in shown) == (False, False)  # it asks no node


async def test_a_payment_reaches_a_program_that_was_started_from_nothing(shell: Shell, node: DevNode) -> None:
    (shell.folder / "kassa.toml").write_text(settings(node.rpc_url, node.push))
    await node.mine(1)
    made = shell.json("store", "create", "--name", "One", "--currency", "EUR", "--test")
    shell.json("wallet", "add", "--store", made["store_id"], "--network", "bitcoin-regtest", "--descriptor", TPUB)
    with shell.up() as running:
        running.line("following")
        key = made["api_key"]
        await _until(lambda: _state(running, key) == "ok")
        order = {"amount": "50.00", "currency": "EUR"}
        invoice = await asyncio.to_thread(running.call, "POST", "/v1/invoices", key, order)
        [option] = invoice["payment_options"]
        await node.fund(option["address"], 100_000)
        await node.mine(1)
        await _until(lambda: running.call("GET", f"/v1/invoices/{invoice['id']}", key)["status"] == "settled")

        doctor = {f["check"]: f for f in (await asyncio.to_thread(shell.json, "doctor"))["findings"]}
        assert doctor["bitcoin-regtest node"]["verdict"] == "ok"
        assert doctor["bitcoin-regtest node blocks"]["verdict"] == "ok"
        assert doctor["bitcoin-regtest follower"]["verdict"] == "ok"
        # Nobody pays at the moment.
        assert doctor[f"bitcoin-regtest push {node.push[0]}"]["verdict"] == "warn"
        assert doctor["bitcoin-regtest node clock"]["verdict"] == "ok"

        running.process.send_signal(signal.SIGTERM)
        # Whoever takes longer than EXIT_SECONDS ends itself, with another code.
        assert await asyncio.to_thread(running.process.wait, 6 * EXIT_SECONDS) == 0
        log = running.log.read_text()
        assert "Traceback" not in log
        assert key not in log
        assert urlpassword(node.rpc_url) not in log
    assert not (shell.folder / "kassa-data" / "postgres" / "postmaster.pid").exists()
    marks = json.loads((shell.folder / "kassa-data" / "address-marks.json").read_text())
    assert [mark["index"] for mark in marks.values()] == [1]


async def test_a_killed_program_goes_on_where_it_was(shell: Shell, node: DevNode) -> None:
    (shell.folder / "kassa.toml").write_text(settings(node.rpc_url, node.push))
    key = shell.json("store", "create", "--name", "One", "--currency", "EUR", "--test")["api_key"]
    with shell.up() as first:
        await _until(lambda: _state(first, key) == "ok")
    await node.mine(3)
    with shell.up() as second:
        tip = (await node.tip()).height
        await _until(lambda: _network(second, key)["height"] == tip)
        second.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(second.process.wait, 6 * EXIT_SECONDS) == 0


def urlpassword(url: str) -> str:
    return url.split("@", maxsplit=1)[0].rsplit(":", 1)[1]


def _network(running: Running, key: str) -> Json:
    [network] = running.call("GET", "/v1/networks", key)["data"]
    return dict(network)


def _state(running: Running, key: str) -> str:
    return str(_network(running, key)["state"])


async def _until(holds: Any) -> None:  # a function of nothing that asks the program
    async with asyncio.timeout(LIMIT_SECONDS):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.05)
