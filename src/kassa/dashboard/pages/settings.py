"""The store's name, looks and sites, its spread, and what becomes of short, excess and late payments."""

from typing import Any

from kassa.core.errors import FieldFault, Invalid
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.typed import amounts, percents
from kassa.dashboard.visit import Visit

_POLICY = (
    "tolerance_percent", "tolerance_amount", "short", "short_limit_percent", "over", "late_grace_seconds",
    "late_rate_percent",
)  # fmt: skip
_PLAIN = ("name", "spread_percent")
_SITES = ("frame_ancestors", "redirect_origins")
FIELDS = ("version", *_PLAIN, "colour", "logo", "no_logo", *_SITES, *_POLICY)


async def _settings(visit: Visit) -> Screen:
    return Screen("settings.html", {"store": await visit.ask("get_store")})


async def _change(visit: Visit) -> Go:
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
    await visit.ask("change_store", body=body)
    return Go("settings", "saved")


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
