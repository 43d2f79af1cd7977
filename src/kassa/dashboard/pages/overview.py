"""The first page: what needs attention, and how business goes."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from markupsafe import Markup

from kassa.alerts import store as alert_store
from kassa.core.money import currency, format_units, parse_amount
from kassa.dashboard.chart import Bar, bars
from kassa.dashboard.page import Action, Page, Screen
from kassa.dashboard.render import grouped
from kassa.dashboard.visit import Visit

_DAYS = ("7", "30", "90")
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # whatever language the machine is set to
_SICK = ("stalled", "halted", "unreachable", "syncing")


async def _overview(visit: Visit) -> Screen:
    days = visit.query.get("days", "30")
    found = await visit.ask("get_overview", query={"days": days if days in _DAYS else "30"})
    networks = (await visit.ask("list_networks"))["data"]
    alerts = await visit.ask("list_alerts", query={"status": "open", "limit": "5"})
    latest = await visit.ask("list_invoices", query={"limit": "8"})
    own = [each for each in found["volume"] if each["currency"] == found["currency"]]
    return Screen(
        "overview.html",
        {
            "found": found,
            "chart": _chart(found, own),
            "by_day": own[::-1],
            "total": _sum(own, found["currency"]),
            "others": _others(found),
            "sick": [one for one in networks if one["state"] in _SICK or one["second_state"] == "differs"],
            "alerts": alerts["data"],
            "more_alerts": alerts["next_cursor"] is not None,
            "of_operator": await _of_operator(visit),
            "latest": latest["data"],
            "days": days,
            "choices": _DAYS,
        },
    )


async def _of_operator(visit: Visit) -> list[tuple[str, datetime]]:
    """Return kind and begin of what concerns the whole installation, for owners: the rest is its operator's to know."""
    if not visit.may("people:write"):
        return []
    async with visit.house.database.pool.acquire() as connection:
        found = await alert_store.of_operator(connection)
    return [(alert.finding.kind.value, alert.opened_at) for alert in found]


def _chart(found: Mapping[str, Any], own: list[dict[str, Any]]) -> Markup:
    decimals = currency(found["currency"]).decimals
    by_day = {each["day"]: each for each in own}
    day, last, drawn = date.fromisoformat(found["since"]), date.fromisoformat(found["until"]), []
    while day <= last:
        each = by_day.get(day.isoformat())
        units = 0 if each is None else parse_amount(each["amount"], decimals)
        words = f"{day.isoformat()}: {grouped(format_units(units, decimals))} {found['currency']}"
        drawn.append(Bar(units, f"{day.day} {_MONTHS[day.month - 1]}", words))
        day += timedelta(days=1)
    most = max((bar.units for bar in drawn), default=0)
    title = f"Settled by day, {found['since']} to {found['until']}, in {found['currency']}"
    return bars(title, drawn, f"{grouped(format_units(most, decimals))} {found['currency']}")


def _sum(lines: list[dict[str, Any]], code: str) -> str:
    decimals = currency(code).decimals
    return format_units(sum(parse_amount(each["amount"], decimals) for each in lines), decimals)


def _others(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    codes = sorted({each["currency"] for each in found["volume"]} - {found["currency"]})
    return [(_sum([each for each in found["volume"] if each["currency"] == code], code), code) for code in codes]


PAGES: tuple[Page, ...] = (
    Page(path="overview", title="Overview", access="invoices:read", show=_overview, nav="Business", live=True),
)
ACTIONS: tuple[Action, ...] = ()
