"""Somebody at a browser without scripts: keeps cookies, follows redirects, fills in forms as they were served."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pyotp

from kassa.api.app import create_app
from kassa.audit.model import KASSA, Actor
from kassa.dashboard import app as dashboard
from kassa.db.pool import Database
from kassa.house import House
from kassa.people import membership
from kassa.people.model import Role
from kassa.settings import Http
from kassa.stores.model import Store
from tests.api.conftest import follow
from tests.api.served import listening
from tests.house import SetClock, add_store, build_house
from tests.tools.ports import free_port

PASSWORD = "correct horse battery staple"


class Forms(HTMLParser):
    """The forms of a page: where each goes, and the fields with what stands in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, list[str]]]] = []
        self._select = ""
        self._lines: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            # One that only asks (GET) is no form here: its address has another ending than any.
            self.found.append((given.get("action", "") if given.get("method") == "post" else "?", {}))
        elif tag == "input" and "name" in given and self.found:
            box = given.get("type") in ("checkbox", "radio")
            if not box or "checked" in given:
                self.found[-1][1].setdefault(given["name"], []).append(given.get("value", ""))
        elif tag == "textarea":
            self._lines = self.found[-1][1].setdefault(given["name"], [""])
        elif tag == "select":
            self._select = given["name"]
            self.found[-1][1][self._select] = []
        elif tag == "option" and (not self.found[-1][1][self._select] or "selected" in given):
            self.found[-1][1][self._select] = [given.get("value", "")]

    def handle_data(self, data: str) -> None:
        if self._lines is not None:
            self._lines[0] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._lines is not None:
            self._lines[0] = self._lines[0].removeprefix("\n")  # as a browser reads it
            self._lines = None


@dataclass(slots=True)
class Seen:
    """What came back in the end."""

    status: int
    url: str
    headers: Mapping[str, str]
    text: str

    @property
    def words(self) -> str:
        """The page as text."""
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", self.text)))


@dataclass(slots=True)
class Visitor:
    """One browser."""

    session: aiohttp.ClientSession
    base: str
    seen: Seen = field(default_factory=lambda: Seen(0, "", {}, ""))
    secret: str = ""

    async def send(self, method: str, path: str, *, follow: bool = True, **more: Any) -> Seen:
        async with self.session.request(method, self.base + path, allow_redirects=follow, **more) as answer:
            self.seen = Seen(answer.status, answer.url.path_qs, answer.headers, await answer.text())
        return self.seen

    async def open(self, path: str = "/dashboard") -> Seen:
        return await self.send("GET", path)

    async def submit(self, ending: str, *, follow: bool = True, **fields: str | list[str] | None) -> Seen:
        """Send the form of this page whose address ends so, with some fields filled in (None: left out)."""
        here = self.seen.url.partition("?")[0]
        forms = [(action or here, given) for action, given in Forms(self.seen.text).found]
        action, given = next(form for form in forms if form[0].endswith(ending))
        filled = given | {name: [value] if isinstance(value, str) else value for name, value in fields.items()}
        pairs = [(name, value) for name, values in filled.items() if values is not None for value in values]
        data = aiohttp.FormData(pairs)
        return await self.send("POST", action, data=data, follow=follow)

    def code(self, at: Any) -> str:
        return pyotp.TOTP(self.secret).at(at)

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.session.cookie_jar}


@dataclass(slots=True)
class Premises:
    """A served dashboard and whoever visits it."""

    house: House
    store: Store
    clock: SetClock
    base: str
    visitors: list[Visitor] = field(default_factory=list)

    def visitor(self, **headers: str) -> Visitor:
        jar = aiohttp.CookieJar(unsafe=True)
        self.visitors.append(Visitor(aiohttp.ClientSession(cookie_jar=jar, headers=headers), self.base))
        return self.visitors[-1]

    async def invited(self, email: str, role: Role, store: Store | None = None, by: str = "operator test") -> str:
        """Return the path of a new invitation."""
        place = (store or self.store).id, role
        async with self.house.database.transaction() as tx:
            token = await membership.invite(tx, self.house.seal, Actor(by), email, place, self.clock.now())
        return f"/dashboard/invitation/{token}"

    async def link(self, email: str, *, lost: bool = False) -> str:
        """Return the path of a link that lets a known person in again."""
        run, now = self.house.database.run, self.clock.now()
        seal = self.house.seal
        token = await run(lambda tx: membership.invite(tx, seal, KASSA, email, None, now, voids=lost))
        return f"/dashboard/invitation/{token}"

    async def member(
        self, role: Role, email: str = "", store: Store | None = None, by: str = "operator test"
    ) -> Visitor:
        """Return a visitor who accepted an invitation, set up an app and is signed in."""
        visitor = self.visitor()
        link = await self.invited(email or f"{role}@shop.example", role, store, by)
        await visitor.open(link)
        await visitor.submit(link, name=f"The {role}", password=PASSWORD)
        visitor.secret = Forms(visitor.seen.text).found[0][1]["secret"][0]
        await visitor.submit("/enrol", code=visitor.code(self.clock.now()))
        assert visitor.seen.status == 200, visitor.seen.words
        self.clock.move(60)  # the code of this step is used up
        return visitor

    def at(self, path: str) -> str:
        return f"/dashboard/stores/{self.store.id}/{path}"


@asynccontextmanager
async def open_premises(database: Database, folder: Path, public_url: str = "") -> AsyncIterator[Premises]:
    """Serve the dashboard of a new house with one store. Visitors may name an address of theirs, as a proxy would."""
    clock = SetClock()
    here = public_url or f"http://127.0.0.1:{free_port()}"
    http = Http(public_url=here, trusted_proxies=(ip_network("127.0.0.1"),))
    house = await build_house(database, folder, clock=clock, http=http)
    await follow(house)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
    async with listening(create_app(house, dashboard.handlers(house))) as bound:
        premises = Premises(house, store, clock, f"http://127.0.0.1:{bound}")
        try:
            yield premises
        finally:
            for visitor in premises.visitors:
                await visitor.session.close()
            await house.marks.close()
