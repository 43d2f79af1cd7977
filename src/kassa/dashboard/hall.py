"""The way of a request to a page: the session, the store, the role, the form's token, a fresh proof, the page."""

import gzip
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect

import kassa.people.session_store as sessions
import kassa.stores.store as stores
from kassa.api.errors import from_away
from kassa.api.serving import Desk
from kassa.checkout.answers import takes_gzip
from kassa.core.correlation import current
from kassa.core.errors import Conflict, FieldFault, Invalid, NotFound, Rejected, Throttled, Unavailable
from kassa.core.ids import is_id
from kassa.dashboard import proving
from kassa.dashboard.browser import AnyRequest, Browser, answer, read_browser, read_form, set_cookie
from kassa.dashboard.page import MEMBER, Action, Answer, Download, Go, Page, Screen, Told
from kassa.dashboard.render import render
from kassa.dashboard.visit import ALREADY, Visit
from kassa.dashboard.words import PROVEN, UNSAVED
from kassa.db.faults import DATABASE_AWAY
from kassa.house import House
from kassa.people.model import Session, Stage
from kassa.people.proofs import site_of
from kassa.people.rules import csrf_token, is_alive, is_fresh, rights
from kassa.people.seal_store import Sealed, is_sealed

SEEN_EVERY = timedelta(minutes=1)
AGAIN = "kassa-again"
"""The header of our own script where it asks for a page again, every few seconds while somebody can see it."""
_TITLES = {403: "You may not do this", 404: "There is no such page", 429: "Too many tries", 503: "Not possible now"}

Handle = Callable[[AnyRequest], Awaitable[Response[Any]]]


