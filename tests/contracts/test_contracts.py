"""Each contract does the odd thing that it is named for: seen in receipts, balances and traces of a real node."""

import pytest

from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.rpc import JsonRpc
from tests.contracts.deploy import HOSTILE_NAMES, Contract, Json, deploy

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
IMPLEMENTATION_SLOT = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"
DOLLAR = ("Dollar", "USDC", 6)
SHOP, OTHER = "0x" + "b2" * 20, "0x" + "c3" * 20
FORGED = 10**30

Frame = tuple[str, str, int, bool]
"""A step of a trace: kind, receiver, wei, and whether it or one around it failed."""


def number(address: str) -> int:
    """The number that an address is."""
    return int(address, 16)


def moves(mined: Json) -> list[tuple[str, int, int, int]]:
    """The well-formed transfers that a receipt shows: token, from, to, units."""
    return [
        (log["address"], *(int(topic, 16) for topic in log["topics"][1:]), int(log["data"], 16))
        for log in mined["logs"]
        if log["topics"][0] == TRANSFER
    ]


async def balances(token: Contract, *owners: str) -> list[int]:
    return [await token.read("balanceOf", owner) for owner in owners]


async def ether(node: JsonRpc, address: str) -> int:
    return int(await node.call(str, "eth_getBalance", address, "latest"), 16)


async def trace(node: JsonRpc, mined: Json) -> list[Frame]:
    """The steps of a transaction that carry ether, in order."""
    how = {"tracer": "callTracer"}
    return [
        frame
        for frame in steps(await node.call(Json, "debug_traceTransaction", mined["transactionHash"], how), failed=False)
        if frame[2]
    ]


def steps(frame: Json, *, failed: bool) -> list[Frame]:
    failed = failed or "error" in frame
    inner = [step for call in frame.get("calls", ()) for step in steps(call, failed=failed)]
    return [(frame["type"], frame["to"], int(frame.get("value", "0x0"), 16), failed), *inner]


@pytest.fixture
def us(accounts: list[str]) -> str:
    """The account that deploys, mints and pays where no other is named."""
    return accounts[0]


async def test_a_node_that_mines_only_when_told_is_told(anvil: AnvilNode) -> None:
    async with JsonRpc(anvil.rpc_url) as node:
        token = await deploy(node, "DemoToken", *DOLLAR)
        assert (await token.run("mint", SHOP, 1))["status"] == "0x1"
        assert await balances(token, SHOP) == [1]


# Tokens


async def test_no_return_token_moves_units_and_answers_nothing(node: JsonRpc, us: str) -> None:
    token = await deploy(node, "NoReturnToken", *DOLLAR)
    await token.run("mint", us, 100)
    question = {"from": us, "to": token.address, "data": token.data("transfer", SHOP, 40)}
    assert await node.call(str, "eth_call", question, "latest") == "0x"
    mined = await token.run("transfer", SHOP, 40)
    assert moves(mined) == [(token.address, number(us), number(SHOP), 40)]
    assert await balances(token, us, SHOP) == [60, 40]


@pytest.mark.parametrize("logs", [False, True])
async def test_false_return_token_succeeds_without_moving(node: JsonRpc, us: str, logs: bool) -> None:
    token = await deploy(node, "FalseReturnToken", *DOLLAR, logs)
    await token.run("mint", us, 100)
    mined = await token.run("transfer", SHOP, 101)
    assert mined["status"] == "0x1"
    assert moves(mined) == ([(token.address, number(us), number(SHOP), 101)] if logs else [])
    assert await balances(token, us, SHOP) == [100, 0]
    await token.run("transfer", SHOP, 100)
    assert await balances(token, us, SHOP) == [0, 100]


