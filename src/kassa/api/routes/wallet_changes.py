"""Changes of wallets: ask, confirm with another key, cancel; applied after a delay."""

import asyncio
from typing import Any

from kassa import flow
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import page, read_cursor
from kassa.chains.base import Account
from kassa.core.errors import Conflict
from kassa.db.pool import Tx
from kassa.wallets import replacement_store as changes
from kassa.wallets import store as wallets
from kassa.wallets.change import change_resource


async def _account(call: Call) -> Account:
    order: shapes.WalletChangeOrder = call.body
    wallet = await wallets.get_wallet(call.house.database.pool, call.store.id, call.id)
    chain = call.house.chains.get(wallet.network)
    if chain is None:
        raise Conflict("this wallet issues no addresses any more", code="wallet_retired")
    # Hostile text through key arithmetic: not on the thread that serves everyone.
    return await asyncio.to_thread(chain.addresses.account, order.descriptor)


async def _ask(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return await flow.ask_wallet_change(tx, call.house, call.actor, call.store.id, call.id, call.prepared, call.now)


async def _confirm(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    order: shapes.WalletConfirmation = call.body
    house, store, by = call.house, call.store.id, call.actor
    return await flow.confirm_wallet_change(tx, house, by, store, call.id, order.fingerprint, call.now)


async def _cancel(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return await flow.cancel_wallet_change(tx, call.actor, call.store.id, call.id, call.now)


async def _list(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.PageQuery = call.query
    before = read_cursor("wch", query.cursor)
    found = await changes.page(tx, call.store.id, before, query.limit + 1)
    return page([change_resource(change) for change in found], query.limit)


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/wallets/{id}/change", name="ask_wallet_change",
        summary="Ask that a wallet be replaced by another key; somebody else must confirm it",
        access="wallets:write", id_of="wal", body=shapes.WalletChangeOrder, prepare=_account, work=_ask,
        result=shapes.WalletChange, status=201, repeatable=True, conflicts=True,
    ),
    Endpoint(
        method="GET", path="/v1/wallet-changes", name="list_wallet_changes",
        summary="List changes of wallets, newest first", access="wallets:read", query=shapes.PageQuery, work=_list,
        result=shapes.Page[shapes.WalletChange],
    ),
    Endpoint(
        method="POST", path="/v1/wallet-changes/{id}/confirm", name="confirm_wallet_change",
        summary="Confirm a change with another key than asked for it; it is applied after the delay",
        access="wallets:write", id_of="wch", body=shapes.WalletConfirmation, work=_confirm, result=shapes.WalletChange,
        repeatable=True, conflicts=True,
    ),
    Endpoint(
        method="POST", path="/v1/wallet-changes/{id}/cancel", name="cancel_wallet_change",
        summary="Give a change up before it is applied", access="wallets:write", id_of="wch", work=_cancel,
        result=shapes.WalletChange, repeatable=True, conflicts=True,
    ),
)  # fmt: skip
