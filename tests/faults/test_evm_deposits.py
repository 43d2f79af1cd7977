"""False and odd deposits on an EVM chain: B1 to B32, C11. What counts is what arrived, by the contract named."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kassa import flow
from kassa.audit.model import Actor
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.rpc import JsonRpc
from kassa.checkout.languages import language
from kassa.checkout.page import Wish, invoice_page
from kassa.core.errors import Conflict, Invalid, Unavailable
from kassa.db.pool import Database
from tests.contracts.deploy import HOSTILE_NAMES, Contract, deploy
from tests.evmshop import ETHER, PRICE_USDC, PRICE_WEI, EvmShop, address, gem, open_evm_shop

GEM = ("Gem", "GEM", 6)
MOST = 2**256 - 1


async def test_b1_ether_of_a_transaction_that_failed_counts_for_nothing(evm: EvmShop) -> None:
    invoice = await evm.only("ETH")
    payer = await evm.contract("RevertingPayer")
    await payer.send("payAndRevert", address(invoice), wei=PRICE_WEI)
    await evm.mine()
    assert await evm.paid(invoice) == []
    await evm.anvil.fund(address(invoice), PRICE_WEI)
    await evm.mine()
    await evm.until(invoice, status="settled", payments=["settled"])


async def test_b1_a_value_transaction_with_status_0_counts_for_nothing(evm: EvmShop) -> None:
    # The shop's address has become a contract that refuses money.
    invoice = await evm.only("ETH")
    await evm.anvil.rpc.call("anvil_setCode", address(invoice), "0x60006000fd")
    await evm.anvil.send({"to": address(invoice), "value": hex(PRICE_WEI)})
    await evm.mine()
    assert await evm.paid(invoice) == []


@pytest.mark.parametrize("logs", [False, True])
async def test_b2_a_transfer_that_only_returns_false_counts_for_nothing(
    anvil: AnvilNode, database: Database, tmp_path: Path, logs: bool
) -> None:
    async with evm_with(anvil, database, tmp_path, "FalseReturnToken", *GEM, logs) as (shop, token):
        invoice = await shop.only("GEM")
        await token.send("transfer", address(invoice), PRICE_USDC)
        await shop.mine()
        assert await shop.paid(invoice) == []
        if logs:
            assert "the receiver got 0" in await shop.until_frozen("GEM@anvil")
        else:
            assert await shop.frozen() == {}


async def test_b3_a_foreign_contract_can_claim_what_it_likes(evm: EvmShop) -> None:
    invoice = await evm.only("USDC")
    victim = address(invoice)
    forger = await evm.contract("EventForger", "USD Coin", "USDC", 6)
    for trick in ("forge", "forgeTwoTopics", "forgeFourTopics", "forgeShortData", "forgeDirtyTopic"):
        await forger.send(trick, victim)
    await evm.anvil.fund(forger.address, 1, "USDC")
    await evm.mine()
    await forger.send("forgeBesideReal", victim, evm.anvil.tokens["USDC"])
    await evm.mine()
    assert await evm.paid(invoice) == [("USDC", "log:1", "0.000001")]


async def test_b3_odd_logs_of_the_token_itself_are_no_transfers_and_stop_nothing(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with evm_with(anvil, database, tmp_path, "EventForger", *GEM) as (shop, forger):
        invoice = await shop.only("GEM")
        for trick in ("forgeTwoTopics", "forgeFourTopics", "forgeShortData", "forgeDirtyTopic"):
            await forger.send(trick, address(invoice))
        await forger.send("mint", address(invoice), PRICE_USDC)
        await shop.mine()
        await shop.until(invoice, status="settled", payments=["settled"])


async def test_b4_a_token_of_the_same_name_is_another_token(evm: EvmShop) -> None:
    invoice = await evm.only("USDC")
    fake = await evm.contract("FakeToken", evm.anvil.tokens["USDC"])
    await fake.send("mint", address(invoice), PRICE_USDC)
    await evm.mine()
    assert await evm.paid(invoice) == []


@pytest.mark.parametrize("decimals", [0, 2, 6, 18, 24])
async def test_b5_amounts_are_exact_whatever_the_decimals(
    anvil: AnvilNode, database: Database, tmp_path: Path, decimals: int
) -> None:
    values = ("Gem", "GEM", decimals)
    async with evm_with(anvil, database, tmp_path, "DecimalsToken", *values, decimals=decimals) as (shop, token):
        invoice = await shop.only("GEM")
        await token.send("mint", address(invoice), 50 * 10**decimals)
        await shop.mine()
        shown = await shop.until(invoice, status="settled", amount_paid="50.00", amount_over="0.00")
        assert shown["payments"][0]["amount"] == ("50" if decimals == 0 else f"50.{'0' * decimals}")


async def test_b5_decimals_that_are_not_those_of_the_settings_freeze_the_asset(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with evm_with(anvil, database, tmp_path, "DecimalsToken", "Gem", "GEM", 18, decimals=6) as (shop, _):
        assert "18 decimals" in await shop.until_frozen("GEM@anvil")
        with pytest.raises(Unavailable, match="GEM@anvil"):
            await shop.only("GEM")
        assert [option["symbol"] for option in (await shop.invoice())["payment_options"]] == ["ETH"]


async def test_b5_decimals_that_change_later_freeze_the_asset_and_hold_what_came(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with evm_with(anvil, database, tmp_path, "DecimalsToken", *GEM) as (shop, token):
        before, after = await shop.only("GEM"), await shop.only("GEM")
        await token.send("mint", address(before), PRICE_USDC)
        await shop.mine()
        await shop.until(before, status="settled")
        await token.send("setDecimals", 18)
        await shop.mine()
        await shop.stop()
        shop.start()  # looks at the contracts first
        await shop.until_frozen("GEM@anvil")
        await token.send("mint", address(after), PRICE_USDC)
        await shop.mine()
        await shop.until(after, status="processing")
        assert (await shop.shown(before))["status"] == "settled"


@pytest.mark.parametrize(("logs_gross", "position"), [(False, "log:0"), (True, "log:0")])
async def test_b6_a_fee_on_the_transfer_leaves_what_arrived(
    anvil: AnvilNode, database: Database, tmp_path: Path, logs_gross: bool, position: str
) -> None:
    async with evm_with(anvil, database, tmp_path, "FeeToken", *GEM, logs_gross) as (shop, token):
        invoice = await shop.only("GEM")
        payer = (await anvil.accounts())[3]
        await token.send("mint", payer, PRICE_USDC)
        await token.send("transfer", address(invoice), PRICE_USDC, sender=payer)
        await shop.mine()
        assert await shop.paid(invoice) == [("GEM", position, "49.500000")]
        assert ((await shop.frozen()).get("GEM@anvil") is not None) == logs_gross


async def test_what_raises_a_doubt_does_not_settle_together_with_it(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with evm_with(anvil, database, tmp_path, "FeeToken", *GEM, True) as (shop, token):
        cheated = await shop.only("GEM", "49.00")
        payer = (await anvil.accounts())[3]
        await token.send("mint", payer, PRICE_USDC)
        await token.send("transfer", address(cheated), PRICE_USDC, sender=payer)
        await shop.mine()
        await shop.until(cheated, status="processing", payments=["confirming"])
        assert not {"payment.settled", "invoice.settled"} & set(await shop.events(cheated))
        await shop.thaw("GEM@anvil")
        await shop.until(cheated, status="settled")


@pytest.mark.tampers("the token takes from every balance")
async def test_a_rebasing_token_credits_what_was_transferred(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with evm_with(anvil, database, tmp_path, "RebasingToken", *GEM) as (shop, token):
        invoice = await shop.only("GEM")
        await token.send("mint", address(invoice), PRICE_USDC)
        await shop.mine()
        await shop.until(invoice, status="settled")
        await token.send("rebase", 50)
        await shop.mine()
        assert await shop.paid(invoice) == [("GEM", "log:0", "50.000000")]


async def test_a_token_that_returns_nothing_pays(anvil: AnvilNode, database: Database, tmp_path: Path) -> None:
    async with evm_with(anvil, database, tmp_path, "NoReturnToken", *GEM) as (shop, token):
        invoice = await shop.only("GEM")
        payer = (await anvil.accounts())[3]
        await token.send("mint", payer, PRICE_USDC)
        await token.send("transfer", address(invoice), PRICE_USDC, sender=payer)
        await shop.mine()
        await shop.until(invoice, status="settled")


async def test_b8_transfers_of_nothing_leave_no_trace(evm: EvmShop) -> None:
    invoice = await evm.only("USDC")
    spammer = await evm.contract("ZeroTransferSpammer")
    stranger = await evm.anvil.address()
    for _ in range(5):
        await spammer.send("spam", evm.anvil.tokens["USDC"], stranger, address(invoice), 200, gas=20_000_000)
    await evm.mine(5)
    counted = await evm.house.database.pool.fetchval("select sum(count) from empty_transfers")
    assert counted == 1000
    assert (await evm.shown(invoice))["payments"] == []
    assert await evm.events(invoice) == ["invoice.created"]


async def test_b10_ether_forwarded_by_a_contract_arrives(evm: EvmShop) -> None:
    invoices = [await evm.only("ETH") for _ in range(3)]
    wallet = await evm.contract("Forwarder")
    for invoice in invoices:
        await wallet.send("forward", address(invoice), PRICE_WEI, wei=PRICE_WEI)
    await evm.mine()
    for invoice in invoices:
        await evm.until(invoice, status="settled")
        assert await evm.paid(invoice) == [("ETH", "call:0", "0.020000000000000000")]


async def test_b10_without_traces_it_is_seen_by_the_balance_and_attributed_to_the_block(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with open_evm_shop(anvil, database, tmp_path, internal="balances") as shop:
        invoice = await shop.only("ETH")
        wallet = await shop.contract("Forwarder")
        await wallet.send("forward", address(invoice), PRICE_WEI, wei=PRICE_WEI)
        await shop.mine()
        (payment,) = (await shop.until(invoice, status="settled"))["payments"]
        assert payment["txid"] == payment["block_hash"]
        assert payment["position"] == f"balance:{address(invoice).lower()}"
        chain = replace(shop.house.chains["anvil"], explorer="https://explorer.example")
        async with database.transaction() as tx:
            found = await flow.payer_views(tx, shop.house, [invoice["id"]], shop.house.clock.now())
            view = found[invoice["id"]]
        page = invoice_page(view, {"anvil": chain}, Wish(language("en")), "1").decode()
        assert f"https://explorer.example/block/{payment['block_hash']}" in page


async def test_b10_a_payer_that_destroys_itself_pays(evm: EvmShop) -> None:
    first, second = await evm.only("ETH"), await evm.only("ETH")
    await evm.contract("SelfDestructPayer", address(first), wei=PRICE_WEI)
    later = await evm.contract("SelfDestructPayer", "0x" + "0" * 40, wei=PRICE_WEI)
    await later.send("destruct", address(second))
    await evm.mine()
    await evm.until(first, status="settled")
    await evm.until(second, status="settled")


async def test_b11_what_an_inner_call_paid_and_took_back_counts_for_nothing(evm: EvmShop) -> None:
    invoice = await evm.only("ETH")
    payer = await evm.contract("RevertingPayer")
    await payer.send("payInCallThatReverts", address(invoice), wei=PRICE_WEI)
    await evm.mine()
    assert await evm.paid(invoice) == []


async def test_b11_of_nested_calls_only_those_that_stood_count(evm: EvmShop) -> None:
    invoice = await evm.only("ETH")
    payer = await evm.contract("ReenteringPayer")
    await payer.send("outer", address(invoice), wei=3 * PRICE_WEI)
    await evm.mine()
    amounts = [amount for _, _, amount in await evm.paid(invoice)]
    assert amounts == ["0.020000000000000000"] * 2


async def test_b13_a_batch_pays_each_of_its_receivers(evm: EvmShop) -> None:
    one, two = await evm.only("USDC"), await evm.only("USDC")
    coin = await evm.only("ETH")
    batch = await evm.contract("BatchPayer")
    await evm.anvil.fund(batch.address, 10**12, "USDC")
    strangers = [await evm.anvil.address() for _ in range(47)]
    to = [*strangers[:20], address(one), *strangers[20:], address(two), address(one)]
    values = [10**6] * 20 + [20 * 10**6] + [10**6] * 27 + [PRICE_USDC, 30 * 10**6]
    ether_to, wei = [strangers[0], address(coin), address(coin)], [1, PRICE_WEI // 2, PRICE_WEI // 2]
    await batch.send("pay", ether_to, wei, evm.anvil.tokens["USDC"], to, values, wei=PRICE_WEI + 1, gas=20_000_000)
    await evm.mine()
    await evm.until(one, status="settled", amount_over="0.00")
    await evm.until(two, status="settled", amount_over="0.00")
    await evm.until(coin, status="settled", amount_over="0.00")
    assert await evm.paid(one) == [("USDC", "log:20", "20.000000"), ("USDC", "log:49", "30.000000")]
    assert len(await evm.paid(coin)) == 2


async def test_b14_the_coin_does_not_pay_a_token_invoice_nor_the_token_a_coin_invoice(evm: EvmShop) -> None:
    token, coin = await evm.only("USDC"), await evm.only("ETH")
    await evm.anvil.fund(address(token), 50 * ETHER)
    await evm.anvil.fund(address(coin), PRICE_USDC, "USDC")
    await evm.mine()
    for invoice, asset in ((token, "ETH@anvil"), (coin, "USDC@anvil")):
        shown = await evm.until(invoice, status="new", amount_paid="0.00", payments=["settled"])
        (payment,) = shown["payments"]
        assert (payment["asset"], payment["value"], payment["rate"]) == (asset, "0.00", None)
    books = await evm.database_books()
    assert books["unexpected", "ETH@anvil"] == -50 * ETHER
    assert books["unexpected", "USDC@anvil"] == -PRICE_USDC
    house, now = evm.house, evm.house.clock.now()
    paid = (await evm.shown(coin))["payments"][0]["id"]
    async with house.database.transaction() as tx:
        assert {each["invoice_id"] for each in await flow.unassigned(tx, house)} == {token["id"], coin["id"]}
        given = await flow.assign_payment(tx, house, evm.store, paid, None, Actor("test"), now)
        assert (given["assigned_to"], given["invoice_id"]) == ("income", coin["id"])
    books = await evm.database_books()
    assert (books["income", "USDC@anvil"], books.get(("unexpected", "USDC@anvil"), 0)) == (-PRICE_USDC, 0)
    settled = await evm.only("USDC")
    await evm.anvil.fund(address(settled), PRICE_USDC, "USDC")
    await evm.mine()
    owned = (await evm.until(settled, status="settled"))["payments"][0]["id"]
    with pytest.raises(Conflict) as refused:
        async with house.database.transaction() as tx:
            await flow.assign_payment(tx, house, evm.store, owned, None, Actor("test"), now)
    assert refused.value.code == "payment_has_an_owner"


async def test_b16_a_proxy_that_is_upgraded_holds_its_asset_until_an_operator_accepts(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with JsonRpc(anvil.rpc_url) as rpc:
        first = await deploy(rpc, "UpgradeableTokenV1")
    async with evm_with(anvil, database, tmp_path, "UpgradeableToken", first.address) as (shop, proxy):
        token = proxy.seen_as("UpgradeableTokenV1")
        invoice = await shop.only("GEM")
        await token.send("mint", address(invoice), PRICE_USDC)
        second = await shop.contract("UpgradeableTokenV2")
        await proxy.send("upgradeTo", second.address)
        await shop.mine()  # told by the proxy itself, not by the look every ten minutes
        assert "code has changed" in await shop.until_frozen("GEM@anvil")
        await shop.until(invoice, status="processing", payments=["confirming"])
        with pytest.raises(Unavailable, match="GEM"):
            await shop.only("GEM")
        await shop.thaw("GEM@anvil")
        await shop.until(invoice, status="settled", payments=["settled"])
        await shop.only("GEM")


async def test_b27_an_address_that_got_code_is_still_paid(evm: EvmShop) -> None:
    invoice = await evm.only("ETH")
    delegate = await evm.contract("Forwarder")
    await evm.anvil.rpc.call("anvil_setCode", address(invoice), "0xef0100" + delegate.address[2:])
    await evm.anvil.send({"to": address(invoice), "value": hex(PRICE_WEI)})
    await evm.mine()
    await evm.until(invoice, status="settled")


async def test_b29_an_address_is_its_bytes_however_it_is_written(evm: EvmShop) -> None:
    shown = address(await evm.only("ETH"))
    parse = evm.house.chains["anvil"].addresses.parse
    forms = (shown, shown.lower(), "0x" + shown[2:].upper(), "0X" + shown[2:])
    assert len({parse(form) for form in forms}) == 1
    icap = "XE7338O073KYGTWWZN0F2WZ0R8PX5ZPPZS"
    for text in (_with_wrong_case(shown), shown[2:], f" {shown}", shown + "0", icap):
        with pytest.raises(Invalid):
            parse(text)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_b32_what_a_token_calls_itself_is_never_read(
    anvil: AnvilNode, database: Database, tmp_path: Path, name: str
) -> None:
    async with evm_with(anvil, database, tmp_path, "HostileMetadataToken", *HOSTILE_NAMES[name]) as (shop, token):
        invoice = await shop.only("GEM")
        await token.send("mint", address(invoice), PRICE_USDC)
        await shop.mine()
        shown = await shop.until(invoice, status="settled")
        assert shown["payments"][0]["asset"] == "GEM@anvil"


@pytest.mark.parametrize("units", [10 * ETHER, 2**63, 2**64, 10**26])
async def test_c11_wei_beyond_64_bits_are_stored_and_added_up_exactly(evm: EvmShop, units: int) -> None:
    invoice = await evm.only("ETH", "100000000")
    await evm.anvil.fund(address(invoice), units)
    await evm.anvil.fund(address(invoice), units)
    await evm.mine()
    await evm.until(invoice, payments=["settled", "settled"])
    assert (await evm.database_books())["wallet:anvil", "ETH@anvil"] == 2 * units


async def test_c11_the_most_that_a_token_can_say_is_booked_exactly(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with evm_with(anvil, database, tmp_path, "DecimalsToken", *GEM) as (shop, token):
        invoice = await shop.only("GEM")
        await token.send("mint", address(invoice), MOST)
        await shop.mine()
        shown = await shop.until(invoice, status="settled", flags=["overpaid"])
        assert shown["payments"][0]["amount"].replace(".", "") == str(MOST)
        assert (await shop.database_books())["wallet:anvil", "GEM@anvil"] == MOST


# ---------------------------------------------------------------- what the tests are made of


@asynccontextmanager
async def evm_with(
    anvil: AnvilNode, database: Database, data_dir: Path, name: str, *values: object, decimals: int = 6
) -> AsyncIterator[tuple[EvmShop, Contract]]:
    """A shop that accepts ether and, as GEM, a contract deployed for it."""
    async with JsonRpc(anvil.rpc_url) as rpc:
        token = await deploy(rpc, name, *values)
        async with open_evm_shop(anvil, database, data_dir, gem(token, decimals)) as shop:
            yield shop, token


def _with_wrong_case(address: str) -> str:
    place = next(place for place in range(2, 42) if address[place].isalpha())
    return address[:place] + address[place].swapcase() + address[place + 1 :]
