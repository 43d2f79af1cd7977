"""The pages before one is signed in: password, code, passkey, invitation, second factor; and the proof asked again."""

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote_plus, urlencode

from litestar import Response
from litestar.handlers import HTTPRouteHandler

import kassa.people.session_store as sessions
import kassa.people.store as people
from kassa.checkout.answers import takes_gzip
from kassa.core.errors import Forbidden, Invalid, NotFound, Rejected
from kassa.dashboard import entering
from kassa.dashboard.browser import AnyRequest, Browser, Form, answer, new_token, read_browser, read_form
from kassa.dashboard.enrolling import Offer, Run, confirm_totp, new_offer
from kassa.dashboard.hall import Hall, keep
from kassa.dashboard.render import FILES, render
from kassa.dashboard.words import UNSAVED
from kassa.db.pool import Tx
from kassa.files.shelf import Shelf
from kassa.people import membership, proofs
from kassa.people.model import Invitation, Session, Stage
from kassa.people.rules import checked_password, checked_person_name, is_open
from kassa.stores import store as stores

# Below the dashboard alone, made of the characters of our own addresses: never another site, never a script.
_PLACE = re.compile(r"/(?!/)[A-Za-z0-9_\-./]{0,200}(\?[A-Za-z0-9_\-.=&%+@:]{0,400})?\Z")
_UNSAVED = f"done={UNSAVED}"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}\Z")


