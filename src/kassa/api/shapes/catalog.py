"""Wallets, assets and networks."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from kassa.api.shapes.words import AssetId, Time


class Wallet(Struct):
    """The public half of a wallet on one network."""

    object: Literal["wallet"]
    id: str
    store_id: str
    network: str
    descriptor: str
    fingerprint: Annotated[str, Meta(description="Compare it with what the signing device shows.")]
    created_at: Time
    retired_at: Annotated[Time | None, Meta(description="Since when another wallet is in its place.")]


class WalletInUse(Wallet):
    """A wallet, and how its addresses were used."""

    next_index: int
    last_used_index: Annotated[int | None, Meta(description="Of the last address that holds a payment in a block.")]
    gap_limit: Annotated[
        int, Meta(description="With this gap limit your own wallet sees every coin; most bridge 20 by default.")
    ]


class WalletOrder(Struct, forbid_unknown_fields=True, frozen=True):
    """A network, and the descriptor or extended PUBLIC key of a wallet there."""

    network: Annotated[str, Meta(max_length=60, examples=["bitcoin-regtest"])]
    descriptor: Annotated[str, Meta(max_length=2000)]


class WalletChangeOrder(Struct, forbid_unknown_fields=True, frozen=True):
    """The descriptor or extended PUBLIC key that shall be in a wallet's place."""

    descriptor: Annotated[str, Meta(max_length=2000)]


class WalletConfirmation(Struct, forbid_unknown_fields=True, frozen=True):
    """The fingerprint of the new key, read from the signing device."""

    fingerprint: Annotated[str, Meta(max_length=100)]


class WalletChange(Struct):
    """A wallet on its way to another key."""

    object: Literal["wallet_change"]
    id: str
    store_id: str
    wallet_id: str
    network: str
    status: Literal["asked", "confirmed", "applied", "cancelled"]
    descriptor: str
    fingerprint: Annotated[str, Meta(description="Compare it with what the signing device shows.")]
    asked_at: Time
    asked_by: str
    confirmed_at: Time | None
    confirmed_by: str | None
    due_at: Annotated[Time | None, Meta(description="From when the new wallet issues addresses.")]
    ended_at: Time | None


class Address(Struct):
    """An address that was issued."""

    object: Literal["address"]
    id: str
    network: str
    address: Annotated[str | None, Meta(description="Null when it is not what the wallet derives.")]
    index: int
    invoice_id: str | None
    customer_id: str | None
    created_at: Time


class Asset(Struct):
    """What can be asked for. `accepted`: this store has a wallet for it."""

    object: Literal["asset"]
    id: AssetId
    symbol: str
    network: str
    decimals: int
    caip19: str
    accepted: bool


class Network(Struct):
    """How far a network is followed: our height, the node's, and the difference; and what its nodes last said."""

    object: Literal["network"]
    id: str
    chain: str
    state: Literal["ok", "syncing", "stalled", "halted", "unreachable"]
    height: int | None
    hash: str | None
    node_height: int | None
    lag_blocks: int | None
    lag_seconds: Annotated[int | None, Meta(description="Since everything the node had was last seen.")]
    contacted_at: Time | None
    final_height: Annotated[int | None, Meta(description="Up to which height the network calls its blocks final.")]
    final_at: Annotated[Time | None, Meta(description="When that height last rose, on our clock.")]
    node_version: Annotated[str | None, Meta(description="What the node calls itself.")]
    node_outdated: Annotated[bool, Meta(description="It is older than the rules of its chain.")]
    node_warns: Annotated[bool, Meta(description="It warns of something; its operator knows of what.")]
    node_peers: Annotated[int | None, Meta(description="Null where it does not tell.")]
    node_clock_skew_seconds: Annotated[int | None, Meta(description="How far its clock is ahead of ours.")]
    node_read_at: Annotated[Time | None, Meta(description="When it last said so.")]
    node_block_at: Annotated[Time | None, Meta(description="The time of its last block.")]
    fee: Annotated[str | None, Meta(description="What a transaction costs now, for people.", examples=["1.5 sat/vB"])]
    push: Annotated[Literal["subscription", "polling"], Meta(description="Whether the node tells of news by itself.")]
    pushed_at: Annotated[Time | None, Meta(description="When it last did, to the minute.")]
    second_state: Annotated[
        Literal["agrees", "differs", "silent", "refused", "unknown"] | None,
        Meta(description="What a second node makes of our chain; null: there is none."),
    ]
    second_asked_at: Time | None
