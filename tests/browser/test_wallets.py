"""What payers have beside the checkout: wallets in the browser, bad ones too, and sites that show transactions."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from kassa import flow
from kassa.chains.evm.devnode import AnvilNode
from kassa.checkout.pages import handlers
from kassa.core.clock import SystemClock
from kassa.core.facts import Tip
from kassa.core.money import Token
from kassa.db.pool import Database
from kassa.settings import Confirmations
from kassa.wallets import store as wallets
from kassa.watch import store as watch
from tests.api.conftest import follow
from tests.api.served import Served, serve, until
from tests.browser.checkouts import StubWallet
from tests.browser.conftest import Faults, OpenPage
from tests.browser.usable import usable
from tests.db.test_flow import LEASE, World
from tests.house import BITCOIN, XPUB, add_store, anvil_network, build_house, regtest

ETH, USDC = "ETH@anvil", "USDC@anvil"
SITE = "https://mempool.space/signet/tx/"
WALLET = """(() => {
  const put = (name, more = {}, info = {}) => {
    const wallet = { asked: [], chain: "0x7a69", faults: {}, receipt: null, ...more };
    wallet.provider = { request: async ({ method, params }) => {
      wallet.asked.push([method, params]);
      if (method === "eth_getTransactionByHash") return wallet.known ?? null;
      const fault = wallet.faults[method];
      if (fault) throw Object.assign(new Error("<img src=x onerror=alert(1)>"), { code: fault });
      if (method === "eth_chainId") return wallet.chain;
      if (method === "eth_requestAccounts") return ["0x" + "1".repeat(40)];
      if (method === "eth_sendTransaction") return "0x" + "2".repeat(64);
      if (method === "eth_getTransactionReceipt") return wallet.receipt;
      return null;
    } };
    const detail = { info: { uuid: name, name, icon: "", rdns: "x.y", ...info }, provider: wallet.provider };
    wallet.announce = () => dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
    (window.wallets ??= {})[name] = wallet;
    return wallet;
  };
  const announced = (name, more, info) => {
    const wallet = put(name, more, info);
    addEventListener("eip6963:requestProvider", wallet.announce);
  };
  %s
})()"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    shared_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, Served]]:
    """A store on an anvil and on signet (which a public site shows), with facts given by hand."""
    database, clock = await Database.open(shared_database_url), SystemClock()
    signet = replace(regtest(), chain="bitcoin-signet", confirmations=(Confirmations(2),))
    networks = {BITCOIN: signet, "anvil": anvil_network("http://127.0.0.1:1", Token("USDC", "0x" + "ab" * 20, 6))}
    folder = tmp_path_factory.mktemp("wallets")
    house = await build_house(database, folder, networks, clock=clock)  # type: ignore[arg-type]
    await follow(house, "anvil")
    async with database.transaction() as tx:
        await watch.register(tx, BITCOIN, "bitcoin-signet")
        position = await watch.take_lease(tx, BITCOIN, "test", LEASE)
        assert position is not None
        store = await add_store(tx, house)
        account = house.chains["anvil"].addresses.account(XPUB)
        await wallets.add_wallet(tx, store.id, "anvil", house.chains["anvil"].space, account, house.seal, clock.now())
    made = World(house, clock, store, position)  # type: ignore[arg-type]
    await made.mine()
    tip = Tip(made.blocks[-1].ref, clock.now(), made.blocks[-1].ref.height, False)
    await database.run(lambda tx: flow.note_node(tx, made.position, tip, "ok", "", clock.now()))
    await made.look()
    async with serve(house, store, handlers(house)) as served:
        yield made, served
    await house.marks.close()
    await database.close()


async def at_checkout(world: tuple[World, Served], page: Page, setting: str, asset: str = ETH) -> str:
    """Open a new invoice in a browser with these wallets; return its id."""
    _, served = world
    invoice = await served.all.invoice(payment_options=[asset])
    await page.add_init_script(WALLET % setting)
    await page.goto(f"http://127.0.0.1:{served.port}/i/{invoice['id']}")
    return str(invoice["id"])


def buttons(page: Page) -> Locator:
    return page.locator("[data-wallets] button")


async def says(page: Page, text: str) -> None:
    await expect(page.locator("[data-said]")).to_contain_text(text)


