"""A request that was let in: whose it is, what it says, and what it may ask."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from kassa.api.endpoint import Call
from kassa.api.routes import ENDPOINTS
from kassa.api.serving import Asked, Desk, body_decoder
from kassa.audit.model import Actor
from kassa.core.errors import Forbidden
from kassa.dashboard.browser import Browser, Form
from kassa.house import House
from kassa.people.model import Person, Role, Session
from kassa.people.proofs import Site
from kassa.people.rules import rights
from kassa.stores.model import Store

_ENDPOINTS = {endpoint.name: (endpoint, body_decoder(endpoint)) for endpoint in ENDPOINTS}


@dataclass(slots=True)
class Visit:
    """Somebody who belongs to the store and asks for a page of it, or sends a form."""

    house: House
    desk: Desk
    session: Session
    person: Person
    store: Store
    role: Role
    now: datetime
    browser: Browser
    site: Site
    root: str
    path: str
    id: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    form: Form = field(default_factory=Form)
    faults: Mapping[str, str] = field(default_factory=dict)

    def may(self, right: str) -> bool:
        """Tell whether the person's role in this store has a right."""
        return right in rights(self.role)

    def demand(self, right: str) -> None:
        """Raise `Forbidden` unless the person's role has a right: before anything that no endpoint checks."""
        if not self.may(right):
            raise Forbidden(f"your role in this store ({self.role}) lacks the right {right}")

    def typed(self, action: str, name: str, value: str = "", id_: str = "") -> str:
        """Return what was typed into a field of the one form, of several alike on a page, that was sent; else `value`.

        `action` is the form's path, and `id_` its id where the page has it for more than one.
        """
        is_sent = self.path == action and id_ in ("", self.id)
        return self.form.values.get(name, value) if is_sent else value

    @property
    def actor(self) -> Actor:
        """Who acts, for the audit log."""
        return Actor(self.person.id, self.browser.address)

    async def ask(
        self,
        name: str,
        id_: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,  # JSON
        once: str = "",
    ) -> Any:  # JSON
        """Ask an endpoint of the API by its name, as the person's role allows; return its answer.

        `once` is an `Idempotency-Key`: what a form carries, so that sending it twice does it once. Raises `Rejected`.
        """
        endpoint, decoder = _ENDPOINTS[name]
        call = Call(self.house, self.store, self.person.id, self.now, self.browser.address, id_)

        async def read() -> bytes:
            return b"" if body is None else msgspec.json.encode(body)

        asked = Asked(
            endpoint, decoder, endpoint.path.replace("{id}", id_), urlencode(query or {}).encode(), {}, read,
            f"dashboard {self.person.id} {once}"[:255] if once and endpoint.repeatable else None,
        )  # fmt: skip
        try:
            reply = await self.desk.ask(asked, call, rights(self.role))
        except Forbidden:
            raise Forbidden(f"your role in this store ({self.role}) lacks the right {endpoint.access}") from None
        return msgspec.json.decode(reply.body) if reply.body else None

    def explorer(self, payment: Mapping[str, Any]) -> str | None:  # JSON
        """Return where a payment can be looked at on a public site, if its network has one."""
        network = payment["asset"].partition("@")[2]
        chain = self.house.chains.get(network) or self.house.former.get(network)
        return None if chain is None else chain.explorer_url(payment["txid"], payment["position"])

    def at(self, path: str) -> str:
        """Return the address of a page of this store."""
        return f"{self.root}/stores/{self.store.id}/{path}"
