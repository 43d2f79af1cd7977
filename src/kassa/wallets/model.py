"""Wallets and addresses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from kassa.core.ids import AddressId, CustomerId, InvoiceId, StoreId, WalletId


@dataclass(frozen=True, slots=True)
class Wallet:
    """A store's wallet on one network. Its keychain (descriptor and counter) may serve several stores and networks.

    `networks` are all on which it is, or was, anybody's wallet: its addresses are watched on each.
    """

    id: WalletId
    store_id: StoreId
    network: str
    keychain_id: int
    descriptor: str
    fingerprint: str
    next_index: int
    created_at: datetime
    seal: bytes | None = None
    retired_at: datetime | None = None
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewAddress:
    """An address about to be issued: `script` are the bytes a transfer names, `key` their 64-bit search key."""

    id: AddressId
    network: str
    text: str
    script: bytes
    key: int
    keychain_id: int
    index: int
    seal: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address text comes from: derive it again and compare before showing it, and check its seal.

    `script` and `key`, where they were read: by what the chain is searched for it, which no seal covers.
    """

    descriptor: str
    index: int
    seal: bytes | None = None
    script: bytes | None = field(default=None, compare=False)
    key: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Given:
    """A wallet that a store was given, now or once: its seal says by which descriptor."""

    wallet_id: WalletId
    store_id: StoreId
    network: str
    seal: bytes | None


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose address it is. `text` and `place` are what the database says of it, where that was read.

    `owners_store` is the store of the invoice or customer, `given` are the wallets of `store_id`.
    """

    address_id: AddressId
    network: str
    script: bytes
    store_id: StoreId | None
    invoice_id: InvoiceId | None
    customer_id: CustomerId | None = None
    text: str = field(default="", compare=False)
    place: Place | None = field(default=None, compare=False)
    owners_store: StoreId | None = field(default=None, compare=False)
    given: tuple[Given, ...] = field(default=(), compare=False)

    @property
    def whose(self) -> str | None:
        """Return the invoice or customer that it was issued to; None for nobody's."""
        return self.invoice_id or self.customer_id


@dataclass(frozen=True, slots=True)
class Unissued:
    """An address above its keychain's counter: nobody's, unless an earlier life of the database issued it."""

    keychain_id: int
    index: int
    text: str
    script: bytes
    key: int


@dataclass(frozen=True, slots=True)
class Taker:
    """Who takes an address: a key or a person of the store, by its id; or, with `link`, who pays one of its links."""

    id: str
    link: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """How far a keychain is: its newest addresses in a row that nobody paid, and how many of them are of links.

    `paid`: the highest index that was paid in a block, -1 where none was, as far back as was looked.
    """

    keychain_id: int
    next_index: int
    unpaid: int
    by_links: int
    paid: int


Derive = Callable[[str, str, int], tuple[str, bytes, int]]
"""(network, descriptor, index) → (text, script, key): how a feature derives an address without knowing chains."""