class Hall:
    """Serves the pages of people who are signed in. Nothing here outlives a request."""

    def __init__(self, house: House, pages: tuple[Page, ...], actions: tuple[Action, ...]) -> None:
        self.house = house
        self.desk = Desk(house)
        self.site = site_of(house.settings.http.public_url)
        self.root = "/dashboard"
        self.pages = pages
        self._by_path = {page.path: page for page in pages}
        self._actions = actions

    def routes(self) -> list[HTTPRouteHandler]:
        """Make the routes of pages and forms."""
        made = [self.route("GET", f"/stores/{{store:str}}/{one.path}", self._showing(one)) for one in self.pages]
        for one in self._actions:
            made.append(self.route("POST", f"/stores/{{store:str}}/{one.path}", self._acting(one)))
            if one.path not in self._by_path:
                made.append(self.route("GET", f"/stores/{{store:str}}/{one.path}", self._leading(one)))
        unknown = ("/{page:str}", "/stores/{store:str}", "/stores/{store:str}/{page:str}")
        return made + [self.route("GET", path, _absent) for path in unknown]

    def route(self, method: str, path: str, handle: Handle) -> HTTPRouteHandler:
        """Make a route of the dashboard, whose refusals are pages."""

        async def guarded(request: AnyRequest) -> Response[Any]:
            try:
                return await handle(request)
            except Rejected as error:
                return self.refusal(error)
            except DATABASE_AWAY as error:
                from_away(error)  # writes it to the log
                said = "The database cannot be reached now. Try again in a moment. The log has it under the number"
                return self.refusal(Unavailable(f"{said} {current()}."))

        full = "/dashboard" + path.replace("{id}", "{id:str}")
        opt = {"access": "public", "failed": self.failed}
        return HTTPRouteHandler(full, http_method=method, opt=opt, status_code=200)(guarded)  # type: ignore[arg-type]

    def go(self, path: str) -> Response[Any]:
        """Send the browser to a page of the dashboard."""
        return Redirect(self.root + path, status_code=303, headers=dict(answer(303, b"").headers))

    def refusal(self, error: Rejected) -> Response[Any]:
        """Say what was refused, and why."""
        title = _TITLES.get(error.status, "This was not done")
        text = "It may have been removed, or belongs to another store." if isinstance(error, NotFound) else str(error)
        headers = {"retry-after": str(error.seconds)} if isinstance(error, Throttled) else {}
        body = render("refusal.html", root=self.root, title=title, text=text)
        return answer(error.status, body, headers=headers)

    def failed(self, _request: AnyRequest, number: str) -> Response[Any]:
        """Answer where nobody foresaw the fault: the log has it under this number."""
        title, text = "Something went wrong here", f"The failure is in the log of Kassa, under the number {number}."
        return answer(500, render("refusal.html", root=self.root, title=title, text=text))

    async def find(self, browser: Browser) -> Session | None:
        """Return the session of a browser, if it has one that still holds and that Kassa began."""
        if not browser.known:
            return None
        async with self.house.database.pool.acquire(timeout=5) as connection:
            session = await sessions.find(connection, browser.token)
            if session is None or not is_alive(session, self.house.clock.now()):
                return None
            if session.person and not await is_sealed(connection, self.house.seal, Sealed.SESSION, session.id):
                return None  # written by somebody else; or before sessions were sealed
        return session

    def _showing(self, page: Page) -> Handle:
        async def handle(request: AnyRequest) -> Response[Any]:
            visit = await self._admit(request, page)
            if isinstance(visit, Response):
                return visit
            response = self._answer(visit, page, await page.show(visit), live=page.live)
            return _as_known(request, response, visit) if page.live else response

        return handle

    def _acting(self, action: Action) -> Handle:
        page = self._by_path[action.form]

        async def handle(request: AnyRequest) -> Response[Any]:
            visit = await self._admit(request, action)
            if isinstance(visit, Response):
                return visit
            fields = ("once", *action.fields, *(proving.PROOF if action.fresh else ()))
            sent = await read_form(request, visit.browser, self.site, fields, action.many)
            if sent.late:
                # Whoever sends a form says when it ends, and may have lost the session or the role by then.
                visit = await self._admit(request, action)
                if isinstance(visit, Response):
                    return visit
            proof, visit.form = proving.parted(sent)
            # What came with a proof is shown first, also where the proof is fresh by now: the page was loaded again.
            if action.fresh and (proof or not is_fresh(visit.session, visit.now)):
                return await self._prove(visit, page, proof)
            try:
                return self._answer(visit, page, await action.act(visit))
            except (Invalid, Conflict, Unavailable) as error:
                if error.code in (ALREADY, "idempotency_key_reused"):  # the latter of what is drawn anew each time
                    return self._answer(
                        visit, page, Screen("already.html", {"at": _at(visit, action.made or page.path)})
                    )
                faults = error.faults if isinstance(error, Invalid) else (FieldFault("", str(error)),)
                visit.faults = by_field(faults)
                visit.once = visit.form.get("once") or visit.once
                shown = await page.show(visit)
                assert isinstance(shown, Screen)
                return self._answer(visit, page, Screen(shown.template, shown.shown, error.status))

        return handle

    def _leading(self, action: Action) -> Handle:
        """Lead to the page of a form: after a refusal a browser stands at the form's own address, and asks for it."""

        async def handle(request: AnyRequest) -> Response[Any]:
            query = request.scope["query_string"].decode("latin-1")
            return self.go(self._path(request, action.form) + (f"?{query}" if query else ""))

        return handle

    async def _prove(self, visit: Visit, page: Page, proof: dict[str, str]) -> Response[Any]:
        """Ask whoever sent a form for a fresh proof; then show them the form as they filled it in."""
        if not is_fresh(visit.session, visit.now):
            if not proof:
                return self._ask_proof(visit, page, 403, {})
            try:
                await proving.prove(visit, proof)
            except (Invalid, Throttled) as error:
                asked = self._ask_proof(visit, page, error.status, proving.faults_of(error))
                if isinstance(error, Throttled):
                    asked.headers["retry-after"] = str(error.seconds)
                return asked
        shown = await page.show(visit)
        assert isinstance(shown, Screen)
        return self._answer(visit, page, Screen(shown.template, {**shown.shown, "done": PROVEN}, shown.status))

    def _ask_proof(self, visit: Visit, page: Page, status: int, faults: Mapping[str, str]) -> Response[Any]:
        body = render(
            "confirm.html", root=self.root, csrf=visit.browser.csrf, to=_at(visit, visit.path),
            prefix=proving.PREFIX, carried=proving.carried(visit.form), about=page.title, faults=faults,
            session=visit.session, passkeys=visit.site.has_passkeys,
        )  # fmt: skip
        return answer(status, body)

    async def _admit(self, request: AnyRequest, asked: Page | Action) -> Visit | Response[Any]:
        browser, now = read_browser(request, self.site), self.house.clock.now()
        session = await self.find(browser)
        where = self._where(request, asked)
        if session is None or session.stage in (Stage.PASSKEY, Stage.CODE) or session.person is None:
            return self.go("/sign-in?" + urlencode({"next": where}))
        if session.stage is Stage.ENROL:
            return self.go("/enrol")
        store_id = request.path_params["store"]
        role = session.roles.get(store_id)
        id_ = request.path_params.get("id", "")
        if role is None or (asked.id_of is not None and not is_id(asked.id_of, id_)):
            raise NotFound("")
        async with self.house.database.pool.acquire(timeout=5) as connection:
            store = await stores.get_store(connection, store_id)
            # A page that keeps itself true is nobody's doing: left open, it does not keep its session alive.
            if now - session.last_seen_at > SEEN_EVERY and AGAIN not in request.headers:
                await sessions.note_seen(connection, session.id, browser.address, now)
        query = dict(parse_qsl(request.scope["query_string"].decode("latin-1")))
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            query.pop("done", None)  # who leads somebody here does not say what was done; our own redirect does
        visit = Visit(
            self.house, self.desk, session, session.person, store, role, now, browser, self.site, self.root, asked.path,
            token_hex(16), id_, query,
        )  # fmt: skip
        if asked.access != MEMBER:
            visit.demand(asked.access)
        if isinstance(asked, Page) and asked.fresh and not is_fresh(session, now):
            return self.go("/confirm?" + urlencode({"next": where}))
        return visit

    def _where(self, request: AnyRequest, asked: Page | Action) -> str:
        """Return where to come back to: a page, never the sending of a form, which says that nothing was done yet."""
        path = self._path(request, asked.form if isinstance(asked, Action) else asked.path)
        query = request.scope["query_string"].decode("latin-1") if isinstance(asked, Page) else f"done={UNSAVED}"
        return path + (f"?{query}" if query else "")

    def _path(self, request: AnyRequest, path: str) -> str:
        """Return where a page of the store and the id that were asked for is."""
        store, id_ = quote(request.path_params["store"]), quote(request.path_params.get("id", ""))
        return f"/stores/{store}/" + path.replace("{id}", id_)

    def _answer(self, visit: Visit, page: Page, given: Answer, *, live: bool = False) -> Response[Any]:
        match given:
            case Go(path, done):
                return self.go(f"/stores/{visit.store.id}/{path}" + (f"?done={done}" if done else ""))
            case Download(body, name, media_type):
                return answer(200, body, media_type, {"content-disposition": f'attachment; filename="{name}"'})
            case Told(text):
                return answer(200, text.encode(), "application/json")
            case Screen(template, shown, status):
                return answer(status, self._draw(visit, page, template, {"live": live, **shown}))

    def _draw(self, visit: Visit, page: Page, template: str, shown: Mapping[str, Any]) -> bytes:
        return render(
            template,
            **{
                "visit": visit,
                "page": page,
                "title": page.title,
                "root": self.root,
                "nav": self._nav(visit),
                "done": visit.query.get("done", ""),
                **shown,
            },
        )

    def _nav(self, visit: Visit) -> list[tuple[str, list[Page]]]:
        mine = rights(visit.role) | {MEMBER}
        groups: dict[str, list[Page]] = {}
        for page in self.pages:
            if page.nav and page.access in mine:
                groups.setdefault(page.nav, []).append(page)
        return list(groups.items())


