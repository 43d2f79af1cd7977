"""Wallets: the public halves that addresses come from. A new one is compared with one's own wallet before it counts."""

import asyncio
from typing import Any

from kassa.core.errors import FieldFault, Invalid
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.visit import Visit

FIRST = 5
"""So many addresses are shown to be compared."""


async def _list(visit: Visit) -> Screen:
    asked = {"cursor": cursor} if (cursor := visit.query.get("cursor")) else {}
    found = await visit.ask("list_wallets", query=asked)
    return Screen("wallets.html", {"list": found, "wallets": found["data"]})


async def _one(visit: Visit) -> Screen:
    wallet = await visit.ask("get_wallet", visit.id)
    asked = {"cursor": cursor} if (cursor := visit.query.get("cursor")) else {}
    return Screen(
        "wallet.html",
        {
            "wallet": wallet,
            "first": _first(visit, wallet["network"], wallet["descriptor"]),
            "addresses": await visit.ask("list_addresses", visit.id, query=asked),
        },
    )


async def _new(visit: Visit) -> Screen:
    return Screen("wallet-new.html", {"networks": (await visit.ask("list_networks"))["data"]})


async def _preview(visit: Visit) -> Screen:
    """Show what would be derived: nothing is written yet."""
    network, text = visit.form.get("network"), visit.form.get("descriptor").strip()
    account = await _account(visit, network, text)
    first = _first(visit, network, account.descriptor)
    if None in first:
        raise Invalid(FieldFault("descriptor", "derives no addresses here"))
    shown = {"network": network, "descriptor": text, "account": account, "first": first}
    return Screen("wallet-compare.html", shown)


async def _add(visit: Visit) -> Go:
    if visit.form.get("compared") != "yes":
        raise Invalid(FieldFault("compared", "say that you compared the addresses: money would go to them"))
    body = {"network": visit.form.get("network"), "descriptor": visit.form.get("descriptor").strip()}
    made = await visit.ask("add_wallet", body=body)
    return Go(f"wallets/{made['id']}", "wallet_added")


async def _changes(visit: Visit) -> Screen:
    asked = {"cursor": cursor} if (cursor := visit.query.get("cursor")) else {}
    found = await visit.ask("list_wallet_changes", query=asked)
    first = {
        change["id"]: _first(visit, change["network"], change["descriptor"])
        for change in found["data"]
        if change["ended_at"] is None
    }
    return Screen("wallet-changes.html", {"list": found, "first": first})


async def _ask_change(visit: Visit) -> Go:
    await visit.ask("ask_wallet_change", visit.id, body={"descriptor": visit.form.get("descriptor").strip()})
    return Go("wallet-changes", "change_asked")


async def _confirm(visit: Visit) -> Go:
    await visit.ask("confirm_wallet_change", visit.id, body={"fingerprint": visit.form.get("fingerprint").strip()})
    return Go("wallet-changes", "change_confirmed")


async def _cancel(visit: Visit) -> Go:
    await visit.ask("cancel_wallet_change", visit.id)
    return Go("wallet-changes", "change_cancelled")


async def _account(visit: Visit, network: str, text: str) -> Any:  # chains.base.Account
    chain = visit.house.chains.get(network)
    if chain is None or chain.livemode != visit.store.livemode or len(text) > 2_000:
        raise Invalid(FieldFault("network", "is not one that this store can use"))
    # Hostile text through key arithmetic: not on the thread that serves everyone.
    return await asyncio.to_thread(chain.addresses.account, text)


def _first(visit: Visit, network: str, descriptor: str) -> list[str | None]:
    every = [visit.house.derived(network, descriptor, index) for index in range(FIRST)]
    return [(derived and derived.text) or None for derived in every]


_WALLET = ("network", "descriptor")
PAGES: tuple[Page, ...] = (
    Page(path="wallets", title="Wallets", access="wallets:read", show=_list, nav="Safety"),
    Page(path="wallets/new", title="New wallet", access="wallets:write", show=_new, fresh=True),
    Page(path="wallets/{id}", title="Wallet", access="wallets:read", show=_one, id_of="wal"),
    Page(path="wallet-changes", title="Wallet changes", access="wallets:read", show=_changes, nav="Safety"),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="wallets/compare", access="wallets:write", act=_preview, form="wallets/new", fields=_WALLET, fresh=True
    ),
    Action(
        path="wallets/new", access="wallets:write", act=_add, form="wallets/new", fields=(*_WALLET, "compared"),
        fresh=True,
    ),
    Action(
        path="wallets/{id}", access="wallets:write", act=_ask_change, form="wallets/{id}", id_of="wal",
        fields=("descriptor",), fresh=True,
    ),
    Action(
        path="wallet-changes/{id}/confirm", access="wallets:write", act=_confirm, form="wallet-changes", id_of="wch",
        fields=("fingerprint",), fresh=True,
    ),
    Action(
        path="wallet-changes/{id}/cancel", access="wallets:write", act=_cancel, form="wallet-changes", id_of="wch",
        fresh=True,
    ),
)  # fmt: skip
