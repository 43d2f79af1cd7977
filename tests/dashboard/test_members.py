"""What members leave behind, and what the first page leads to."""

import pytest

from kassa.alerts import store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.people.model import Role
from kassa.stores import store as stores
from kassa.stores.rules import key_hash
from tests.dashboard.visitor import PASSWORD, Premises, Visitor


async def make_key(premises: Premises, visitor: Visitor, *scopes: str) -> str:
    await visitor.open(premises.at("keys/new"))
    made = await visitor.submit("/keys/new", label="till", scopes=list(scopes))
    return made.text.partition('class="once">')[2].partition("<")[0]


async def opens(premises: Premises, key: str) -> bool:
    (found,) = await stores.find_keys(premises.house.database.pool, [key_hash(key) or b""])
    return found is not None and found.revoked_at is None


async def test_the_keys_of_who_is_removed_or_demoted_are_told_and_revoked(premises: Premises) -> None:
    owner, admin = await premises.member(Role.OWNER), await premises.member(Role.ADMIN)
    key = await make_key(premises, admin, "invoices:read", "store:write")
    pool = premises.house.database.pool
    person = await pool.fetchval("select id from people where email = 'admin@shop.example'")
    await owner.open(premises.at("members"))
    await owner.submit(f"{person}/role", role="viewer")
    assert owner.seen.url.startswith(premises.at(f"members/{person}"))
    assert "can do more than it allows" in owner.seen.words
    assert "store:write" in owner.seen.words
    await owner.open(premises.at("members"))
    await owner.submit(f"{person}/remove")
    assert "which they made, still open it" in owner.seen.words
    assert "till" in owner.seen.words
    assert await opens(premises, key)

    page = owner.seen.text
    premises.clock.move(700)
    assert "Confirm that it is you" in (await owner.submit("/revoke-keys")).words
    await pool.execute("update sessions set proven_at = $1", premises.clock.now())
    owner.seen.text = page
    await owner.submit("/revoke-keys")
    assert "Their keys open nothing any more." in owner.seen.words
    assert not await opens(premises, key)
    assert (await owner.open(premises.at(f"members/{person}"))).status == 404
    acts = await pool.fetch("select actor, kind from acts where kind = 'api_key.revoked'")
    assert [act["actor"] for act in acts] == [await pool.fetchval("select id from people where name = 'The owner'")]


async def test_who_leaves_no_key_behind_is_just_removed(premises: Premises) -> None:
    owner, admin = await premises.member(Role.OWNER), await premises.member(Role.ADMIN)
    await make_key(premises, owner, "invoices:read")
    assert admin.seen.status == 200
    person = await premises.house.database.pool.fetchval("select id from people where email = 'admin@shop.example'")
    await owner.open(premises.at("members"))
    await owner.submit(f"{person}/remove")
    assert "They no longer belong to this store." in owner.seen.words


async def invite(visitor: Visitor, premises: Premises, email: str) -> str:
    """Invite somebody as an owner; return the path of the link."""
    await visitor.open(premises.at("members/new"))
    seen = await visitor.submit("/members/new", email=email, role="owner")
    return "/dashboard/invitation/" + seen.text.partition("/dashboard/invitation/")[2].partition("<")[0]


@pytest.mark.parametrize("role", ["", "admin"])
async def test_nobody_comes_back_by_an_invitation_of_their_own(premises: Premises, role: str) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    other = await premises.member(Role.OWNER, "other@shop.example")
    link, kept = await invite(other, premises, "back@shop.example"), await invite(owner, premises, "new@shop.example")
    person = await pool.fetchval("select id from people where email = 'other@shop.example'")
    await owner.open(premises.at(f"members/{person}"))
    assert "back@shop.example" in owner.seen.words
    assert "new@shop.example" not in owner.seen.words
    await owner.open(premises.at("members"))
    await owner.submit(f"{person}/role" if role else f"{person}/remove", **({"role": role} if role else {}))

    stranger = premises.visitor()
    assert (await stranger.open(link)).status == 400
    assert "This link was used, was withdrawn" in stranger.seen.words
    withdrawn = await pool.fetch("select subject from acts where kind = 'invitation.withdrawn'")
    assert [act["subject"] for act in withdrawn] == [
        await pool.fetchval("select id from invitations where email = 'back@shop.example'")
    ]
    # One that was written at the same moment lets nobody in either.
    await pool.execute("update invitations set revoked_at = null")
    await stranger.open(link)
    assert (await stranger.submit(link, name="Back", password=PASSWORD)).status == 404
    await stranger.open(kept)
    assert (await stranger.submit(kept, name="New", password=PASSWORD)).url == "/dashboard/enrol"


async def test_the_first_page_leads_to_what_is_wrong(
    premises: Premises,
) -> None:
    owner, viewer = await premises.member(Role.OWNER), await premises.member(Role.VIEWER)
    now, pool = premises.clock.now(), premises.house.database.pool
    async with premises.house.database.transaction() as tx:
        own = await alerts.open_alert(
            tx, Finding(Kind.CREDIT_LOST, "x", Severity.WARNING, "why", premises.store.id), now
        )
        theirs = Finding(Kind.AUDIT_LOG_BROKEN, "y", Severity.CRITICAL, "secret of others")
        far = await alerts.open_alert(tx, theirs, now)
    assert own is not None
    assert far is not None
    await owner.open(premises.at("webhooks"))
    await owner.submit("/webhooks", url="https://shop.example/hook", events="*")
    await owner.open(premises.at(f"webhooks/{await pool.fetchval('select id from webhooks')}"))
    await owner.submit("/test")
    await pool.execute("update deliveries set state = 'failed', due_at = null")
    for visitor, told in ((owner, True), (viewer, False)):
        seen = await visitor.open(premises.at("overview"))
        assert f'href="{premises.at(f"alerts/{own.id}")}"' in seen.text
        assert ("audit log broken" in seen.words) == told
        assert "secret of others" not in seen.text  # it may be another store's
        assert (f'<a href="{premises.at("deliveries")}?from=' in seen.text) == told