async def test_fee_token_delivers_a_hundredth_less(node: JsonRpc, accounts: list[str]) -> None:
    us, payer = accounts[:2]
    token = await deploy(node, "FeeToken", *DOLLAR, False)
    await token.run("mint", payer, 10_000)
    mined = await token.run("transfer", SHOP, 10_000, sender=payer)
    assert [(to, units) for _, _, to, units in moves(mined)] == [(number(SHOP), 9_900), (number(us), 100)]
    assert await balances(token, payer, SHOP, us) == [0, 9_900, 100]


async def test_fee_token_can_log_more_than_arrives(node: JsonRpc, accounts: list[str]) -> None:
    us, payer = accounts[:2]
    token = await deploy(node, "FeeToken", *DOLLAR, True)
    await token.run("mint", payer, 10_000)
    mined = await token.run("transfer", SHOP, 10_000, sender=payer)
    assert moves(mined) == [(token.address, number(payer), number(SHOP), 10_000)]
    assert await balances(token, payer, SHOP, us) == [0, 9_900, 100]


async def test_rebasing_token_changes_balances_without_a_log(node: JsonRpc, us: str) -> None:
    token = await deploy(node, "RebasingToken", *DOLLAR)
    await token.run("mint", us, 1_000)
    await token.run("transfer", SHOP, 400)
    mined = await token.run("rebase", 150)
    assert mined["logs"] == []
    assert await balances(token, us, SHOP) == [900, 600]
    await token.run("rebase", 50)
    assert await balances(token, us, SHOP) == [300, 200]


async def test_fake_token_looks_like_the_real_one_and_is_another(node: JsonRpc, us: str) -> None:
    real = await deploy(node, "DemoToken", "Dollar", "USDC", 2)
    fake = await deploy(node, "FakeToken", real.address)
    looks = [[await token.read(part) for part in ("name", "symbol", "decimals")] for token in (real, fake)]
    assert looks == [["Dollar", "USDC", 2]] * 2
    await fake.run("mint", SHOP, 5)
    assert [await balances(token, SHOP) for token in (real, fake)] == [[0], [5]]


@pytest.mark.parametrize("decimals", [0, 2, 24])
async def test_decimals_token_starts_anywhere_and_changes(node: JsonRpc, decimals: int) -> None:
    token = await deploy(node, "DecimalsToken", "Dollar", "USDC", decimals)
    await token.run("mint", SHOP, 7)
    assert await token.read("decimals") == decimals
    await token.run("setDecimals", 18)
    assert await token.read("decimals") == 18
    assert await balances(token, SHOP) == [7]


@pytest.mark.parametrize("kind", HOSTILE_NAMES)
async def test_hostile_metadata_token_answers_what_it_was_given(node: JsonRpc, kind: str) -> None:
    head, zeros = HOSTILE_NAMES[kind]
    token = await deploy(node, "HostileMetadataToken", head, zeros)
    for part in ("name", "symbol"):
        question = {"to": token.address, "data": token.data(part)}
        answer = await node.call(str, "eth_call", question, "latest")
        assert bytes.fromhex(answer[2:]) == head + bytes(zeros)
    await token.run("mint", SHOP, 1)
    assert await balances(token, SHOP) == [1]


async def test_upgradeable_token_keeps_address_and_balances_and_changes_its_rules(node: JsonRpc, us: str) -> None:
    first, second = [await deploy(node, name) for name in ("UpgradeableTokenV1", "UpgradeableTokenV2")]
    proxy = await deploy(node, "UpgradeableToken", first.address)
    token = proxy.seen_as("UpgradeableTokenV2")
    await token.run("mint", SHOP, 10)
    assert [await token.read(part) for part in ("symbol", "decimals", "version")] == ["UPUSD", 6, 1]
    assert (await token.run("seize", SHOP))["status"] == "0x0"

    await proxy.run("upgradeTo", second.address)
    slot = await node.call(str, "eth_getStorageAt", proxy.address, IMPLEMENTATION_SLOT, "latest")
    assert number(slot) == number(second.address)
    assert await token.read("version") == 2
    assert await balances(token, SHOP) == [10]
    mined = await token.run("seize", SHOP)
    assert moves(mined) == [(proxy.address, number(SHOP), number(us), 10)]