async def asked(page: Page, wallet: str) -> list[str]:
    return list(await page.evaluate("(name) => wallets[name].asked.map(([method]) => method)", wallet))


async def looks(page: Page, wallet: StubWallet, count: int) -> None:
    """Let a page look for what was sent so many times more."""
    wanted = wallet.looks + count
    async with asyncio.timeout(60):
        while wallet.looks < wanted:
            await page.clock.run_for(3_000)


async def test_a_wallet_that_cannot_be_brought_to_the_network_is_told_so_and_asked_for_no_money(
    world: tuple[World, Served], page: Page
) -> None:
    await at_checkout(world, page, 'announced("Stuck", { chain: "0x1" })')
    await buttons(page).click()
    await says(page, "Your wallet is not on this network")
    assert await asked(page, "Stuck") == [
        "eth_requestAccounts",
        "eth_chainId",
        "wallet_switchEthereumChain",
        "eth_chainId",
    ]
    await page.evaluate("wallets.Stuck.faults.wallet_switchEthereumChain = 4902")
    await buttons(page).click()
    await expect(page.locator("[data-said]")).to_contain_text("Your wallet reported an error")
    assert "wallet_addEthereumChain" in await asked(page, "Stuck")
    assert "eth_sendTransaction" not in await asked(page, "Stuck")
    await expect(buttons(page)).to_be_enabled()


async def test_what_a_payer_declines_at_any_step_is_said_to_be_and_can_be_tried_again(
    world: tuple[World, Served], page: Page
) -> None:
    await at_checkout(world, page, 'announced("Asks", { chain: "0x1" })')
    steps = ("eth_requestAccounts", "wallet_switchEthereumChain", "wallet_addEthereumChain", "eth_sendTransaction")
    for step in steps:
        chain, missing = ("0x7a69", {}) if step == steps[-1] else ("0x1", {"wallet_switchEthereumChain": 4902})
        await page.evaluate("([chain, faults]) => Object.assign(wallets.Asks, { chain, faults, asked: [] })", [
            chain, missing | {step: 4001},
        ])  # fmt: skip
        await buttons(page).click()
        # What is said stays from the step before, so the wallet is looked at first.
        await page.wait_for_function("step => wallets.Asks.asked.at(-1)?.[0] === step", arg=step)
        await expect(page.locator("[data-said]")).to_contain_text("You declined it in your wallet. Nothing was sent.")
        await expect(buttons(page)).to_be_enabled()
    await usable(page)


async def test_a_transaction_that_failed_is_said_to_have_and_can_be_sent_again(
    world: tuple[World, Served], page: Page
) -> None:
    await at_checkout(world, page, 'announced("Short of gas")')
    await buttons(page).click()
    await says(page, "Sent. Waiting until the network shows it")
    await expect(buttons(page)).to_be_disabled()
    await page.reload()  # it is followed from there, too
    await says(page, "Sent. Waiting until the network shows it")
    await expect(buttons(page)).to_be_disabled()
    await page.evaluate("wallets['Short of gas'].receipt = { status: '0x0' }")
    await says(page, "The transaction failed, and nothing was paid.")
    await expect(buttons(page)).to_be_enabled()


@pytest.mark.parametrize("fault", [None, 4100], ids=["on another network", "telling nothing"])
async def test_what_one_wallet_cannot_tell_of_a_transaction_another_is_asked(
    world: tuple[World, Served], page: Page, fault: int | None
) -> None:
    faults = "{}" if fault is None else f"{{ eth_getTransactionReceipt: {fault} }}"
    await at_checkout(world, page, f'announced("One", {{ chain: "0x1", faults: {faults} }}); announced("Two")')
    await buttons(page).last.click()
    await says(page, "Sent. Waiting until the network shows it")
    await page.reload()
    await says(page, "Sent. Waiting until the network shows it")
    await page.evaluate("wallets.Two.receipt = { status: '0x0' }")
    await says(page, "The transaction failed, and nothing was paid.")
    await expect(page.locator("[data-wallets] [aria-disabled=false]")).to_have_count(2)


