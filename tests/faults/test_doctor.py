"""What `kassa doctor` finds out about a node by looking closer than a port."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kassa import flow
from kassa.audit.model import Actor
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from kassa.core.clock import SystemClock
from kassa.core.ids import new_id
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.doctor import Finding, Verdict, examine
from kassa.invoices.model import Order
from kassa.settings import Alerts, Http, Limits, Settings
from kassa.stores import store as stores
from kassa.watch import store as watch
from tests.api.conftest import follow
from tests.evmshop import open_evm_shop, usdc
from tests.house import BITCOIN, add_store, anvil_network, build_house, regtest
from tests.tools.hints import Hints
from tests.tools.liar import Liar


async def findings(database_url: str, folder: Path, rpc_url: str, zmq: tuple[str, ...] = ()) -> dict[str, Finding]:
    network = regtest(rpc_url=rpc_url, zmq=zmq)
    settings = Settings(database_url=Secret(database_url), data_dir=folder, networks={BITCOIN: network})
    return {finding.check.removeprefix(f"{BITCOIN} "): finding for finding in await examine(settings)}


@asynccontextmanager
async def busy(node: DevNode) -> AsyncIterator[None]:
    """Let the node see payments, as on any real network."""

    async def pay() -> None:
        while True:
            await node.fund(await node.address(), 10_000)

    paying = asyncio.create_task(pay())
    try:
        yield
    finally:
        paying.cancel()
        await asyncio.wait([paying])


async def test_pushed_messages_must_arrive_not_only_find_an_open_port(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    at = urlsplit(bitcoind.rpc_url)
    no_publisher = f"tcp://{at.hostname}:{at.port}"
    async with Hints(bitcoind.push[0]) as lost, Hints(bitcoind.push[0]) as whole, busy(bitcoind):
        lost.lose = True
        found = await findings(database_url, tmp_path, bitcoind.rpc_url, (lost.url, whole.url, no_publisher))
    assert found[f"push {whole.url}"].verdict is Verdict.OK
    for silent in (lost.url, no_publisher):
        assert found[f"push {silent}"].verdict is Verdict.WARN
        assert "no message came within 5 s" in found[f"push {silent}"].detail
        assert f"-zmqpubrawtx={silent}" in found[f"push {silent}"].remedy


@pytest.mark.parametrize(
    ("decimals", "verdict", "detail"),
    [(6, Verdict.OK, "as the settings do"), (18, Verdict.FAIL, "the settings say 18")],
)
async def test_b5_a_token_whose_decimals_are_not_the_settings_is_named(
    anvil: AnvilNode, database_url: str, tmp_path: Path, decimals: int, verdict: Verdict, detail: str
) -> None:
    network = anvil_network(anvil.rpc_url, usdc(anvil, decimals))
    settings = Settings(database_url=Secret(database_url), data_dir=tmp_path, networks={"anvil": network})
    found = {finding.check: finding for finding in await examine(settings)}
    assert found["anvil node"].verdict is Verdict.OK
    assert (found["USDC@anvil"].verdict, detail in found["USDC@anvil"].detail) == (verdict, True)


async def test_a_frozen_asset_is_named_with_the_way_to_thaw_it(
    anvil: AnvilNode, database: Database, database_url: str, tmp_path: Path
) -> None:
    async with open_evm_shop(anvil, database, tmp_path, usdc(anvil, 18)) as shop:
        await shop.until_frozen("USDC@anvil")
        network = shop.house.settings.networks["anvil"]
        settings = Settings(database_url=Secret(database_url), data_dir=tmp_path, networks={"anvil": network})
        frozen = [finding for finding in await examine(settings) if finding.detail.startswith("frozen")]
    assert [(finding.check, finding.verdict) for finding in frozen] == [("USDC@anvil", Verdict.FAIL)]
    assert "kassa asset thaw USDC@anvil" in frozen[0].remedy


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0, Verdict.OK), (50, Verdict.OK), (70, Verdict.WARN), (-70, Verdict.WARN)]
)
async def test_a36_a_node_whose_clock_differs_is_named(
    bitcoind: DevNode, database_url: str, tmp_path: Path, seconds: int, verdict: Verdict
) -> None:
    async with Liar(bitcoind.rpc_url) as liar:
        if seconds:
            liar.on("getnettotals").mutate(lambda said: {**said, "timemillis": said["timemillis"] + seconds * 1000})
        found = await findings(database_url, tmp_path, liar.url)
    assert found["node clock"].verdict is verdict
    assert "NTP" in found["node clock"].remedy or verdict is Verdict.OK


async def test_a36_the_node_clock_is_not_its_block_time(bitcoind: DevNode, database_url: str, tmp_path: Path) -> None:
    await bitcoind.set_mock_time(4_000_000_000)
    await bitcoind.mine()
    found = await findings(database_url, tmp_path, bitcoind.rpc_url)
    assert found["node clock"].verdict is Verdict.OK
    assert found["node block time"].verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("internal", "count", "warned"), [("balances", 2_001, True), ("balances", 2_000, False), ("trace", 2_001, False)]
)
async def test_more_addresses_than_balances_are_asked_for_are_said(
    database: Database, database_url: str, tmp_path: Path, internal: str, count: int, warned: bool
) -> None:
    now = SystemClock().now()
    async with database.transaction() as tx:
        await watch.register(tx, "anvil", "31337")
        await tx.execute("update networks set internal = $1", internal)
        keychain = await tx.fetchval(
            "insert into keychains (space, descriptor, fingerprint, next_index, created_at)"
            " values ('eip155', 'xpub', '00000000', $1, $2) returning id", count, now,
        )  # fmt: skip
        await tx.executemany(
            "insert into addresses (id, network, script, address, watch_key, keychain_id, index, created_at)"
            " values ($1, 'anvil', int8send($2), $1, $2, $3, $2, $4)",
            [(new_id("adr", now), number, keychain, now) for number in range(count)],
        )
    found = await examine(Settings(database_url=Secret(database_url), data_dir=tmp_path))
    said = [finding for finding in found if finding.check == "anvil addresses"]
    assert [finding.verdict for finding in said] == ([Verdict.WARN] if warned else [])


@pytest.mark.parametrize(
    ("url", "proxies", "warned"),
    [
        ("https://pay.example.com", (), True),
        ("https://pay.example.com", (ip_network("127.0.0.1/32"),), False),
        ("http://127.0.0.1:8080", (), False),
    ],
)
async def test_e41_a_proxy_that_nobody_named_is_asked_for(
    database_url: str, tmp_path: Path, url: str, proxies: tuple[IPv4Network, ...], warned: bool
) -> None:
    http = Http(public_url=url, trusted_proxies=proxies)
    found = await examine(Settings(database_url=Secret(database_url), data_dir=tmp_path, http=http))
    said = [each for each in found if each.check == "proxy"]
    assert [each.verdict for each in said] == ([Verdict.WARN] if warned else [])
    assert all("an API key that is bound to networks is refused to everybody" in each.remedy for each in said)


@pytest.mark.parametrize(
    ("live", "issued", "bound", "said"),
    [
        (True, 3, None, (Verdict.OK, "3 is needed to see every coin now, and 2000 for")),
        (True, 5_000, None, (Verdict.WARN, "5000 is needed to see every coin now, and 6000 for")),
        (True, 3, 0, None),
        (False, 3, None, None),
        (False, 3, 40, (Verdict.OK, "3 is needed to see every coin now, and 80 for")),
    ],
)
async def test_e43_the_gap_limit_that_a_signing_wallet_needs_is_said(
    database: Database,
    database_url: str,
    tmp_path: Path,
    live: bool,
    issued: int,
    bound: int | None,
    said: tuple[Verdict, str] | None,
) -> None:
    now, where = SystemClock().now(), Settings(database_url=Secret(database_url), data_dir=tmp_path)
    async with database.transaction() as tx:
        store = await stores.create_store(tx, "Shop", "EUR", live, now)
        await tx.execute(
            """with k as (insert into keychains (space, descriptor, fingerprint, next_index, created_at)
                   values ('bip122', 'wpkh', '73c5da0a', $2, $3) returning id)
               insert into wallets (id, store_id, network, keychain_id, created_at)
               select 'wal_1', $1, 'b', id, $3 from k""",
            store.id, issued, now,
        )  # fmt: skip
    found = await examine(replace(where, limits=Limits(unpaid_addresses=bound)))
    gaps = [(each.verdict, each.detail) for each in found if each.check == "bip122 wallet 73c5da0a"]
    if said is None:
        assert gaps == []
    else:
        [(verdict, detail)] = gaps
        assert verdict is said[0]
        assert said[1] in detail


@pytest.mark.parametrize(
    ("url", "verdict", "words"),
    [
        (None, Verdict.WARN, "reach nobody by themselves: alerts.webhook_url is not set"),
        ("https://ops.example/hook?token=canary", Verdict.OK, "are sent to alerts.webhook_url"),
    ],
)
async def test_who_hears_of_alerts_is_said_and_no_token_with_it(
    database_url: str, tmp_path: Path, url: str | None, verdict: Verdict, words: str
) -> None:
    told = Alerts(webhook_url=None if url is None else Secret(url))
    found = await examine(Settings(database_url=Secret(database_url), data_dir=tmp_path, alerts=told))
    [said] = [each for each in found if each.check == "operator"]
    assert said.verdict is verdict
    assert words in said.detail
    assert "canary" not in str(found)


@pytest.mark.parametrize(
    ("live", "quota", "said"),
    [
        (True, None, (Verdict.OK, "20,000 addresses an hour at most")),
        (True, 500, (Verdict.OK, "500 addresses an hour at most")),
        (True, 0, (Verdict.WARN, "a leaked key may take any number")),
        (False, 0, None),
    ],
)
async def test_e43_how_many_addresses_a_leaked_key_could_take_is_said(
    database: Database,
    database_url: str,
    tmp_path: Path,
    live: bool,
    quota: int | None,
    said: tuple[Verdict, str] | None,
) -> None:
    now, limits = SystemClock().now(), Limits(addresses_per_store=quota)
    async with database.transaction() as tx:
        store = await stores.create_store(tx, "Shop", "EUR", live, now)
        await tx.execute(
            """with k as (insert into keychains (space, descriptor, fingerprint, created_at)
                   values ('bip122', 'wpkh', '00000000', $2) returning id)
               insert into wallets (id, store_id, network, keychain_id, created_at)
               select 'wal_1', $1, 'b', id, $2 from k""",
            store.id, now,
        )  # fmt: skip
    found = await examine(Settings(database_url=Secret(database_url), data_dir=tmp_path, limits=limits))
    quotas = [(each.verdict, each.detail) for each in found if each.check == "address quota"]
    assert [verdict for verdict, _ in quotas] == ([] if said is None else [said[0]])
    assert all(said is not None and said[1] in detail for _, detail in quotas)


@pytest.mark.parametrize(
    ("state", "verdict"),
    [("ok", Verdict.OK), ("syncing", Verdict.OK), ("stalled", Verdict.FAIL), ("unreachable", Verdict.FAIL)],
)
async def test_a_network_that_is_not_seen_is_a_fault_whatever_its_node_answers_now(
    database: Database, database_url: str, tmp_path: Path, state: str, verdict: Verdict
) -> None:
    house = await build_house(database, tmp_path)
    await follow(house)
    await house.marks.close()
    await database.pool.execute("update networks set state = $1, detail = 'three minutes'", state)
    found = (await findings(database_url, tmp_path, "http://127.0.0.1:1"))["follower"]
    assert (found.verdict, "three minutes" in found.detail) == (verdict, verdict is Verdict.FAIL)
    assert bool(found.remedy) is (verdict is Verdict.FAIL)


async def test_a_network_that_was_taken_out_of_the_settings_is_named_until_it_is_given_up(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    house = await build_house(database, tmp_path)
    await follow(house)
    await house.marks.close()
    await database.pool.execute("update networks set lease_until = now() - interval '1 day'")
    removed = Settings(database_url=Secret(database_url), data_dir=tmp_path)
    [warned] = [each for each in await examine(removed) if each.check == f"{BITCOIN} follower"]
    assert (warned.verdict, f"kassa network give-up {BITCOIN}" in warned.remedy) == (Verdict.WARN, True)
    async with database.transaction() as tx:
        await flow.give_up_network(tx, BITCOIN, Actor("test"), house.clock.now())
    [left] = [each for each in await examine(removed) if each.check == f"{BITCOIN} follower"]
    assert (left.verdict, left.detail.startswith("given up")) == (Verdict.OK, True)


async def test_everything_that_is_wrong_at_once_is_named_with_its_remedy_and_in_time(
    bitcoind: DevNode, anvil: AnvilNode, database: Database, database_url: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    house = await build_house(database, data)
    await follow(house)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
        at, url = house.clock.now(), "http://127.0.0.1:9/"
        await flow.create_endpoint(tx, Actor("test"), store.id, url, ("*",), Secret("whsec_x"), at)
    opening = await flow.quote_invoice(house, store, Order("50.00", "EUR"), house.clock.now())
    await flow.open_invoice(None, house, opening, house.clock.now())
    await house.marks.close()
    async with database.transaction() as tx:
        await tx.execute("update deliveries set created_at = now() - interval '1 hour', attempts = 7")
        await tx.execute("insert into migrations (name, sha256) values ('9999_newer.sql', '')")
        await tx.execute("insert into backups values (now() - interval '9 days', 1, '')")
    (data / "address-key").write_text("")
    data.chmod(0o777)
    (data / "address-key").chmod(0o644)
    networks = {
        BITCOIN: regtest(rpc_url="http://127.0.0.1:1", zmq=("tcp://127.0.0.1:2",)),
        "anvil": anvil_network(anvil.rpc_url, chain="1"),
    }
    began = time.monotonic()
    async with Liar(bitcoind.rpc_url) as liar:
        liar.on("getnettotals").mutate(lambda said: {**said, "timemillis": said["timemillis"] + 3_600_000})
        networks["ahead"] = replace(regtest(rpc_url=liar.url), name="ahead")
        networks["away"] = replace(anvil_network("wss://node.invalid", chain="1"), name="away")
        found = await examine(Settings(database_url=Secret(database_url), data_dir=data, networks=networks))
    assert time.monotonic() - began < 30
    assert all(each.remedy for each in found if each.verdict is not Verdict.OK)
    said = {(each.check, each.verdict): f"{each.detail} -> {each.remedy}" for each in found}
    for check, verdict, words in (
        ("migrations", Verdict.WARN, "a newer Kassa migrated the database (9999_newer.sql)"),
        ("backup", Verdict.FAIL, "9 days and 0 hours ago -> make one"),
        (f"{BITCOIN} node", Verdict.FAIL, "start the node, or correct rpc_url (now 127.0.0.1:1)"),
        ("away node", Verdict.FAIL, "start the node, or correct rpc_url (now node.invalid); it"),
        ("anvil node", Verdict.FAIL, "point rpc_url at a node of the configured chain"),
        ("ahead node clock", Verdict.WARN, "run NTP"),
    ):
        assert words in said[check, verdict]
    [receiver] = [each for each in found if each.check.startswith("receiver whk_")]
    assert "after up to 7 attempts" in receiver.detail
    assert f"kassa webhook list --store {store.id}" in receiver.remedy
    files = [f"{each.detail} -> {each.remedy}" for each in found if each.check == "files"]
    assert {each.verdict for each in found if each.check == "files"} == {Verdict.FAIL}  # nothing starts with either
    key = data / "address-key"
    assert files == [
        f"{key}: every user of this machine may use it to seal addresses -> chmod 600 {key}",
        f"{data}: every user of this machine may put other keys and counters in place of ours -> chmod go-w {data}",
    ]
