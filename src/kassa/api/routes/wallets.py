"""Wallets: give a store the public half of one, list them and their addresses."""

import asyncio
from typing import Any

from kassa import flow
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import page, read_cursor
from kassa.chains.base import Account
from kassa.core.errors import FieldFault, Invalid
from kassa.db.pool import Tx
from kassa.house import House
from kassa.wallets import gap_store
from kassa.wallets import store as wallets
from kassa.wallets.model import Place, Wallet
from kassa.wallets.resource import address_resource, gap_resource, wallet_resource
from kassa.wallets.rules import check_mode
from kassa.wallets.store import Issued


async def _account(call: Call) -> Account:
    order: shapes.WalletOrder = call.body
    chain = call.house.chains.get(order.network)
    if chain is None:
        known = ", ".join(name for name, c in call.house.chains.items() if c.livemode == call.store.livemode)
        raise Invalid(FieldFault("network", f"is not followed here; followed are {known or 'none'}"))
    check_mode(order.network, chain.livemode, call.store.livemode)
    # Hostile text through key arithmetic: not on the thread that serves everyone.
    return await asyncio.to_thread(chain.addresses.account, order.descriptor)


async def _add(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    order: shapes.WalletOrder = call.body
    made = await flow.add_wallet(tx, call.house, call.actor, call.store.id, order.network, call.prepared, call.now)
    return wallet_resource(made)


async def _list(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.PageQuery = call.query
    before = read_cursor("wal", query.cursor)
    found = await wallets.wallets_of(tx, call.store.id, before=before, limit=query.limit + 1, retired=True)
    gaps = await gap_store.gaps_of(tx, [wallet.keychain_id for wallet in found])
    return page([wallet_resource(wallet) | gap_resource(gaps[wallet.keychain_id]) for wallet in found], query.limit)


async def _read(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    wallet = await wallets.get_wallet(tx, call.store.id, call.id)
    return wallet_resource(wallet) | gap_resource(await gap_store.gap_of(tx, wallet.keychain_id))


async def _addresses(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.PageQuery = call.query
    if query.cursor is not None and not (query.cursor.isascii() and query.cursor.isdigit() and len(query.cursor) < 11):
        raise Invalid(FieldFault("cursor", "is not a cursor of this list; use next_cursor as it was given"))
    wallet = await wallets.get_wallet(tx, call.store.id, call.id)
    below = None if query.cursor is None else int(query.cursor)
    found = await wallets.addresses_of(tx, wallet, below=below, limit=query.limit + 1)
    shown = [address_resource(issued, wallet.network, good=_is_good(call.house, wallet, issued)) for issued in found]
    return page(shown, query.limit, "index")


def _is_good(house: House, wallet: Wallet, issued: Issued) -> bool:
    place = Place(wallet.descriptor, issued.index, issued.seal)
    return house.mismatch(wallet.network, place, issued.address, issued.owner) is False


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/wallets", name="add_wallet", summary="Give the store a wallet on a network",
        access="wallets:write", body=shapes.WalletOrder, prepare=_account, work=_add, result=shapes.Wallet, status=201,
        repeatable=True, conflicts=True,
    ),
    Endpoint(
        method="GET", path="/v1/wallets", name="list_wallets", summary="List wallets, newest first",
        access="wallets:read", query=shapes.PageQuery, work=_list, result=shapes.Page[shapes.WalletInUse],
    ),
    Endpoint(
        method="GET", path="/v1/wallets/{id}", name="get_wallet", summary="Read a wallet",
        access="wallets:read", id_of="wal", work=_read, result=shapes.WalletInUse,
    ),
    Endpoint(
        method="GET", path="/v1/wallets/{id}/addresses", name="list_addresses",
        summary="List the addresses issued from a wallet, newest first",
        access="wallets:read", id_of="wal", query=shapes.PageQuery, work=_addresses, result=shapes.Page[shapes.Address],
    ),
)  # fmt: skip
