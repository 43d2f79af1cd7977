"""The store's name, and what becomes of short, excess and late payments."""

from typing import Any

from kassa.core.errors import FieldFault, Invalid
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.visit import Visit

_POLICY = (
    "tolerance_percent", "tolerance_amount", "short", "short_limit_percent", "over", "late_grace_seconds",
    "late_rate_percent",
)  # fmt: skip


async def _settings(visit: Visit) -> Screen:
    return Screen("settings.html", {"store": await visit.ask("get_store")})


async def _change(visit: Visit) -> Go:
    form = visit.form
    policy: dict[str, Any] = {name: form.get(name) for name in _POLICY if name in form.values}
    for name in ("version", "late_grace_seconds"):
        if not form.get(name).isdecimal() or len(form.get(name)) > 9:
            raise Invalid(FieldFault(name, "must be a whole number"))
    policy["late_grace_seconds"] = int(form.get("late_grace_seconds"))
    body = {"version": int(form.get("version")), "name": form.get("name"), "policy": policy}
    try:
        await visit.ask("change_store", body=body)
    except Invalid as error:
        faults = [FieldFault(each.field.removeprefix("policy."), each.message) for each in error.faults]
        raise Invalid(*faults) from error
    return Go("settings", "saved")


PAGES: tuple[Page, ...] = (
    Page(path="settings", title="Store and policies", access="store:read", show=_settings, nav="Settings"),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="settings", access="store:write", act=_change, form="settings", fields=("version", "name", *_POLICY),
        fresh=True,
    ),
)  # fmt: skip
