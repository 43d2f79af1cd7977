"""What must be true when a chaos run is over: every invariant, by the oracle, by the nodes' own word, and by Kassa."""

import json
import re
from collections import Counter
from pathlib import Path

from kassa.house import House
from kassa.main import open_house
from kassa.settings.read import read_settings
from tests.chaos.shoppers import Shoppers
from tests.chaos.stage import Stage
from tests.oracle import Oracle, check_chain
from tests.truth import truth

_BALANCE_OF = "0x70a08231"
_EXCEPTION = re.compile(r"^(?:\w+\.)*(\w+(?:Error|Exception|Invalid|Rejected|Timeout))\b", re.MULTILINE)
_SHARED = "another operation is in progress"
"""What asyncpg says when two tasks use one connection: our own fault, whatever was broken from outside."""
AWAY = {
    "AdminShutdownError",
    "BrokenPipeError",
    "CancelledError",
    "CannotConnectNowError",
    "ClientConnectionResetError",
    "ConnectionAbortedError",
    "ConnectionDoesNotExistError",
    "ConnectionError",
    "ConnectionFailureError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "CrashShutdownError",
    "DatabaseError",
    "IdleInTransactionSessionTimeoutError",
    "IncompleteReadError",
    "InterfaceError",
    "InternalClientError",
    "OSError",
    "QueryCanceledError",
    "TimeoutError",
}
"""What a process may say when its database or a connection went away under it."""


async def judge(stage: Stage, shops: list[Shoppers], secrets: list[str]) -> None:
    """Raise `AssertionError` for the first thing that is not as it must be."""
    for shoppers in shops:
        _clients(shoppers)
    async with open_house(read_settings(stage.direct, {})) as house:
        await Oracle(house).check()
        await check_chain(house, await truth(house, stage.bitcoin.rpc_url), looked=True)
        await _ethereum(house, stage)
        await _orders(house, shops)
        await _deliveries(house, stage)
    for command in (("ledger", "verify"), ("reconcile",), ("audit", "verify")):
        code, said = await stage.run(*command)
        assert code == 0, f"kassa {' '.join(command)}: {said}"
    _logs(stage.folder, secrets)


def _clients(shoppers: Shoppers) -> None:
    assert not shoppers.refused, f"orders were refused: {shoppers.refused[:3]}"
    assert not shoppers.differing, f"one key, two answers: {shoppers.differing[:1]}"
    ids = [made["id"] for made in shoppers.made.values()]
    assert len(ids) == len(set(ids)), "two orders got one invoice"
    shown = [option["address"] for made in shoppers.made.values() for option in made["payment_options"]]
    of_invoice = {
        (option["address"], made["id"]) for made in shoppers.made.values() for option in made["payment_options"]
    }
    assert len({address for address, _ in of_invoice}) == len(of_invoice), "an address was shown for two invoices"
    assert shown


async def _orders(house: House, shops: list[Shoppers]) -> None:
    written = {row["id"] for row in await house.database.pool.fetch("select id from invoices")}
    assert written == {made["id"] for shop in shops for made in shop.made.values()}, (
        "an order made none or more than one invoice"
    )


async def _ethereum(house: House, stage: Stage) -> None:
    """O2 on Ethereum: what the node says our addresses hold is what the books say, address by address."""
    pool = house.database.pool
    tokens = {"USDC@anvil": stage.anvil.tokens["USDC"]}
    addresses = [row["address"] for row in await pool.fetch("select address from addresses where network = 'anvil'")]
    booked = {
        (row["address"], row["asset"]): int(row["units"])
        for row in await pool.fetch(
            """select a.address, p.asset, sum(p.units) as units from entries e join postings p on p.entry_id = e.id
               join payments y on y.id = e.payment_id join addresses a on a.id = y.address_id
               where p.account like 'wallet:%' and y.network = 'anvil' group by 1, 2 having sum(p.units) <> 0"""
        )
    }
    held: dict[tuple[str, str], int] = {}
    rpc = stage.anvil.rpc
    for address in addresses:
        held[address, "ETH@anvil"] = int(await rpc.call("eth_getBalance", address, "latest"), 16)
        for asset, contract in tokens.items():
            data = _BALANCE_OF + address[2:].lower().rjust(64, "0")
            held[address, asset] = int(await rpc.call("eth_call", {"to": contract, "data": data}, "latest"), 16)
    assert {key: units for key, units in held.items() if units} == booked


async def _deliveries(house: House, stage: Stage) -> None:
    """O9: each event reached the receiver at least once, always in the same words."""
    got: dict[str, set[bytes]] = {}
    for one in list(stage.sink.got):
        got.setdefault(one.headers["webhook-id"], set()).add(one.body)
    twofold = [event for event, bodies in got.items() if len(bodies) > 1]
    assert not twofold, f"events that were told in two ways: {twofold[:3]}"
    wanted = await house.database.pool.fetch(
        # What the clock brought about after the last look at the queue still waits in it, for whoever sends next.
        "select e.id, e.type from events e where exists ("
        "select from deliveries d where d.event_id = e.id and d.state <> 'due')"
    )
    queued = (
        # Of every event that was written while the receiver was there, a delivery; one that was never queued is lost.
        "select e.id, e.type from events e join webhooks w on w.store_id = e.store_id and w.deleted_at is null"
        " where e.created_at > w.created_at and w.disabled_at is null and '*' = any(w.events)"
        " and not exists (select from deliveries d where d.event_id = e.id and d.webhook_id = w.id)"
    )
    never = [(row["id"], row["type"]) for row in await house.database.pool.fetch(queued)]
    assert not never, f"{len(never)} events were never queued: {never[:3]}"
    lost = [(row["id"], row["type"]) for row in wanted if row["id"] not in got]
    assert not lost, f"{len(lost)} events never came: {lost[:3]}"
    for event, bodies in got.items():
        assert json.loads(next(iter(bodies)))["id"] == event


def _logs(folder: Path, secrets: list[str]) -> None:
    """O12, and no fault that nobody foresaw: only what was broken from outside is complained about."""
    unforeseen: Counter[str] = Counter()
    for path in folder.glob("*.log"):
        text = path.read_text(errors="replace")
        for secret in secrets:
            assert secret not in text, f"{path.name} holds a secret"
        for block in text.split("\n"):
            if "Traceback" in block:
                names = _EXCEPTION.findall(block.replace("\\n", "\n"))
                if names and (names[-1] not in AWAY or _SHARED in block):
                    unforeseen[f"{path.name}: {names[-1]}"] += 1
    assert not unforeseen, f"unforeseen faults: {dict(unforeseen)}"
