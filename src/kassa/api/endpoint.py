"""One endpoint: what it is called, who may call it, what goes in and out, and what it does.

The routes, the checks before each call and the OpenAPI document all come from these declarations.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from kassa.api.auth import ACCESSES
from kassa.audit.model import Actor
from kassa.house import House
from kassa.stores.model import Store
from kassa.stores.store import Kept, Reading
from kassa.wallets.store import Receiving


@dataclass(slots=True)
class Call:
    """A call that was let in: whose it is, and what it says. `body` and `query` are the endpoint's own structs."""

    house: House
    store: Store
    key_id: str
    now: datetime
    address: str | None = None  # of the caller, on the network
    id: str = ""
    body: Any = None  # the struct that the endpoint declares
    query: Any = None  # the same
    prepared: Any = None  # what the endpoint's `prepare` returned
    receiving: Sequence[Receiving] | None = None  # what the store can take, for an endpoint that asks
    reading: Reading | None = None  # of all this, for whoever has to compare it when something is written
    alone: bool = False  # nothing else is written with it
    keep: Callable[[Any], Kept] | None = None  # what is kept of what an endpoint that `keeps` returns
    again: bool = False  # it was begun, and counted, with what had changed meanwhile
    still_may: Callable[[Any], Awaitable[None]] | None = None  # asked inside the transaction; raises `Forbidden`

    @property
    def actor(self) -> Actor:
        """Who acts, for the audit log."""
        return Actor(self.key_id, self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Declares an endpoint.

    `access` is a scope, `ANY_KEY` or `PUBLIC`; there is no default. `id_of` is the prefix of the id in the path.
    `prepare` runs outside any transaction, `work` inside one and returns what is answered. A reading endpoint reads as
    of one moment and can write nothing, unless it is `bare`: then it gets a connection without a transaction. A
    `single` one commits by itself and is given no transaction (None) unless more is written with it. A `repeatable`
    endpoint honours `Idempotency-Key`; its answer is kept for it unless it `keeps` that itself. `result` is only for
    the document.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    name: str
    summary: str
    access: str
    work: Callable[..., Awaitable[Any]]  # JSON
    result: Any  # a type, or None for 204
    status: int = 200
    id_of: str | None = None
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    prepare: Callable[[Call], Awaitable[Any]] | None = None
    bare: bool = False
    repeatable: bool = False
    single: bool = False
    keeps: bool = False
    receiving: bool = False
    conflicts: bool = False
    example: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.access not in ACCESSES:
            raise AssertionError(f"{self.method} {self.path} declares no known access: {self.access!r}")

    @property
    def writes(self) -> bool:
        return self.method != "GET"
