"""API keys: who can call the API, with which scopes, and when they last did."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import kassa.stores.store as stores
from kassa import flow
from kassa.api.auth import authorize
from kassa.core.errors import Conflict, FieldFault, Forbidden, Invalid, NotFound
from kassa.core.ids import KeyId
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.visit import Visit
from kassa.db.pool import Tx
from kassa.people.rules import rights
from kassa.stores.model import SCOPES

_LIVES = {"": None, "30": 30, "90": 90, "365": 365}
_LIFE_WORDS = (("", "until it is revoked"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"))
_MAX_LABEL = 100
_BETWEEN = re.compile(r"[\s,;]+")


async def _list(visit: Visit) -> Screen:
    visit.demand("keys:read")
    async with visit.house.database.pool.acquire() as connection:
        found = await stores.list_keys(connection, visit.store.id)
    return Screen("keys.html", {"keys": [{**key, "state": _state(visit, key)} for key in reversed(found)]})


def _state(visit: Visit, key: Mapping[str, Any]) -> str:
    if key["revoked_at"] is not None:
        return "revoked"
    over = key["expires_at"] is not None and key["expires_at"] <= visit.now
    return "expired" if over else "active"


async def _one(visit: Visit) -> Screen:
    visit.demand("keys:read")
    key = await _find(visit)
    # What was read goes with what was typed: what stands there now would say that it was seen.
    return _shown(visit, key, visit.form.values.get("was", " ".join(key["allowed_from"])))


def _shown(visit: Visit, key: Mapping[str, Any], was: str, status: int = 200) -> Screen:
    may_change = visit.may("keys:write") and not _beyond(visit, key)
    shown = {"key": {**key, "state": _state(visit, key)}, "may_change": may_change, "was": was}
    return Screen("key.html", shown, status)


async def _find(visit: Visit) -> Mapping[str, Any]:
    async with visit.house.database.pool.acquire() as connection:
        found = await stores.list_keys(connection, visit.store.id)
    key = next((key for key in found if key["id"] == visit.id), None)
    if key is None:
        raise NotFound("")
    return dict(key)


def _beyond(visit: Visit, key: Mapping[str, Any]) -> list[str]:
    """Return the scopes of a key that the person's role lacks: from how many places it opens those is not theirs."""
    mine = rights(visit.role)
    return [scope for scope in key["scopes"] if scope not in mine]


async def _new(visit: Visit) -> Screen:
    # Nobody hands out more than they have: a key would outlive what its maker may do.
    mine = [scope for scope in SCOPES if scope in rights(visit.role)]
    chosen = visit.form.many.get("scopes", [])
    return Screen("key-new.html", {"scopes": mine, "chosen": chosen, "lives": _LIFE_WORDS})


async def _create(visit: Visit) -> Screen:
    visit.demand("keys:write")
    label, scopes, life = visit.form.get("label").strip(), visit.form.many["scopes"], visit.form.get("life")
    if len(label) > _MAX_LABEL or not label.isprintable():
        raise Invalid(FieldFault("label", f"must be at most {_MAX_LABEL} printable characters"))
    if life not in _LIVES:
        raise Invalid(FieldFault("life", "is not one of those offered"))
    for scope in scopes:
        authorize(rights(visit.role), scope)
    days = _LIVES[life]
    until = None if days is None else visit.now + timedelta(days=days)

    async def work(tx: Tx) -> tuple[KeyId, str]:
        return await flow.create_key(
            tx, visit.house, visit.actor, visit.store, visit.now, scopes=scopes, label=label, expires_at=until,
            allowed_from=_networks(visit),
        )  # fmt: skip

    key_id, text = await visit.make(work)
    return Screen("key-made.html", {"key_id": key_id, "text": text, "label": label})


async def _bind(visit: Visit) -> Go | Screen:
    visit.demand("keys:write")
    if beyond := _beyond(visit, await _find(visit)):
        raise Forbidden(f"your role in this store ({visit.role}) lacks what this key can do: {', '.join(beyond)}")
    networks, was = _networks(visit), visit.form.get("was").split()

    async def work(tx: Tx) -> None:
        await flow.bind_key(
            tx, visit.house, visit.actor, visit.id, networks, visit.now, store_id=visit.store.id, was=was
        )

    try:
        await visit.do(work)
    except Conflict as error:
        if error.code != "changed_meanwhile":
            raise
        visit.faults = {"": "The networks were changed meanwhile, and nothing was saved: compare, and save again"}
        key = await _find(visit)
        return _shown(visit, key, " ".join(key["allowed_from"]), error.status)
    return Go(f"keys/{visit.id}", "saved")


def _networks(visit: Visit) -> list[str]:
    return [text for text in _BETWEEN.split(visit.form.get("allowed_from")) if text]


async def _revoke(visit: Visit) -> Go:
    visit.demand("keys:write")
    await visit.do(lambda tx: flow.revoke_key(tx, visit.actor, visit.id, visit.now, store_id=visit.store.id))
    return Go("keys", "revoked")


PAGES: tuple[Page, ...] = (
    Page(path="keys", title="API keys", access="keys:read", show=_list, nav="Settings"),
    Page(path="keys/new", title="New API key", access="keys:write", show=_new, fresh=True),
    Page(path="keys/{id}", title="API key", access="keys:read", show=_one, id_of="key"),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="keys/new", access="keys:write", act=_create, form="keys/new", made="keys",
        fields=("label", "life", "allowed_from"), many=("scopes",), fresh=True,
    ),
    Action(
        path="keys/{id}", access="keys:write", act=_bind, form="keys/{id}", fields=("allowed_from", "was"),
        id_of="key",
        fresh=True,
    ),
    Action(path="keys/{id}/revoke", access="keys:write", act=_revoke, form="keys", id_of="key", fresh=True),
)  # fmt: skip
