"""E9: where an API key may be used from, as the dashboard shows and changes it."""

import json

import pytest

from kassa.people.model import Role
from kassa.stores.rules import key_hash
from tests.api.served import Caller
from tests.dashboard.visitor import Forms, Premises, Visitor

HERE, THERE = "203.0.113.7", "198.51.100.9"


async def make(premises: Premises, visitor: Visitor, networks: str, *scopes: str) -> tuple[str, Caller]:
    """Make a key by the form; return its id and a caller that has it."""
    await visitor.open(premises.at("keys/new"))
    await visitor.submit("keys/new", label="shop", allowed_from=networks, scopes=list(scopes or ("store:read",)))
    assert visitor.seen.status == 200, visitor.seen.words
    text = visitor.seen.text.partition('<code class="once">')[2].partition("<")[0]
    pool = premises.house.database.pool
    key_id = await pool.fetchval("select id from api_keys where hash = $1", key_hash(text))
    return key_id, Caller(visitor.session, premises.base, text)


async def asked(caller: Caller, address: str) -> int:
    return (await caller.get("/v1/store", headers={"x-forwarded-for": address})).status


def shown(visitor: Visitor) -> str:
    [typed] = Forms(visitor.seen.text).found[-1][1]["allowed_from"]
    return typed


async def test_e9_a_key_is_bound_by_the_form_and_by_its_page_from_then_on(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    key_id, caller = await make(premises, owner, f"{HERE}/32\r\n2001:DB8::/32, 10.0.0.0/8")
    assert [await asked(caller, each) for each in (HERE, THERE, "2001:db8::9")] == [200, 403, 200]
    assert f"{HERE}, 2001:db8::/32, 10.0.0.0/8" in (await owner.open(premises.at("keys"))).words
    await owner.open(premises.at(f"keys/{key_id}"))
    assert shown(owner) == f"{HERE}\n2001:db8::/32\n10.0.0.0/8"
    await owner.submit(f"keys/{key_id}", allowed_from=f"{THERE}\r\n")
    assert (owner.seen.status, "The changes were saved" in owner.seen.words) == (200, True)
    assert [await asked(caller, each) for each in (HERE, THERE)] == [403, 200]
    await owner.submit(f"keys/{key_id}", allowed_from="")
    assert [await asked(caller, each) for each in (HERE, THERE)] == [200, 200]
    assert "May be used from anywhere" in owner.seen.words
    acts = await premises.house.database.pool.fetch(
        "select p.email, a.before, a.after from acts a join people p on p.id = a.actor where kind = 'api_key.changed'"
        " order by number"
    )
    assert [(act["email"], json.loads(act["after"])["allowed_from"]) for act in acts] == [
        ("owner@shop.example", [THERE]),
        ("owner@shop.example", []),
    ]
    assert json.loads(acts[0]["before"])["allowed_from"] == [HERE, "2001:db8::/32", "10.0.0.0/8"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("10.0.0.5/8", "write 10.0.0.0/8 or 10.0.0.5"),
        ("shop.example", "is no IP address"),
        ("fe80::1%eth0", "has a zone"),
        (f"{HERE}\n{HERE}/32", "is there twice"),
        (" ".join(f"10.0.0.{n}" for n in range(33)), "more than 32"),
    ],
)
async def test_e9_what_is_no_network_is_said_at_its_field_and_changes_nothing(
    premises: Premises, typed: str, said: str
) -> None:
    owner = await premises.member(Role.OWNER)
    key_id, _ = await make(premises, owner, HERE)
    await owner.open(premises.at(f"keys/{key_id}"))
    await owner.submit(f"keys/{key_id}", allowed_from=typed)
    assert (owner.seen.status, said in owner.seen.words) == (422, True), owner.seen.words
    assert shown(owner).split() == typed.split()
    await owner.open(premises.at("keys/new"))
    await owner.submit("keys/new", label="x", allowed_from=typed, scopes=["store:read"])
    assert (owner.seen.status, said in owner.seen.words) == (422, True)
    assert shown(owner).split() == typed.split()
    rows = await premises.house.database.pool.fetch("select allowed_from from api_keys")
    assert [row["allowed_from"] for row in rows] == [[HERE]]


async def test_e9_whoever_lacks_what_a_key_can_do_does_not_open_it_to_others(premises: Premises) -> None:
    owner, admin = await premises.member(Role.OWNER), await premises.member(Role.ADMIN)
    strong, caller = await make(premises, owner, HERE, "store:read", "wallets:write")
    weak, _ = await make(premises, owner, HERE)
    await admin.open(premises.at(f"keys/{weak}"))
    token = {name: values[0] for name, values in Forms(admin.seen.text).found[-1][1].items()}
    seen = await admin.open(premises.at(f"keys/{strong}"))
    assert (seen.status, 'name="allowed_from"' in seen.text) == (200, False)
    seen = await admin.send("POST", premises.at(f"keys/{strong}"), data=token | {"allowed_from": THERE})
    assert (seen.status, "wallets:write" in seen.words) == (403, True)
    assert await asked(caller, THERE) == 403
    seen = await admin.send("POST", premises.at(f"keys/{weak}"), data=token | {"allowed_from": THERE})
    assert (seen.status, THERE in seen.words) == (200, True)


async def test_e9_nothing_that_somebody_else_saved_is_undone_unseen(premises: Premises) -> None:
    owner, other = await premises.member(Role.OWNER), await premises.member(Role.OWNER, "other@shop.example")
    key_id, caller = await make(premises, owner, "")
    await owner.open(premises.at(f"keys/{key_id}"))
    await other.open(premises.at(f"keys/{key_id}"))
    await other.submit(f"keys/{key_id}", allowed_from=HERE)
    await owner.submit(f"keys/{key_id}", allowed_from="nonsense")
    assert owner.seen.status == 422
    await owner.submit(f"keys/{key_id}", allowed_from=f"{HERE} {THERE}")
    assert (owner.seen.status, "changed meanwhile" in owner.seen.words) == (409, True)
    assert (shown(owner), f"May be used from {HERE} Made" in owner.seen.words) == (f"{HERE} {THERE}", True)
    assert await asked(caller, THERE) == 403
    await owner.submit(f"keys/{key_id}")
    assert (owner.seen.status, await asked(caller, THERE)) == (200, 200)


async def test_e9_a_key_that_was_revoked_is_not_changed_any_more(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    key_id, _ = await make(premises, owner, HERE)
    await owner.open(premises.at(f"keys/{key_id}"))
    page = owner.seen
    await owner.open(premises.at("keys"))
    await owner.submit(f"keys/{key_id}/revoke")
    assert 'name="allowed_from"' not in (await owner.open(premises.at(f"keys/{key_id}"))).text
    owner.seen = page
    await owner.submit(f"keys/{key_id}", allowed_from=THERE)
    assert (owner.seen.status, "this key was revoked" in owner.seen.words) == (409, True)
