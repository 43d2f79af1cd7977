"""API keys: who can call the API, with which scopes, and when they last did."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import kassa.stores.store as stores
from kassa import flow
from kassa.api.auth import authorize
from kassa.core.errors import FieldFault, Invalid
from kassa.core.ids import KeyId
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.visit import Visit
from kassa.db.pool import Tx
from kassa.people.rules import rights
from kassa.stores.model import SCOPES

_LIVES = {"": None, "30": 30, "90": 90, "365": 365}
_LIFE_WORDS = (("", "until it is revoked"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"))
_MAX_LABEL = 100


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
            tx, visit.house, visit.actor, visit.store, visit.now, scopes=scopes, label=label, expires_at=until
        )

    key_id, text = await visit.make(work)
    return Screen("key-made.html", {"key_id": key_id, "text": text, "label": label})


async def _revoke(visit: Visit) -> Go:
    visit.demand("keys:write")
    await visit.do(lambda tx: flow.revoke_key(tx, visit.actor, visit.id, visit.now, store_id=visit.store.id))
    return Go("keys", "revoked")


PAGES: tuple[Page, ...] = (
    Page(path="keys", title="API keys", access="keys:read", show=_list, nav="Settings"),
    Page(path="keys/new", title="New API key", access="keys:write", show=_new, fresh=True),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="keys/new", access="keys:write", act=_create, form="keys/new", made="keys", fields=("label", "life"),
        many=("scopes",), fresh=True,
    ),
    Action(path="keys/{id}/revoke", access="keys:write", act=_revoke, form="keys", id_of="key", fresh=True),
)  # fmt: skip
