"""Each role with full valid forms: who may, does it; who may not, changes nothing; and looking changes nothing."""

import asyncio
from collections.abc import Iterator
from secrets import token_hex

import asyncpg
import pytest

from kassa import flow
from kassa.api.shapes import PolicyChange, StoreChange
from kassa.dashboard import app as dashboard
from kassa.dashboard.page import MEMBER, Action
from kassa.dashboard.pages import ACTIONS, PAGES
from kassa.dashboard.pages.settings import FIELDS
from kassa.people.model import Role
from kassa.people.rules import csrf_token, rights
from kassa.stores import store as stores
from tests.dashboard.furnished import Ids, bodies, furnish
from tests.dashboard.test_roles import ASKED, path_of
from tests.dashboard.visitor import Premises, Seen, Visitor

NEEDS_A_DEVICE = {"account/passkey"}
"""Tried with a real authenticator in `tests/browser/test_dashboard.py`."""


async def snapshot(premises: Premises) -> dict[str, str]:
    """Return a digest of each table, but for when sessions were last seen and keys last used."""
    pool = premises.house.database.pool
    tables = [row[0] for row in await pool.fetch("select tablename from pg_tables where schemaname = 'public'")]
    return {
        table: await pool.fetchval(
            "select md5(coalesce(string_agg(told, ' ' order by told), ''))"
            f" from {table} t, text(to_jsonb(t) - 'last_used_at') as told"
        )
        for table in tables
        if table != "sessions"
    }


async def send(premises: Premises, visitor: Visitor, action: Action, ids: Ids, data: dict[str, str]) -> Seen:
    token = {"csrf": csrf_token(visitor.cookies["kassa"]), "once": token_hex(8)}
    return await visitor.send("POST", path_of(premises, action, ids), data=token | data, follow=False)


async def set_up(premises: Premises, role: Role) -> tuple[Visitor, Ids]:
    visitor = await premises.member(role, "tested@shop.example")
    person = await premises.house.database.pool.fetchval("select id from people where email = 'tested@shop.example'")
    return visitor, await furnish(premises, person)


@pytest.mark.parametrize("role", list(Role))
async def test_g9_full_valid_forms_do_what_the_role_allows_and_nothing_else(premises: Premises, role: Role) -> None:
    visitor, ids = await set_up(premises, role)
    filled, by_path = bodies(premises, ids), {action.path: action for action in ACTIONS}
    posted = {  # from the routes of the app: a new one without a body here fails
        path.partition("/stores/{store:str}/")[2].replace("{id:str}", "{id}")
        for handler in dashboard.handlers(premises.house)
        for path in handler.paths
        if "POST" in handler.http_methods and "/stores/{store:str}/" in path
    }
    assert posted == filled.keys() | NEEDS_A_DEVICE
    mine = rights(role) | {MEMBER}

    before = await snapshot(premises)
    for path, data in filled.items():
        if by_path[path].access not in mine:
            assert (await send(premises, visitor, by_path[path], ids, data)).status == 403, path
    assert await snapshot(premises) == before
    for path, data in filled.items():
        if by_path[path].access in mine:
            if path in ("webhooks/{id}", "wallets/new"):  # neither is possible while a change is under way
                await premises.house.database.pool.execute("delete from wallet_changes")
            if path == "wallets/new":
                await premises.house.database.pool.execute("delete from wallets")
            seen = await send(premises, visitor, by_path[path], ids, data)
            went = seen.headers.get("location", "")
            assert seen.status in (200, 303), (path, seen.status, seen.words[-600:])
            assert not any(place in went for place in ("/confirm?", "/sign-in", "/enrol")), (path, went)


async def test_e20_looking_at_every_page_changes_nothing(premises: Premises) -> None:
    owner, ids = await set_up(premises, Role.OWNER)
    await premises.house.database.pool.execute(
        "update events set sequence = position where id = (select max(id) from events)"
    )
    ids["evt"] = await premises.house.database.pool.fetchval("select max(id) from events")
    ids["pay"] = await _of_an_invoice(premises)
    before = await snapshot(premises)
    for page in PAGES:
        seen = await owner.open(path_of(premises, page, ids) + ASKED.get(page.path, ""))
        assert seen.status == 200, (page.path, seen.words[-400:])
    assert await snapshot(premises) == before


