"""A request that was let in: whose it is, what it says, and what it may ask."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

import kassa.people.session_store as sessions
from kassa.api.endpoint import Call
from kassa.api.reply import Reply
from kassa.api.routes import ENDPOINTS
from kassa.api.serving import Asked, Desk, Keep, body_decoder
from kassa.audit.model import Actor
from kassa.core.errors import Conflict, FieldFault, Forbidden, Invalid
from kassa.dashboard.browser import Browser, Form
from kassa.db.pool import Tx
from kassa.house import House
from kassa.people.model import Person, Role, Session
from kassa.people.proofs import Site
from kassa.people.rules import rights
from kassa.stores.model import Store
from kassa.stores.store import remember

T = TypeVar("T")

ALREADY = "already_done"
"""The code of what a form did before, and cannot show again."""
_CHANGED = "rights_changed"
_DONE = Reply(204, b"")
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
    once: str
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
    ) -> Any:  # JSON
        """Ask an endpoint of the API by its name, as the person's role allows; return its answer.

        What it writes it writes once for a form: sent again, the first answer comes again. Raises `Rejected`.
        """
        endpoint, decoder = _ENDPOINTS[name]
        call = self._call(id_)

        async def read() -> bytes:
            return b"" if body is None else msgspec.json.encode(body)

        asked = Asked(
            endpoint, decoder, endpoint.path.replace("{id}", id_), urlencode(query or {}).encode(), {}, read,
            self._deed(name) if endpoint.writes else None,
        )  # fmt: skip
        try:
            reply = await self.desk.ask(asked, call, rights(self.role))
        except Forbidden as error:
            if error.code == _CHANGED:
                raise
            raise Forbidden(f"your role in this store ({self.role}) lacks the right {endpoint.access}") from None
        return msgspec.json.decode(reply.body) if reply.body else None

    async def do(self, work: Callable[[Tx], Awaitable[object]]) -> None:
        """Do in one transaction what no endpoint does, once for a form: sent again, it does nothing."""
        await self._once(work)

    async def make(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Do it, and return what came of it.

        Raises `Conflict` (`ALREADY`) when the form did it before: what came of it may be a secret, and is not kept.
        """
        made = await self._once(work)
        if not made:
            raise Conflict("this was done already", code=ALREADY)
        return made[0]

    async def _once(self, work: Callable[[Tx], Awaitable[T]]) -> list[T]:
        made: list[T] = []

        async def once(tx: Tx, keep: Keep) -> T:
            await self._still_may(tx)
            done = await work(tx)
            await remember(tx, [keep(_DONE)])
            return done

        async def all_of_it(keep: Keep) -> Reply:
            made.append(await self.house.database.run(lambda tx: once(tx, keep)))
            return _DONE

        await self.desk.repeats.answer(self._call(), self._deed(""), b"", all_of_it)
        return made

    def _call(self, id_: str = "") -> Call:
        return Call(
            self.house, self.store, self.person.id, self.now, self.browser.address, id_, still_may=self._still_may
        )

    async def _still_may(self, tx: Tx) -> None:
        """Raise `Forbidden` where the session ended or the role changed since the request was let in."""
        if not await sessions.stands(tx, self.session.id, self.store.id, self.role):
            raise Forbidden(
                "your session, or your role in this store, has just changed: load the page again", code=_CHANGED
            )

    def _deed(self, name: str) -> str:
        """Return the `Idempotency-Key` of a form: with something else in it, it is another deed."""
        if not self.form.get("once"):
            raise Invalid(FieldFault("once", "is missing: load the page again"))
        told = [self.path, self.id, sorted(self.form.values.items()), sorted(self.form.many.items())]
        return f"dashboard {self.person.id} {hashlib.sha256(json.dumps(told).encode()).hexdigest()} {name}".rstrip()

    def explorer(self, payment: Mapping[str, Any]) -> str | None:  # JSON
        """Return where a payment can be looked at on a public site, if its network has one."""
        network = payment["asset"].partition("@")[2]
        chain = self.house.chains.get(network) or self.house.former.get(network)
        return None if chain is None else chain.explorer_url(payment["txid"], payment["position"])

    def at(self, path: str) -> str:
        """Return the address of a page of this store."""
        return f"{self.root}/stores/{self.store.id}/{path}"
