"""What detectors see: values only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from kassa.core.ids import StoreId


@dataclass(frozen=True, slots=True)
class Followed:
    """How a configured network is followed. `observed_at` is up to when everything was seen.

    `below`: the node stands far below what we have seen, and knows of nothing above.
    """

    network: str
    state: str
    detail: str
    followed: bool
    refused: bool
    observed_at: datetime | None
    below: bool = False


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """What a followed network's node shows. `node_time` is the time of its last block, by that block.

    `final_at` is when the height that the network calls final last rose; `internal` how the node shows what contracts
    move, `internal_best` the best way that it was seen to have; `clock_skew_seconds` how far its clock is ahead;
    `observed_at` when we last had seen all that it had; `warning` what it warns of; `outdated` that it is older than
    its chain's rules.
    """

    network: str
    node_time: datetime | None
    final_at: datetime | None
    internal: str | None
    internal_best: str | None
    clock_skew_seconds: int | None
    observed_at: datetime | None
    warning: str = ""
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Reorganised:
    """The deepest reorganisation of a network of late, and how many there were."""

    network: str
    depth: int
    count: int


@dataclass(frozen=True, slots=True)
class Reversed:
    """A settled payment that the chain took back. `required` are the confirmations that had been enough for it."""

    payment_id: str
    store_id: str
    invoice_id: str | None
    customer_id: str | None
    network: str
    asset: str
    required: int


@dataclass(frozen=True, slots=True)
class ReversedMore:
    """How many settled payments of a store were taken back on a network beyond those that are told one by one."""

    store_id: str
    network: str
    count: int
    required: int


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Payments of late that another transaction overtook without paying the same: by store, network and payer.

    `payer` is a customer, or a coin that was sent to several invoices; None: all of a store's on the network.
    """

    store_id: str
    network: str
    payer: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Dust:
    """How many payments of hardly any value came to a store within the hour."""

    store_id: str
    count: int


@dataclass(frozen=True, slots=True)
class Unowned:
    """Money on an address of ours that nobody owns, since when, and the stores whose wallet it is."""

    payment_id: str
    network: str
    asset: str
    address: str
    first_seen_at: datetime
    stores: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """A store's payments in one currency, of the last hour and of the 30 days before; values in its smallest units."""

    store_id: str
    currency: str
    count: int
    largest: int
    before_count: int
    before_largest: int
    before_busiest_hour: int


@dataclass(frozen=True, slots=True)
class Ordered:
    """A store's invoices of the last ten minutes, how many of them somebody paid, and how many the day before had."""

    store_id: str
    made: int
    paid: int
    day_before: int


@dataclass(frozen=True, slots=True)
class UnpaidRun:
    """How many addresses of a wallet in a row, up to the newest, nobody paid."""

    wallet_id: str
    store_id: str
    network: str
    length: int


@dataclass(frozen=True, slots=True)
class Held:
    """What the books say of an asset: what reached our addresses, and what is owed to customers."""

    asset: str
    holdings: int
    owed: int


@dataclass(frozen=True, slots=True)
class InDebit:
    """A customer who owes the store by its books, which no payment, spend or loss can bring about."""

    store_id: str
    customer_id: str
    asset: str
    units: int


@dataclass(frozen=True, slots=True)
class Credited:
    """The largest credit of late to one customer in one entry, beside all that the books hold of the asset.

    `known`: how many entries the books had about the asset before.
    """

    store_id: str
    customer_id: str
    asset: str
    entry: int
    units: int
    holdings: int
    known: int


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for one receiver, for how long, and how often the most tried was tried."""

    store_id: str
    webhook_id: str | None
    waiting: int
    oldest_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Sending:
    """Whether anybody sends: the oldest event that has no number yet, and the longest overdue delivery."""

    unnumbered_at: datetime | None
    overdue_at: datetime | None
    given_up: Mapping[str, int]
    """Deliveries that were given up of late, by store."""


@dataclass(frozen=True, slots=True)
class Compared:
    """When the books of a network were last compared with its node, and since when they are to be."""

    network: str
    first_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Beat:
    """A detector's last run, and at which start, the first since it last looked, some process set out to run it."""

    name: str
    begun_at: datetime
    enlisted_at: datetime | None
    ended_at: datetime | None
    findings: int | None


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A key, member, receiver or app (`what`) of a store, of which the log does not tell, or tells otherwise."""

    what: str
    id: str
    store_id: str


@dataclass(frozen=True, slots=True)
class Owned:
    """An address of an invoice or a customer (`owner`) on a network; with none, what the invoice asks for."""

    store_id: StoreId
    network: str
    owner: str


@dataclass(frozen=True, slots=True)
class WrongAddresses:
    """How many of a store's addresses on a network (with none: invoices) are not as they were made.

    `ever` counts those too that were wrong before; `newest` are the owners of the last few.
    """

    store_id: StoreId
    network: str
    count: int
    ever: int
    newest: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disk:
    """The volume of a folder on a machine, in bytes."""

    host: str
    folder: str
    free_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LastBackup:
    """Where the last backup was written, how large it is, and what was left there then, in bytes."""

    host: str
    folder: str
    bytes: int
    free_bytes: int