async def test_while_one_payment_is_not_shown_none_is_offered_in_another_asset(
    world: tuple[World, Served], page: Page
) -> None:
    made, served = world
    asset = f"BTC@{BITCOIN}"
    invoice = await served.all.invoice(payment_options=[asset, ETH, USDC])
    await made.look(made.paying("cc" * 32, invoice, units=1_000))  # a part, seen long before
    await page.add_init_script(WALLET % 'announced("One")')
    here = f"http://127.0.0.1:{served.port}/i/{invoice['id']}"
    await page.goto(f"{here}?asset={ETH}")
    await buttons(page).click()
    await says(page, "Sent. Waiting until the network shows it")
    for other in (USDC, asset, ETH):
        await page.goto(f"{here}?asset={other}")
        await says(page, "Sent. Waiting until the network shows it")
        await expect(page.locator("[data-wallets] button[aria-disabled=false]")).to_have_count(0)
        assert await buttons(page).count() == (0 if other == asset else 1)


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_transaction_that_the_network_knows_no_more_is_said_to_be_gone_and_can_be_sent_again(
    world: tuple[World, Served], shared_anvil: AnvilNode, page: Page, cancelled: bool
) -> None:
    _, served = world  # which follows no anvil, and so shows nothing
    invoice = await served.all.invoice(payment_options=[ETH])
    wallet = StubWallet(shared_anvil, 4)
    await shared_anvil.mine()
    await wallet.enter(page)
    await page.clock.install()
    await page.goto(f"http://127.0.0.1:{served.port}/i/{invoice['id']}")
    await buttons(page).click()
    await says(page, "Sent. Waiting until the network shows it")
    (sent,) = await shared_anvil.mempool()
    await looks(page, wallet, 2)
    if cancelled:
        await shared_anvil.replace(sent)
        await shared_anvil.mine()
        await looks(page, wallet, 15)
        wallet.chain = "0x1"  # a node of another network knows nothing of it, and proves nothing
        await looks(page, wallet, 2)
        wallet.chain = "0x7a69"
    else:
        await shared_anvil.drop(sent)
    await looks(page, wallet, 15 if cancelled else 95)
    await says(page, "Sent. Waiting until the network shows it")
    await expect(buttons(page)).to_be_disabled()
    async with asyncio.timeout(60):
        while await buttons(page).get_attribute("aria-disabled") == "true":
            await page.clock.run_for(3_000)
    assert wallet.looks <= (40 if cancelled else 105)
    await says(page, "The network no longer knows the transaction. Look into your wallet")
    await expect(buttons(page)).to_be_enabled()
    await buttons(page).click()
    await says(page, "Sent. Waiting until the network shows it")


async def test_what_one_tab_sent_no_other_tab_of_the_browser_sends_again(
    world: tuple[World, Served], shared_anvil: AnvilNode, page: Page
) -> None:
    _, served = world  # which follows no anvil, and so shows nothing
    invoice = await served.all.invoice(payment_options=[USDC])
    here, before = f"http://127.0.0.1:{served.port}/i/{invoice['id']}", await shared_anvil.mempool()
    wallet, tabs = StubWallet(shared_anvil, 5), [page, await page.context.new_page()]
    for tab in tabs:
        await wallet.enter(tab)
        await tab.goto(here)
        await expect(buttons(tab)).to_be_enabled()
    # Forced: the button of the slower one may be closed by then.
    await asyncio.gather(*(buttons(tab).click(force=True) for tab in tabs))
    for tab in tabs:
        await says(tab, "Sent. Waiting until the network shows it")
        await expect(buttons(tab)).to_be_disabled()
    later = await page.context.new_page()
    for tab in tabs:
        await tab.close()
    await wallet.enter(later)
    await later.goto(here)
    await says(later, "Sent. Waiting until the network shows it")
    await expect(buttons(later)).to_be_disabled()
    (sent,) = set(await shared_anvil.mempool()) - set(before)
    await shared_anvil.drop(sent)


