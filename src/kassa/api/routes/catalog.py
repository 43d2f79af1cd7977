"""What there is to ask for and how it is followed: assets and networks. A test store sees only test networks."""

from collections.abc import Mapping
from typing import Any

from kassa.api import shapes
from kassa.api.auth import ANY_KEY
from kassa.api.endpoint import Call, Endpoint
from kassa.chains.base import Chain
from kassa.db.pool import Tx
from kassa.wallets.store import wallets_of
from kassa.watch.node_store import nodes
from kassa.watch.opinion_store import opinions
from kassa.watch.resource import network_resource
from kassa.watch.store import network_rows


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
    rows, told = {row.name: row for row in await network_rows(tx)}, await nodes(tx)
    second = {opinion.network: opinion for opinion in await opinions(tx)}
    data = [
        network_resource(
            name, chain.name, rows.get(name), told.get(name), second.get(name),
            pushes=call.house.settings.networks[name].pushes, now=call.now,
        )
        for name, chain in _chains(call).items()
    ]  # fmt: skip
    return {"data": data, "next_cursor": None}


def _chains(call: Call) -> Mapping[str, Chain]:
    return {name: chain for name, chain in call.house.chains.items() if chain.livemode == call.store.livemode}


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