async def test_only_the_admin_upgrades(node: JsonRpc, accounts: list[str]) -> None:
    first = await deploy(node, "UpgradeableTokenV1")
    proxy = await deploy(node, "UpgradeableToken", first.address)
    mined = await proxy.run("upgradeTo", accounts[1], sender=accounts[1])
    assert mined["status"] == "0x0"


# Logs


async def test_event_forger_logs_what_never_moved(node: JsonRpc, us: str) -> None:
    forger = await deploy(node, "EventForger", *DOLLAR)
    mined = await forger.run("forge", SHOP)
    assert moves(mined) == [(forger.address, number(us), number(SHOP), FORGED)]
    assert await balances(forger, us, SHOP) == [0, 0]


async def test_event_forger_logs_beside_a_real_unit(node: JsonRpc, us: str) -> None:
    forger = await deploy(node, "EventForger", *DOLLAR)
    real = await deploy(node, "DemoToken", *DOLLAR)
    await real.run("mint", forger.address, 1)
    mined = await forger.run("forgeBesideReal", SHOP, real.address)
    assert moves(mined) == [
        (forger.address, number(us), number(SHOP), FORGED),
        (real.address, number(forger.address), number(SHOP), 1),
    ]
    assert await balances(real, SHOP) == [1]


@pytest.mark.parametrize(
    ("function", "topics", "data"),
    [
        ("forgeTwoTopics", [], number(SHOP).to_bytes(32) + FORGED.to_bytes(32)),
        ("forgeFourTopics", [number(SHOP), FORGED], b""),
        ("forgeShortData", [number(SHOP)], FORGED.to_bytes(32)[:31]),
        ("forgeDirtyTopic", [(0xDEAD << 160) + number(SHOP)], FORGED.to_bytes(32)),
    ],
    ids=["two topics", "four topics", "short data", "dirty topic"],
)
async def test_event_forger_knows_odd_forms(
    node: JsonRpc, us: str, function: str, topics: list[int], data: bytes
) -> None:
    forger = await deploy(node, "EventForger", *DOLLAR)
    (log,) = (await forger.run(function, SHOP))["logs"]
    assert [int(topic, 16) for topic in log["topics"]] == [int(TRANSFER, 16), number(us), *topics]
    assert bytes.fromhex(log["data"][2:]) == data


async def test_zero_transfer_spammer_logs_a_stranger_s_name_for_nothing(node: JsonRpc, accounts: list[str]) -> None:
    us, stranger = accounts[:2]
    token = await deploy(node, "DemoToken", *DOLLAR)
    await token.run("mint", us, 5)
    spammer = await deploy(node, "ZeroTransferSpammer")
    mined = await spammer.run("spam", token.address, us, SHOP, 1_000, sender=stranger, gas=12_000_000)
    assert moves(mined) == [(token.address, number(us), number(SHOP), 0)] * 1_000
    assert await balances(token, us, SHOP) == [5, 0]


# Ether


async def test_batch_payer_pays_one_address_twice_beside_many(node: JsonRpc) -> None:
    crowd = [f"0x{0xC0DE0000 + index:040x}" for index in range(50)]
    payer = await deploy(node, "BatchPayer")
    token = await deploy(node, "DemoToken", *DOLLAR)
    await token.run("mint", payer.address, 10_000)
    to = [*crowd[:20], SHOP, *crowd[20:40], OTHER, *crowd[40:], SHOP]
    amounts = [100 + index for index in range(len(to))]
    mined = await payer.run("pay", to, amounts, token.address, to, amounts, wei=sum(amounts), gas=8_000_000)

    expected = [(number(address), amount) for address, amount in zip(to, amounts, strict=True)]
    assert [(receiver, units) for _, _, receiver, units in moves(mined)] == expected
    _, *paid = await trace(node, mined)
    assert [(number(receiver), wei) for _, receiver, wei, failed in paid if not failed] == expected
    twice = amounts[20] + amounts[-1]
    assert [await ether(node, SHOP), *await balances(token, SHOP)] == [twice, twice]