class Door:
    """Serves whoever is not (fully) signed in."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._house, self._site = hall.house, hall.site
        self._shelf = Shelf(self._house.database, self._house.seal)

    def routes(self) -> list[HTTPRouteHandler]:
        """Make the routes."""
        route = self._hall.route
        return [
            route("GET", "", self._start),
            route("GET", "/static/{name:str}", self._static),
            route("GET", "/sign-in", self._sign_in),
            route("POST", "/sign-in", self._take_password),
            route("GET", "/code", self._code),
            route("POST", "/code", self._take_code),
            route("POST", "/passkey/ask", self._ask_passkey),
            route("POST", "/passkey", self._take_passkey),
            route("GET", "/invitation/{token:str}", self._invitation),
            route("POST", "/invitation/{token:str}", self._accept),
            route("GET", "/enrol", self._enrol),
            route("POST", "/enrol", self._take_totp),
            route("GET", "/confirm", self._confirm),
            route("POST", "/confirm", self._take_confirmation),
            route("POST", "/sign-out", self._sign_out),
        ]

    async def _start(self, request: AnyRequest) -> Response[Any]:
        session = await self._hall.find(read_browser(request, self._site))
        if session is None or session.stage in (Stage.PASSKEY, Stage.CODE):
            return self._hall.go("/sign-in")
        if session.stage is Stage.ENROL:
            return self._hall.go("/enrol")
        if not session.roles:
            raise NotFound("")
        return self._hall.go(f"/stores/{min(session.roles)}/overview")

    async def _static(self, request: AnyRequest) -> Response[Any]:
        name = request.path_params["name"]
        file = FILES.get(name) or await self._shelf.find(name)
        if file is None:
            raise NotFound("")
        headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
        if not takes_gzip(request.headers):
            return answer(200, file.body, file.media_type, headers)
        return answer(200, file.packed, file.media_type, headers | {"content-encoding": "gzip"})

    # ------------------------------------------------------------ signing in

    async def _sign_in(self, request: AnyRequest) -> Response[Any]:
        return self._draw(request, "sign-in.html", next=place(request.query_params.get("next", "")))

    async def _take_password(self, request: AnyRequest) -> Response[Any]:
        browser, form = await self._read(request, "email", "password", "next")
        to = place(form.get("next"))
        try:
            token = await entering.by_password(self._house, browser, form.get("email"), form.get("password"))
        except Invalid as error:
            return self._draw(request, "sign-in.html", error, next=to, email=form.get("email"))
        return keep(self._hall.go("/code?" + urlencode({"next": to})), self._hall, token)

    async def _code(self, request: AnyRequest) -> Response[Any]:
        session = await self._hall.find(read_browser(request, self._site))
        if session is None or session.stage is not Stage.CODE:
            return self._hall.go("")
        return self._draw(request, "code.html", next=place(request.query_params.get("next", "")), session=session)

    async def _take_code(self, request: AnyRequest) -> Response[Any]:
        browser, form = await self._read(request, "code", "next")
        session, to = await self._session(browser, Stage.CODE), place(form.get("next"))
        try:
            token = await entering.by_code(self._house, browser, session, form.get("code"))
        except Invalid as error:
            return self._draw(request, "code.html", error, next=to, session=session)
        return keep(self._hall.go(to), self._hall, token)

    async def _ask_passkey(self, request: AnyRequest) -> Response[Any]:
        browser, _ = await self._read(request)
        session = await self._hall.find(browser)
        options = await entering.ask_passkey(self._house, browser, session, self._site)
        return answer(200, options.encode(), "application/json")

    async def _take_passkey(self, request: AnyRequest) -> Response[Any]:
        browser, form = await self._read(request, "credential", "next")
        session, to = await self._session(browser, Stage.PASSKEY, Stage.CODE), place(form.get("next"))
        try:
            token = await entering.by_passkey(self._house, browser, session, form.get("credential"), self._site)
        except Invalid as error:
            return self._draw(request, "sign-in.html", error, next=to)
        return keep(self._hall.go(to), self._hall, token)

    async def _sign_out(self, request: AnyRequest) -> Response[Any]:
        browser, _ = await self._read(request)
        session = await self._hall.find(browser)
        if session is not None:
            await self._house.database.run(lambda tx: entering.sign_out(tx, browser, session, self._house.clock.now()))
        return keep(self._hall.go("/sign-in"), self._hall, new_token())

    # ------------------------------------------------------------ links, and the first second factor

    async def _invitation(self, request: AnyRequest) -> Response[Any]:
        return await self._show_invitation(request, None)

    async def _accept(self, request: AnyRequest) -> Response[Any]:
        browser, form = await self._read(request, "name", "password")
        token, invitation = await self._invited(request)
        session = await self._hall.find(browser)
        if invitation.store is not None and session is not None and session.stage is Stage.OPEN:
            person, now = session.person, self._house.clock.now()
            assert person is not None
            await self._house.database.run(lambda tx: entering.join(tx, self._house, browser, token, person, now))
            return self._hall.go(f"/stores/{invitation.store}/overview")
        try:
            name, hashed = checked_person_name(form.get("name")), None
            if await self._sets_password(invitation):
                password = checked_password(form.get("password"), invitation.email)
                hashed = await proofs.hash_password(password)
        except Invalid as error:
            return await self._show_invitation(request, error)
        opened = await entering.by_invitation(self._house, browser, token, name, hashed)
        return keep(self._hall.go(""), self._hall, opened)

    async def _show_invitation(self, request: AnyRequest, error: Invalid | None) -> Response[Any]:
        token, invitation = await self._invited(request)
        session = await self._hall.find(read_browser(request, self._site))
        async with self._house.database.pool.acquire() as connection:
            store = None if invitation.store is None else await stores.get_store(connection, invitation.store)
        me = session.person if session is not None and session.stage is Stage.OPEN else None
        return self._draw(
            request, "invitation.html", error, token=token, invitation=invitation, store=store, me=me,
            sets_password=await self._sets_password(invitation),
        )  # fmt: skip

    async def _sets_password(self, invitation: Invitation) -> bool:
        async with self._house.database.pool.acquire() as connection:
            person = await people.find(connection, invitation.email)
            return person is None or await entering.begins_anew(connection, invitation, person)

    async def _invited(self, request: AnyRequest) -> tuple[str, Invitation]:
        token = request.path_params["token"]
        if not _TOKEN.match(token):
            raise NotFound("")
        async with self._house.database.pool.acquire() as connection:
            invitation = await membership.invited(connection, self._house.seal, token)
        if invitation is None or not is_open(invitation, self._house.clock.now()):
            raise Rejected("This link was used, was withdrawn, or is too old. Ask for a new one.", code="link_void")
        return token, invitation

    async def _enrol(self, request: AnyRequest) -> Response[Any]:
        session = await self._hall.find(read_browser(request, self._site))
        if session is None or session.stage is not Stage.ENROL or session.person is None:
            return self._hall.go("")
        return self._draw(request, "enrol.html", offer=new_offer(session.person))

    async def _take_totp(self, request: AnyRequest) -> Response[Any]:
        browser, form = await self._read(request, "secret", "code")
        session = await self._session(browser, Stage.ENROL)
        person, now = session.person, self._house.clock.now()
        assert person is not None
        try:
            codes = await confirm_totp(
                self._house, self._within(session), browser, session, form.get("secret"), form.get("code")
            )
        except Invalid as error:
            return self._draw(request, "enrol.html", error, offer=Offer.of(person, form.get("secret")))
        run = self._house.database.run
        token = await run(lambda tx: entering.finish(tx, self._house, browser, session, person, now))
        body = render("recovery.html", root=self._hall.root, title="Recovery codes", codes=codes, to=self._hall.root)
        return keep(answer(200, body), self._hall, token)

    # ------------------------------------------------------------ a fresh proof

    async def _confirm(self, request: AnyRequest) -> Response[Any]:
        session = await self._hall.find(read_browser(request, self._site))
        if session is None or session.stage is not Stage.OPEN:
            return self._hall.go("/sign-in")
        return self._draw_confirm(request, session, place(request.query_params.get("next", "")))

    async def _take_confirmation(self, request: AnyRequest) -> Response[Any]:
        browser, form = await self._read(request, "password", "code", "credential", "next")
        session, to, credential = (
            await self._session(browser, Stage.OPEN),
            place(form.get("next")),
            form.get("credential"),
        )
        try:
            if credential:
                await entering.confirm_by_passkey(self._house, browser, session, credential, self._site)
            else:
                await entering.confirm(self._house, browser, session, form.get("password"), form.get("code"))
        except Invalid as error:
            return self._draw_confirm(request, session, to, error)
        return self._hall.go(to)

    def _draw_confirm(
        self, request: AnyRequest, session: Session, to: str, error: Invalid | None = None
    ) -> Response[Any]:
        return self._draw(
            request, "confirm.html", error, session=session, to=f"{self._hall.root}/confirm", prefix="", about="",
            carried=[("next", to)],
        )  # fmt: skip

    # ------------------------------------------------------------ what they share

    async def _read(self, request: AnyRequest, *fields: str) -> tuple[Browser, Form]:
        browser = read_browser(request, self._site)
        return browser, await read_form(request, browser, self._site, fields)

    async def _session(self, browser: Browser, *stages: Stage) -> Session:
        session = await self._hall.find(browser)
        if session is None or session.stage not in stages:
            raise Forbidden(entering.TOO_LONG, code="session")
        return session

    def _within(self, session: Session) -> Run:
        """Return how to do something in a transaction, as `database.run` does, while a session is not ended."""

        async def run(work: Callable[[Tx], Awaitable[list[str]]]) -> list[str]:
            async def held(tx: Tx) -> list[str]:
                if not await sessions.hold(tx, session.id):
                    raise Forbidden(entering.TOO_LONG, code="session")
                return await work(tx)

            return await self._house.database.run(held)

        return run

    def _draw(self, request: AnyRequest, template: str, error: Invalid | None = None, **shown: Any) -> Response[Any]:
        browser = read_browser(request, self._site)
        faults = {} if error is None else {fault.field: fault.message for fault in error.faults}
        body = render(
            template,
            **{
                "root": self._hall.root, "csrf": browser.csrf, "faults": faults, "passkeys": self._site.has_passkeys,
                "email": "", "host": self._site.host, **shown,
            },
        )  # fmt: skip
        response = answer(200 if error is None else 422, body)
        return response if browser.known else keep(response, self._hall, browser.token)


def place(text: str) -> str:
    """Return a place below the dashboard to go on to, which says of nothing that it was done.

    What is no such place leads to the start.
    """
    if not _PLACE.match(text) or "/../" in text or text.endswith("/.."):
        return ""
    path, mark, query = text.partition("?")
    parts = [part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != "done" or part == _UNSAVED]
    return path + mark + "&".join(parts) if any(parts) else path