@pytest.mark.parametrize("secure", [True, False], ids=["https", "http"])
async def test_while_one_tab_asks_its_wallet_another_leads_there_and_asks_none(
    world: tuple[World, Served], page: Page, secure: bool
) -> None:
    if not secure:  # as at an address of the local network; that of this machine counts as secure
        await page.context.add_init_script("delete Navigator.prototype.locks")
    await at_checkout(world, page, 'announced("One")')
    other = await page.context.new_page()
    await other.add_init_script(WALLET % 'announced("One")')
    await other.goto(page.url)
    await page.evaluate(
        """() => {
          const { provider } = wallets.One, ask = provider.request;
          const open = new Promise((go) => { window.confirmed = go; });
          provider.request = async (one) => { if (one.method === "eth_sendTransaction") await open; return ask(one); };
        }"""
    )
    await buttons(page).click()
    await says(page, "Please confirm in your wallet")
    await buttons(other).click()
    await says(other, "Please confirm in your wallet")
    await expect(buttons(other)).to_be_enabled()
    assert await asked(other, "One") == []
    await page.evaluate("confirmed()")
    await says(other, "Sent. Waiting until the network shows it")
    await expect(buttons(other)).to_be_disabled()


@pytest.mark.parametrize("secure", [True, False], ids=["https", "http"])
async def test_a_wallet_that_never_answers_is_waited_for_in_words_until_the_page_is_left(
    world: tuple[World, Served], page: Page, secure: bool
) -> None:
    if not secure:
        await page.context.add_init_script("delete Navigator.prototype.locks")
    await at_checkout(world, page, 'announced("One"); announced("Two")')
    await page.evaluate("() => { wallets.One.provider.request = () => new Promise(() => {}); }")
    await buttons(page).first.click()
    await says(page, "Please confirm in your wallet")
    await expect(page.locator("[data-wallets] [aria-disabled=true]")).to_have_count(2)
    await page.reload()
    await buttons(page).last.click()
    await says(page, "Sent. Waiting until the network shows it")
    assert "eth_sendTransaction" in await asked(page, "Two")


HANGS = """(method) => {
  const { provider } = wallets.One, ask = provider.request;
  wallets.One.sent = [];
  provider.request = async (one) => {
    if (one.method === "eth_sendTransaction") wallets.One.sent.push(one.params[0]);
    if (one.method === method)
      await new Promise((go, no) => { window.answer = go; window.decline = () => no({ code: 4001 }); });
    return ask(one);
  };
}"""


async def hung(world: tuple[World, Served], page: Page, method: str) -> Locator:
    """Ask a wallet that does not answer, until the payer is asked whether it does; return the button that leaves it."""
    await page.clock.install()
    await at_checkout(world, page, 'announced("One"); announced("Two")')
    await page.evaluate(HANGS, method)
    await buttons(page).first.click()
    again = page.get_by_role("button", name="Nothing was sent: try again")
    await expect(page.locator("[data-wallets] [aria-disabled=true]")).to_have_count(2)
    await page.clock.run_for(50_000)
    await says(page, "Please confirm in your wallet")
    await expect(again).to_have_count(0)
    await page.clock.run_for(11_000)
    await says(page, "Your wallet has not answered. Look there")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # drawn anew
    await page.clock.run_for(1_000)
    await expect(page.locator("[data-wallets] [aria-disabled=true]")).to_have_count(2)
    await expect(again).to_have_count(1)
    return again


@pytest.mark.parametrize("secure", [True, False], ids=["https", "http"])
async def test_a_wallet_that_never_answers_is_left_when_its_payer_says_that_nothing_was_sent(
    world: tuple[World, Served], page: Page, secure: bool
) -> None:
    if not secure:
        await page.context.add_init_script("delete Navigator.prototype.locks")
    again = await hung(world, page, "eth_sendTransaction")
    await usable(page)
    await again.focus()
    await page.keyboard.press("Enter")
    await expect(again).to_have_count(0)
    await expect(page.locator("[data-said]")).to_have_text("")
    await expect(buttons(page).first).to_be_focused()
    await buttons(page).last.click()
    await says(page, "Sent. Waiting until the network shows it")
    await expect(page.locator("[data-wallets] [aria-disabled=true]")).to_have_count(2)
    assert (await asked(page, "Two")).count("eth_sendTransaction") == 1