async def test_batch_payer_bears_a_token_that_answers_nothing(node: JsonRpc) -> None:
    payer = await deploy(node, "BatchPayer")
    token = await deploy(node, "NoReturnToken", *DOLLAR)
    await token.run("mint", payer.address, 3)
    await payer.run("pay", [], [], token.address, [SHOP, OTHER], [1, 2])
    assert await balances(token, SHOP, OTHER) == [1, 2]


async def test_forwarder_pays_by_a_call_from_inside(node: JsonRpc) -> None:
    wallet = await deploy(node, "Forwarder")
    mined = await wallet.run("forward", SHOP, 700, wei=1_000)
    assert await trace(node, mined) == [("CALL", wallet.address, 1_000, False), ("CALL", SHOP, 700, False)]
    assert mined["logs"] == []
    assert [await ether(node, address) for address in (SHOP, wallet.address)] == [700, 300]


async def test_reverting_payer_takes_all_back(node: JsonRpc) -> None:
    payer = await deploy(node, "RevertingPayer")
    mined = await payer.run("payAndRevert", SHOP, wei=1_000)
    assert mined["status"] == "0x0"
    assert await trace(node, mined) == [("CALL", payer.address, 1_000, True), ("CALL", SHOP, 1_000, True)]
    assert await ether(node, SHOP) == 0


async def test_reverting_payer_takes_back_what_was_paid_inside(node: JsonRpc) -> None:
    payer = await deploy(node, "RevertingPayer")
    mined = await payer.run("payInCallThatReverts", SHOP, wei=1_000)
    assert mined["status"] == "0x1"
    assert await trace(node, mined) == [
        ("CALL", payer.address, 1_000, False),
        ("CALL", payer.address, 1_000, True),
        ("CALL", SHOP, 1_000, True),
    ]
    assert [await ether(node, address) for address in (SHOP, payer.address)] == [0, 1_000]


async def test_reentering_payer_loses_only_what_the_middle_call_paid(node: JsonRpc) -> None:
    payer = await deploy(node, "ReenteringPayer")
    mined = await payer.run("outer", SHOP, wei=900)
    assert mined["status"] == "0x1"
    assert await trace(node, mined) == [
        ("CALL", payer.address, 900, False),
        ("CALL", SHOP, 300, False),
        ("CALL", payer.address, 300, True),
        ("CALL", payer.address, 300, True),
        ("CALL", SHOP, 300, True),
        ("CALL", SHOP, 300, False),
    ]
    assert [await ether(node, address) for address in (SHOP, payer.address)] == [600, 300]


async def test_self_destruct_payer_pays_while_it_is_created(node: JsonRpc) -> None:
    payer = await deploy(node, "SelfDestructPayer", SHOP, wei=1_000)
    block = await node.call(Json, "eth_getBlockByNumber", "latest", False)
    paid = await trace(node, {"transactionHash": block["transactions"][0]})
    assert paid == [("CREATE", payer.address, 1_000, False), ("SELFDESTRUCT", SHOP, 1_000, False)]
    assert await node.call(str, "eth_getCode", payer.address, "latest") == "0x"
    assert await ether(node, SHOP) == 1_000


async def test_self_destruct_payer_pays_when_told(node: JsonRpc) -> None:
    payer = await deploy(node, "SelfDestructPayer", "0x" + "00" * 20, wei=1_000)
    mined = await payer.run("destruct", SHOP, wei=1)
    assert (mined["status"], mined["logs"]) == ("0x1", [])
    assert await trace(node, mined) == [("CALL", payer.address, 1, False), ("SELFDESTRUCT", SHOP, 1_001, False)]
    assert [await ether(node, address) for address in (SHOP, payer.address)] == [1_001, 0]
