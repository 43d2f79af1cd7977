"""One's own account: name, password, app, passkeys, recovery codes, sessions; and the other stores."""

import kassa.people.session_store as sessions
import kassa.people.store as people
import kassa.stores.store as stores
from kassa.core.errors import FieldFault, Invalid, NotFound
from kassa.dashboard import entering
from kassa.dashboard.enrolling import ISSUER, Offer, confirm_totp, new_offer, new_recovery_codes
from kassa.dashboard.page import MEMBER, Action, Go, Page, Screen, Told
from kassa.dashboard.visit import Visit
from kassa.db.pool import Tx
from kassa.people import proofs
from kassa.people.rules import checked_password, checked_person_name, question

_MAX_NAME = 60


async def _account(visit: Visit) -> Screen:
    async with visit.house.database.pool.acquire() as connection:
        shown = {
            "passkeys": await people.passkeys(connection, visit.person.id),
            "left": await people.recovery_left(connection, visit.person.id),
            "sessions": await sessions.sessions(connection, visit.person, visit.now),
        }
    return Screen("account.html", shown | {"can": visit.site.has_passkeys, "host": visit.site.host})


async def _stores(visit: Visit) -> Screen:
    async with visit.house.database.pool.acquire() as connection:
        mine = [(await stores.get_store(connection, each), role) for each, role in visit.session.roles.items()]
    return Screen("stores.html", {"stores": mine})


async def _rename(visit: Visit) -> Go:
    name = checked_person_name(visit.form.get("name"))
    await visit.do(lambda tx: people.set_name(tx, visit.person.id, name))
    return Go("account", "saved")


async def _password(visit: Visit) -> Screen:
    return Screen("password.html")


async def _change_password(visit: Visit) -> Go:
    password = checked_password(visit.form.get("password"), visit.person.email)
    hashed = await proofs.hash_password(password)

    async def work(tx: Tx) -> None:
        await people.set_password(tx, visit.person.id, hashed)
        await entering.note_changed(tx, visit.browser, visit.session, "person.password_changed", visit.now)

    await visit.do(work)
    return Go("account", "password")


async def _app(visit: Visit) -> Screen:
    secret = visit.form.get("secret")
    return Screen("app.html", {"offer": Offer.of(visit.person, secret) if secret else new_offer(visit.person)})


async def _change_app(visit: Visit) -> Screen:
    form = visit.form
    codes = await confirm_totp(
        visit.house, visit.make, visit.browser, visit.session, form.get("secret"), form.get("code")
    )
    return Screen("codes-page.html", {"codes": codes, "title": "Recovery codes"})


async def _new_codes(visit: Visit) -> Screen:
    async def work(tx: Tx) -> list[str]:
        await entering.note_changed(tx, visit.browser, visit.session, "person.recovery_renewed", visit.now)
        return await new_recovery_codes(tx, visit.person)

    codes = await visit.make(work)
    return Screen("codes-page.html", {"codes": codes, "title": "Recovery codes"})


async def _passkey(visit: Visit) -> Screen:
    return Screen("passkey-new.html", {"can": visit.site.has_passkeys, "host": visit.site.host})


async def _ask_passkey(visit: Visit) -> Told:
    async def work(tx: Tx) -> str:
        known = await people.passkeys(tx, visit.person.id)
        challenge, options = proofs.registration(visit.site, visit.person, known, ISSUER)
        await sessions.ask(tx, visit.session.id, challenge, visit.now)
        return options

    return Told(await visit.house.database.run(work))  # each time something else


async def _add_passkey(visit: Visit) -> Go:
    name = visit.form.get("name").strip() or "passkey"
    if len(name) > _MAX_NAME or not name.isprintable():
        raise Invalid(FieldFault("name", f"must be at most {_MAX_NAME} printable characters"))
    challenge = question(visit.session, visit.now)
    if challenge is None:
        raise Invalid(FieldFault("passkey", "was not asked for; try again"))
    found = proofs.registered(visit.site, visit.form.get("credential"), challenge)

    async def work(tx: Tx) -> None:
        if not await sessions.take_question(tx, visit.session.id, challenge):
            raise Invalid(FieldFault("passkey", "was not asked for; try again"))
        await people.put_passkey(tx, visit.person.id, found, name, visit.now)
        await entering.note(tx, visit.browser, visit.person.id, "person.passkey_added", visit.now, {"name": name})

    await visit.do(work)
    return Go("account", "passkey")


async def _drop_passkey(visit: Visit) -> Go:
    async def work(tx: Tx) -> None:
        await people.drop_passkey(tx, visit.person.id, visit.id)
        await entering.note_changed(tx, visit.browser, visit.session, "person.passkey_dropped", visit.now)

    await visit.do(work)
    return Go("account", "dropped")


async def _end_session(visit: Visit) -> Go:
    async def work(tx: Tx) -> None:
        ended = await sessions.end_one(tx, visit.person.id, visit.id)
        if not ended:
            raise NotFound("")
        await entering.note_ended(tx, visit.browser, visit.person.id, ended, visit.now)

    await visit.do(work)
    return Go("account", "ended")


async def _end_others(visit: Visit) -> Go:
    async def work(tx: Tx) -> None:
        await entering.end_others(tx, visit.browser, visit.person.id, visit.now, visit.session.id)

    await visit.do(work)
    return Go("account", "ended")


PAGES: tuple[Page, ...] = (
    Page(path="account", title="Your account", access=MEMBER, show=_account, nav="You"),
    Page(path="account/password", title="New password", access=MEMBER, show=_password, fresh=True),
    Page(path="account/app", title="Authenticator app", access=MEMBER, show=_app, fresh=True),
    Page(path="account/passkey", title="New passkey", access=MEMBER, show=_passkey, fresh=True),
    Page(path="stores", title="Your stores", access=MEMBER, show=_stores),
)
ACTIONS: tuple[Action, ...] = (
    Action(path="account/name", access=MEMBER, act=_rename, form="account", fields=("name",)),
    Action(
        path="account/password", access=MEMBER, act=_change_password, form="account/password", fields=("password",),
        fresh=True,
    ),
    Action(
        path="account/app", access=MEMBER, act=_change_app, form="account/app", fields=("secret", "code"), fresh=True
    ),
    Action(path="account/codes", access=MEMBER, act=_new_codes, form="account", fresh=True),
    Action(path="account/passkey/ask", access=MEMBER, act=_ask_passkey, form="account/passkey", fresh=True),
    Action(
        path="account/passkey", access=MEMBER, act=_add_passkey, form="account/passkey",
        fields=("name", "credential"), fresh=True,
    ),
    Action(
        path="account/passkeys/{id}/drop", access=MEMBER, act=_drop_passkey, form="account", id_of="psk", fresh=True
    ),
    Action(path="account/sessions/end", access=MEMBER, act=_end_others, form="account"),
    Action(path="account/sessions/{id}/end", access=MEMBER, act=_end_session, form="account", id_of="ses"),
)  # fmt: skip
