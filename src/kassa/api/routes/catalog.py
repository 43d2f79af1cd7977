"""What there is to ask for and how it is followed: assets and networks. A test store sees only test networks."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from kassa.api import shapes
from kassa.api.auth import ANY_KEY
from kassa.api.endpoint import Call, Endpoint
from kassa.chains.base import Chain
from kassa.core.clock import rfc3339
from kassa.db.pool import Tx
from kassa.wallets.store import wallets_of
from kassa.watch.store import NetworkRow, network_rows


async def _assets(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    accepted = {wallet.network for wallet in await wallets_of(tx, call.store.id)}
    assets = [(asset, chain.caip19[asset.id]) for chain in _chains(call).values() for asset in chain.assets]
    data = [
        {
            "object": "asset",
            "id": asset.id,
            "symbol": asset.symbol,
            "network": asset.network,
            "decimals": asset.decimals,
            "caip19": caip19,
            "accepted": asset.network in accepted,
        }
        for asset, caip19 in assets
    ]
    return {"data": data, "next_cursor": None}


async def _networks(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    rows = {row.name: row for row in await network_rows(tx)}
    data = [_network(name, chain, rows.get(name), call.now) for name, chain in _chains(call).items()]
    return {"data": data, "next_cursor": None}


def _chains(call: Call) -> Mapping[str, Chain]:
    return {name: chain for name, chain in call.house.chains.items() if chain.livemode == call.store.livemode}


def _network(name: str, chain: Chain, row: NetworkRow | None, now: datetime) -> dict[str, Any]:  # JSON
    resource = {"object": "network", "id": name, "chain": chain.name, "state": "unreachable"}
    if row is None:
        unknown = (
            "height",
            "hash",
            "node_height",
            "lag_blocks",
            "lag_seconds",
            "contacted_at",
            "final_height",
            "final_at",
        )
        return resource | dict.fromkeys(unknown)
    behind = None if row.height is None or row.node_height is None else max(0, row.node_height - row.height)
    age = None if row.observed_at is None else max(0, (now - row.observed_at) // timedelta(seconds=1))
    return resource | {
        "state": row.state,
        "height": row.height,
        "hash": row.hash,
        "node_height": row.node_height,
        "lag_blocks": behind,
        "lag_seconds": age,
        "contacted_at": None if row.contacted_at is None else rfc3339(row.contacted_at),
        "final_height": row.final_height,
        "final_at": None if row.final_at is None else rfc3339(row.final_at),
    }


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/assets", name="list_assets", summary="List the assets that can be asked for",
        access=ANY_KEY, work=_assets, result=shapes.Page[shapes.Asset],
    ),
    Endpoint(
        method="GET", path="/v1/networks", name="list_networks", summary="Show how far each network is followed",
        access=ANY_KEY, work=_networks, result=shapes.Page[shapes.Network],
    ),
)  # fmt: skip