async def _of_an_invoice(premises: Premises) -> str:
    return str(await premises.house.database.pool.fetchval(
        "update payments p set store_id = a.store_id, invoice_id = a.invoice_id from addresses a"
        " where a.id = p.address_id returning p.id"
    ))  # fmt: skip


def _posts(premises: Premises, ids: Ids) -> Iterator[str]:
    for handler in dashboard.handlers(premises.house):
        for path in handler.paths if "POST" in handler.http_methods else ():
            action = next(
                (each for each in ACTIONS if path.replace("{id:str}", "{id}").endswith(f"}}/{each.path}")), None
            )
            yield path_of(premises, action, ids) if action else path.replace("{token:str}", "A" * 43)


async def test_e20_every_form_also_of_the_door_is_taken_from_our_own_pages_alone(premises: Premises) -> None:
    owner, ids = await set_up(premises, Role.OWNER)
    paths = list(_posts(premises, ids))
    door = [path for path in paths if "/stores/" not in path]
    assert sorted(door) == [
        f"/dashboard/{each}"
        for each in (
            "code",
            "confirm",
            "enrol",
            f"invitation/{'A' * 43}",
            "passkey",
            "passkey/ask",
            "sign-in",
            "sign-out",
        )
    ]
    stranger = premises.visitor()
    await stranger.open("/dashboard/sign-in")
    before = await snapshot(premises)
    for visitor, asked in ((owner, paths), (stranger, door)):
        token = {"csrf": csrf_token(visitor.cookies["kassa"])}
        for path in asked:
            for data, headers in (
                ({}, {}), ({"csrf": "0" * 64}, {}), ({"csrf": csrf_token("x" * 43)}, {}),
                (token, {"origin": "https://evil.example"}), (token, {"origin": "null"}),
                (token, {"sec-fetch-site": "cross-site"}), (token, {"sec-fetch-site": "same-site"}),
            ):  # fmt: skip
                seen = await visitor.send("POST", path, data=data, headers=headers, follow=False)
                assert seen.status == 403, (path, headers)
                assert "this form" in seen.words, (path, seen.words)
    assert await snapshot(premises) == before
    assert (await owner.open(premises.at("overview"))).status == 200  # nobody signed them out


async def test_e19_every_page_and_refusal_carries_the_guards(premises: Premises) -> None:
    owner, ids = await set_up(premises, Role.OWNER)
    paths = [path_of(premises, page, ids) + ASKED.get(page.path, "") for page in PAGES]
    for handler in dashboard.handlers(premises.house):
        paths += [path for path in handler.paths if "GET" in handler.http_methods and "{" not in path]
    paths += ["/dashboard/invitation/" + "A" * 43, premises.at("nothing"), premises.at("invoices/inv_x")]
    for path in paths:
        seen = await owner.send("GET", path, follow=False)
        policy = seen.headers.get("content-security-policy", "")
        if path == premises.at("nothing"):
            continue  # no page of ours: the API's own refusal
        assert "frame-ancestors 'none'" in policy, path
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert seen.headers["x-frame-options"] == "DENY", path
        assert seen.headers["x-content-type-options"] == "nosniff", path
        assert seen.headers["cache-control"] == "no-store", path
        assert seen.headers["referrer-policy"] == "same-origin", path
        assert seen.headers["cross-origin-opener-policy"] == "same-origin", path


def test_the_settings_page_changes_whatever_the_api_can() -> None:
    can = {*StoreChange.__struct_fields__, *PolicyChange.__struct_fields__} - {"policy"}
    assert can == set(FIELDS) - {"no_logo", "was"}