async def test_what_a_wallet_answers_after_it_was_left_is_not_paid_twice(
    world: tuple[World, Served], page: Page
) -> None:
    again = await hung(world, page, "eth_sendTransaction")
    await again.click()
    await page.evaluate("() => { window.first = window.answer; }")
    await buttons(page).first.click()
    await until(lambda: page.evaluate("answer !== first"))  # asked again, and answers the former request now
    await page.evaluate("first()")
    await says(page, "The first payment was sent after all. Decline the second one in your wallet.")
    await page.evaluate("decline()")
    await says(page, "Sent. Waiting until the network shows it")
    await expect(page.locator("[data-wallets] [aria-disabled=true]")).to_have_count(2)
    assert (await asked(page, "One")).count("eth_sendTransaction") == 1


async def test_a_wallet_that_was_left_before_it_was_asked_for_money_is_asked_for_none(
    world: tuple[World, Served], page: Page
) -> None:
    again = await hung(world, page, "eth_requestAccounts")
    await again.click()
    await expect(page.locator("[data-wallets] [aria-disabled=false]")).to_have_count(2)
    await page.evaluate("answer()")
    await expect(page.locator("[data-said]")).to_have_text("")
    await buttons(page).last.click()
    await says(page, "Sent. Waiting until the network shows it")
    assert await asked(page, "One") == ["eth_requestAccounts"]