async def _absent(_request: AnyRequest) -> Response[Any]:
    raise NotFound("")


def by_field(faults: Iterable[FieldFault]) -> dict[str, str]:
    """Return what was wrong by the form's field: `events` for `events.1`, `over` for `policy.over`."""
    told: dict[str, list[str]] = {}
    for fault in faults:
        told.setdefault(fault.field.removeprefix("policy.").partition(".")[0], []).append(fault.message)
    return {name: "; ".join(said) for name, said in told.items()}


def _at(visit: Visit, path: str) -> str:
    return visit.at(path.replace("{id}", visit.id))


def _as_known(request: AnyRequest, response: Response[Any], visit: Visit) -> Response[Any]:
    """Pack a page that is asked for every few seconds; answer "not modified" (RFC 9110, 15.4.5) to who has it.

    What its forms carry anew each time is no change: so the tag is a weak one.
    """
    if response.status_code != 200:
        return response
    lasting = response.content.replace(visit.once.encode(), b"").replace(visit.browser.csrf.encode(), b"")
    tag = f'W/"{hashlib.sha256(lasting + csrf_token(visit.browser.token).encode()).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == tag:
        return answer(304, b"", headers={"etag": tag})
    headers = {"etag": tag, "vary": "accept-encoding"}
    if not takes_gzip(request.headers):
        return answer(200, response.content, headers=headers)
    return answer(200, gzip.compress(response.content, 5, mtime=0), headers=headers | {"content-encoding": "gzip"})


def keep(response: Response[Any], hall: Hall, token: str) -> Response[Any]:
    """Give the browser the token of its session."""
    set_cookie(response, hall.site, token)
    return response