async def test_looks_and_sites_are_set_and_taken_away_by_the_form(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    wanted = bodies(premises, {"cus": "", "dlv": "", "fingerprint": ""})["settings"]
    wanted.pop("version")
    await owner.open(premises.at("settings"))
    await owner.submit("/settings", **wanted)
    assert "The changes were saved." in owner.seen.words
    for text in ('value="#0b5cd5"', 'value="https://a.example https://b.example"', 'value="0.5"', 'src="/i/logo/'):
        assert text in owner.seen.text
    wrong = await owner.submit("/settings", redirect_origins="https://*.example")
    assert (wrong.status, "must be origins such as" in wrong.words) == (422, True)
    await owner.open(premises.at("settings"))
    await owner.submit("/settings", colour="", frame_ancestors="", redirect_origins="", no_logo="yes")
    row = await premises.house.database.pool.fetchrow(
        "select colour, logo, frame_ancestors, redirect_origins, name from stores"
    )
    assert tuple(row or ()) == (None, None, [], [], "New name")


async def test_what_a_customer_owes_is_written_off_after_its_owner_saw_what_that_means(premises: Premises) -> None:
    owner, ids = await set_up(premises, Role.OWNER)
    pool, page = premises.house.database.pool, premises.at(f"customers/{ids['cus']}")
    lost = "select sum(units) from write_offs"
    await owner.open(page)
    nothing = await owner.submit("/loss", note=" ")
    assert (nothing.status, "say why: it is kept" in nothing.words) == (422, True)
    much = await owner.submit("/loss", note="moved away", amount="0.00001001")
    assert "0.00001000" in much.words
    assert "owed and not written off" in much.words
    await owner.open(page)
    seen = (await owner.submit("/loss", note="moved away", amount="0.000004")).words
    assert "Becomes a loss 0.00000400 BTC@bitcoin-regtest, 0.20 EUR in your books" in seen
    assert "Still to be had 0.00000600 BTC@bitcoin-regtest Why moved away" in seen
    assert await pool.fetchval(lost) is None
    asked = owner.seen.text
    assert "It is a loss now" in (await owner.submit("/write-off")).words
    owner.seen.text = asked
    await owner.submit("/write-off")  # the same page sent twice
    assert await pool.fetchval(lost) == 400
    acts = await pool.fetch("select actor from acts where kind = 'customer.written_off'")
    assert [act["actor"][:4] for act in acts] == ["per_"]
    await owner.open(page)
    assert "0.00000600 BTC@bitcoin-regtest" in (await owner.submit("/loss", note="all of it")).words
    await owner.submit("/write-off")
    assert "See what it means" not in (await owner.open(page)).words


async def test_what_a_write_off_means_is_read_while_nobody_changes_what_is_owed(premises: Premises) -> None:
    owner, ids = await set_up(premises, Role.OWNER)
    pool = premises.house.database.pool
    await owner.open(premises.at(f"customers/{ids['cus']}"))
    async with premises.house.database.transaction() as tx:
        await tx.execute("lock table entries in access exclusive mode")
        asking = asyncio.create_task(owner.submit("/loss", note="moved away"))
        async with asyncio.timeout(20):
            while not await pool.fetchval(  # noqa: ASYNC110 rows tell nobody
                "select exists (select from pg_locks where relation = 'entries'::regclass and not granted"
                " and database = (select oid from pg_database where datname = current_database()))"
            ):
                await asyncio.sleep(0.01)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await pool.execute("select from customer_balances for update nowait")
    assert (await asking).status == 200


async def test_money_without_an_owner_is_listed_and_given_to_whom_a_person_names(premises: Premises) -> None:
    owner, ids = await set_up(premises, Role.OWNER)
    words = (await owner.open(premises.at("payments/unowned"))).words
    assert "It is nobody's sale until somebody says whose it is." in words
    async with premises.house.database.transaction() as tx:
        stranger = await stores.create_store(tx, "Without a wallet", "EUR", False, premises.clock.now())
        assert await flow.unassigned(tx, premises.house, stranger) == []
    wrong = await owner.submit("/assign", customer_id="cus_nobody")
    assert (wrong.status, "is not a customer of this store" in wrong.words) == (422, True)
    await owner.submit("/assign", customer_id=ids["cus"])
    assert "Whose it is was written down." in owner.seen.words
    await owner.submit("/assign", customer_id="")
    assert "the store's income" in owner.seen.words
    assert "all that came to your wallets is somebody's" in (await owner.open(premises.at("payments/unowned"))).words
    acts = await premises.house.database.pool.fetch("select actor from acts where kind = 'payment.assigned'")
    assert [act["actor"][:4] for act in acts] == ["per_", "per_"]