async def test_a_payment_that_the_invoice_shows_opens_the_buttons_of_a_wallet_that_never_answered(
    world: tuple[World, Served], page: Page
) -> None:
    _, served = world
    again = await hung(world, page, "eth_sendTransaction")
    await served.house.database.pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, first_seen_at,
               replaceable, block_height, block_hash, store_id, invoice_id)
           select 'pay_' || right(invoice_id, 29), network, 'ab' || invoice_id, 'value', 'ETH@anvil', 10000, 0,
               id, now(), false, 100, 'cd', store_id, invoice_id from addresses where invoice_id = $1""",
        page.url.rpartition("/")[2],
    )
    await page.evaluate(
        """() => {
          const [{ from, to, value, data }] = wallets.One.sent;
          wallets.One.known = { from, to: to.toUpperCase(), value, input: data ?? "0x" };
          document.dispatchEvent(new Event('visibilitychange'));
        }"""
    )
    await expect(page.locator(".payments li")).to_have_count(1)
    await expect(again).to_have_count(0)
    await expect(page.locator("[data-wallets] [aria-disabled=false]")).to_have_count(2)
    await page.evaluate("answer()")  # which is known by now
    await expect(page.locator("[data-said]")).to_have_text("")
    await expect(page.locator("[data-wallets] [aria-disabled=false]")).to_have_count(2)


async def part_from_elsewhere(world: tuple[World, Served], page: Page, method: str) -> None:
    """Ask a wallet that does not answer, and let a part come in Bitcoin meanwhile."""
    made, served = world
    invoice = await served.all.invoice(payment_options=[f"BTC@{BITCOIN}", ETH])
    await page.add_init_script(WALLET % 'announced("One"); announced("Two")')
    await page.goto(f"http://127.0.0.1:{served.port}/i/{invoice['id']}?asset={ETH}")
    await page.evaluate(HANGS, method)
    await buttons(page).first.click()
    await says(page, "Please confirm in your wallet")
    await until(lambda: page.evaluate("window.answer !== undefined"))
    await made.look(made.paying(invoice["id"].encode().hex(), invoice, units=1_000))
    await says(page, "What is to be paid has changed. Decline what your wallet still asks you for, and try again.")
    await expect(page.locator(".payments li")).to_have_count(1)


async def test_a_payment_from_elsewhere_opens_no_button_while_a_wallet_is_asked(
    world: tuple[World, Served], page: Page
) -> None:
    await page.clock.install()
    await part_from_elsewhere(world, page, "eth_sendTransaction")
    await expect(page.locator("[data-wallets] [aria-disabled=true]")).to_have_count(2)
    await page.clock.run_for(61_000)
    await expect(page.get_by_role("button", name="Nothing was sent: try again")).to_have_count(1)
    await says(page, "What is to be paid has changed.")
    await expect(page.locator("[data-wallets] [aria-disabled=true]")).to_have_count(2)
    await usable(page)
    await page.evaluate("decline()")
    await expect(page.locator("[data-wallets] [aria-disabled=false]")).to_have_count(2)
    await expect(page.locator("[data-said]")).to_have_text("")


async def test_a_wallet_is_asked_for_nothing_that_is_due_no_more(world: tuple[World, Served], page: Page) -> None:
    await part_from_elsewhere(world, page, "eth_requestAccounts")
    await page.evaluate("answer()")
    await expect(page.locator("[data-wallets] [aria-disabled=false]")).to_have_count(2)
    await says(page, "What is to be paid has changed.")
    assert await asked(page, "One") == ["eth_requestAccounts", "eth_chainId"]
    await buttons(page).last.click()
    await says(page, "Sent. Waiting until the network shows it")


async def test_a_page_listens_once_for_what_other_tabs_send_however_often_it_is_drawn(
    world: tuple[World, Served], page: Page
) -> None:
    await page.add_init_script(
        """window.listening = 0;
           const listen = window.addEventListener;
           window.addEventListener = (type, ...more) => {
             if (type === "storage") window.listening++;
             return listen.call(window, type, ...more);
           };"""
    )
    await at_checkout(world, page, 'announced("One")')
    for _ in range(3):
        async with page.expect_response(page.url):
            await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await page.wait_for_timeout(100)
    assert await page.evaluate("listening") == 1


async def test_what_was_sent_days_ago_is_forgotten(world: tuple[World, Served], page: Page) -> None:
    id_ = await at_checkout(world, page, 'announced("One")')
    await buttons(page).click()
    await says(page, "Sent.")
    await page.evaluate(
        """(key) => {
          const note = JSON.parse(localStorage.getItem(key));
          for (const each of [key, "kassa-sent-another"])
            localStorage.setItem(each, JSON.stringify({ ...note, at: note.at - 25 * 3600 * 1000 }));
          localStorage.setItem("kassa-sent-broken", "{");
          localStorage.setItem("of another page", "1");
        }""",
        f"kassa-sent-{id_}",
    )
    await page.reload()
    await expect(buttons(page)).to_be_enabled()
    assert await page.evaluate("Object.keys(localStorage)") == ["of another page"]


async def test_a_browser_that_keeps_nothing_pays_all_the_same(
    world: tuple[World, Served], page: Page, faults: Faults
) -> None:
    await page.add_init_script(
        """Object.defineProperty(window, "localStorage", { get() { throw new DOMException("no", "SecurityError"); } });
           navigator.locks.request = async () => { throw new DOMException("no", "SecurityError"); };"""
    )
    await at_checkout(world, page, 'announced("One")')
    await buttons(page).click()
    await says(page, "Sent. Waiting until the network shows it")
    await expect(buttons(page)).to_be_disabled()
    assert faults.seen == []


async def test_an_older_wallet_is_found_and_offered_once(world: tuple[World, Served], page: Page) -> None:
    await at_checkout(world, page, 'window.ethereum = put("Old").provider')
    await expect(buttons(page)).to_have_text(["Pay with a wallet in this browser"])
    await buttons(page).click()
    await says(page, "Sent.")
    await page.evaluate(
        "dispatchEvent(new CustomEvent('eip6963:announceProvider', { detail: { info: { uuid: 'x' } } }))"
    )
    assert await buttons(page).all_inner_texts() == ["Pay with a wallet in this browser"]  # for that is none
    await page.evaluate("wallets.Old.announce()")  # late, but by its name
    await expect(buttons(page)).to_have_text(["Pay with Old"])
    await expect(buttons(page)).to_be_focused()
    await expect(buttons(page)).to_be_disabled()


async def test_of_two_wallets_the_chosen_one_is_asked_and_neither_pays_twice(
    world: tuple[World, Served], page: Page
) -> None:
    await at_checkout(world, page, 'announced("One"); announced("Two"); window.ethereum = wallets.One.provider')
    await expect(buttons(page)).to_have_text(["Pay with One", "Pay with Two"])
    await buttons(page).last.click()
    await says(page, "Sent.")
    for button in await buttons(page).all():
        await expect(button).to_be_disabled()
    assert "eth_sendTransaction" in await asked(page, "Two")
    assert await asked(page, "One") == []


async def test_e16_names_and_icons_of_wallets_are_no_more_than_a_name(
    world: tuple[World, Served], page: Page, faults: Faults
) -> None:
    foreign: list[str] = []
    page.on("request", lambda one: foreign.append(one.url) if "127.0.0.1" not in one.url else None)
    icon = '{ icon: "https://evil.example/x.svg" }'
    await at_checkout(
        world, page,
        rf"""
        announced("<img src=x onerror=alert(1)>", {{}}, {icon});
        announced("\u202eyap\u2066 evil", {{}}, {{ icon: "javascript:alert(1)" }});
        announced("$& $1 {{wallet}}");
        announced("long" + "x".repeat(9000));
        announced("none", {{}}, {{ name: " \n " }});
        announced("thrower", {{}}, {{ name: {{ toString() {{ throw new Error("planted") }} }} }});
        announced("object", {{}}, {{ uuid: {{ toString() {{ throw new Error("planted") }} }} }});
        addEventListener("eip6963:requestProvider", () => {{
          for (const detail of [null, 1, {{}}, {{ info: {{ uuid: "x" }}, provider: {{ request: 1 }} }}])
            dispatchEvent(new CustomEvent("eip6963:announceProvider", {{ detail }}));
          for (let n = 0; n < 50; n++) put("flood" + n).announce();
        }});
        """,
    )  # fmt: skip
    await expect(buttons(page)).to_have_count(8)
    names = await buttons(page).all_inner_texts()
    assert names[:5] == [
        "Pay with <img src=x onerror=alert(1)>", "Pay with \u202eyap\u2066 evil", "Pay with $& $1 {wallet}",
        f"Pay with long{'x' * 36}", "Pay with ?",
    ]  # fmt: skip
    # What turns the direction of text reaches nothing beside the name.
    assert await buttons(page).locator("bdi").count() == 8
    await usable(page)
    assert (foreign, faults.seen, faults.dialogs) == ([], [], [])


async def test_a_transaction_is_led_to_where_a_site_shows_it_and_a_replaced_one_to_its_rival(
    world: tuple[World, Served], open_page: OpenPage
) -> None:
    made, _ = world
    page = await open_page()
    asset = f"BTC@{BITCOIN}"
    id_ = await at_checkout(world, page, "", asset)
    invoice = await made.shown({"id": id_})
    links = page.locator(".payments a.tx")
    first = made.paying("aa" * 32, invoice, spends="coin:0", replaceable=True)
    await made.look(first)
    await expect(links).to_have_attribute("href", SITE + "aa" * 32)  # seen
    assert await links.get_attribute("rel") == "noreferrer noopener nofollow"
    second = made.paying("bb" * 32, invoice, spends="coin:0")
    await made.look(second)
    await expect(page.locator(".payments .dead a.tx")).to_have_count(2)
    hrefs = await page.locator(".payments .dead a.tx").evaluate_all("(all) => all.map((one) => one.href)")
    assert hrefs == [SITE + "aa" * 32, SITE + "bb" * 32]
    await expect(page.locator(".payments .dead a.tx").last).to_contain_text("Replaced by")
    await made.mine(second)
    await expect(page.locator(".payments li:not(.dead)")).to_contain_text("1 of 2 confirmations")
    await expect(page.locator(".payments li:not(.dead) a.tx")).to_have_attribute("href", SITE + "bb" * 32)
    await usable(page)


async def test_in_forced_colours_the_chosen_way_and_what_can_be_pressed_are_told_apart(
    world: tuple[World, Served], open_page: OpenPage
) -> None:
    _, served = world
    page = await open_page(forced_colors="active")
    invoice = await served.all.invoice(payment_options=[f"BTC@{BITCOIN}", ETH, USDC])
    await page.add_init_script(WALLET % 'announced("One")')
    await page.goto(f"http://127.0.0.1:{served.port}/i/{invoice['id']}?asset={ETH}")
    await expect(buttons(page)).to_have_count(1)
    wide = "(all) => all.map((one) => parseFloat(getComputedStyle(one).borderTopWidth))"
    assert await page.locator(".ways a:not([aria-current])").evaluate_all(wide) == [1, 1]
    assert await page.locator(".ways [aria-current]").evaluate_all(wide) == [4]
    assert await page.locator(".go, [data-wallets] button").evaluate_all(wide) == [1, 1]
