"""The store's name, looks and sites, its spread, and what becomes of short, excess and late payments."""

import json
from collections.abc import Mapping
from typing import Any

from kassa.core.errors import Conflict, FieldFault, Invalid
from kassa.dashboard.browser import Form
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.typed import amounts, percents
from kassa.dashboard.visit import Visit

_POLICY = (
    "tolerance_percent", "tolerance_amount", "short", "short_limit_percent", "over", "late_grace_seconds",
    "late_rate_percent",
)  # fmt: skip
_PLAIN = ("name", "spread_percent")
_SITES = ("frame_ancestors", "redirect_origins")
FIELDS = ("version", "was", *_PLAIN, "colour", "logo", "no_logo", *_SITES, *_POLICY)


async def _settings(visit: Visit) -> Screen:
    form, store = visit.form, await visit.ask("get_store")
    # The version that was read goes with what was typed: a newer one would say that what changed since was seen.
    return Screen(
        "settings.html",
        {
            "store": store,
            "stands": stands(store),
            "version": form.get("version") or store["version"],
            "was": form.get("was") or json.dumps(stands(store)),
            "chosen": "" if visit.faults.get("logo") else form.get("logo"),
        },
    )


async def _change(visit: Visit) -> Go | Screen:
    form = visit.form
    for name in ("version", "late_grace_seconds"):
        if not form.get(name).isdecimal() or len(form.get(name)) > 9:
            raise Invalid(FieldFault(name, "must be a whole number"))
    policy: dict[str, Any] = {name: form.get(name) for name in _POLICY if name in form.values}
    policy["late_grace_seconds"] = int(form.get("late_grace_seconds"))
    policy |= amounts(form, ("tolerance_amount",), visit.store.currency)
    policy |= percents(form, [name for name in policy if name.endswith("_percent")])
    body = {"version": int(form.get("version")), "policy": policy} | _looks(visit)
    body |= percents(form, ("spread_percent",))
    try:
        await visit.ask("change_store", body=body)
    except Conflict as error:
        if error.code != "changed_meanwhile":
            raise
        return await _changed_meanwhile(visit)
    return Go("settings", "saved")


async def _changed_meanwhile(visit: Visit) -> Screen:
    """Show the form anew, as the store stands now and with what was typed, each difference at its field."""
    form, store = visit.form, await visit.ask("get_store")
    was, now = _read(form.get("was")), stands(store)
    values, said = merged(was, {name: text for name, text in form.values.items() if name != "logo"}, now)
    if "logo" in was and was["logo"] != now["logo"]:  # a page of a former version does not know what it was
        chose = form.get("logo") or form.get("no_logo")
        said["logo"] = "was changed meanwhile" + ("; what you chose would replace it" if chose else "")
    visit.form = Form(values)
    visit.faults = {
        "": "The store was changed meanwhile, and nothing of this was saved: look it over, and save again",
        **said,
    }
    shown = {"version": store["version"], "was": json.dumps(now), "chosen": form.get("logo")}
    return Screen("settings.html", {"store": store, "stands": now, **shown}, 409)


def stands(store: Mapping[str, Any]) -> dict[str, str]:  # JSON
    """Return what the form's fields show of a store, and its logo's path."""
    shown = {name: store[name] for name in (*_PLAIN, "colour", "logo")}
    shown |= {name: store["policy"][name] for name in _POLICY}
    shown |= {name: " ".join(store[name]) for name in _SITES}
    return {name: "" if value is None else str(value) for name, value in shown.items()}


def merged(
    was: Mapping[str, str], typed: Mapping[str, str], now: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the fields of a form that was drawn of another state, and what to say of those that changed meanwhile.

    What was typed stays; a field that was left as it `was` follows the store. Where `was` knows nothing of a field,
    what stands in it counts as typed.
    """
    values, said = dict(typed), {}
    for name in (name for name in now if name in typed):
        if now[name] in (typed[name], was.get(name)):
            continue
        if typed[name] == was.get(name):
            values[name] = now[name]
            said[name] = f'was "{was[name]}" when you opened this page, and is "{now[name]}" by now'
        else:
            said[name] = f'is "{now[name]}" by now; "{typed[name]}", which you typed, would replace it'
    return values, said


def _read(text: str) -> dict[str, str]:
    """Return what a form was drawn with; nothing where that is not what our page wrote."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {name: value for name, value in read.items() if isinstance(value, str)} if isinstance(read, dict) else {}


def _looks(visit: Visit) -> dict[str, Any]:
    """Return what the form says beside the policy; what it does not hold stays as it is."""
    form = visit.form
    body: dict[str, Any] = {name: form.get(name).strip() for name in _PLAIN if name in form.values}
    body |= {name: form.get(name).replace(",", " ").split() for name in _SITES if name in form.values}
    if "colour" in form.values:
        body["colour"] = form.get("colour").strip() or None
    if form.get("logo") or form.get("no_logo") == "yes":
        body["logo"] = form.get("logo") or None
    return body


PAGES: tuple[Page, ...] = (
    Page(path="settings", title="Store and policies", access="store:read", show=_settings, nav="Settings"),
)
ACTIONS: tuple[Action, ...] = (
    Action(path="settings", access="store:write", act=_change, form="settings", fields=FIELDS, fresh=True),
)
