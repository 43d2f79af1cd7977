"""The books: what stands on each account, every entry, reports, and all of it to be taken home."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from kassa.core.errors import FieldFault, Invalid
from kassa.core.sought import read
from kassa.dashboard.page import Action, Answer, Download, Page, Screen
from kassa.dashboard.visit import Visit
from kassa.flow.exporting import FORMATS, days_of, write_books
from kassa.ledger import export_store as exports
from kassa.ledger.text import cell

MOST_ENTRIES = 50_000
"""In one download, which is made in memory; `kassa export` writes any number."""
REPORTS = ("sales", "outstanding", "liabilities", "receivables", "costs", "spread")
_OF_DAYS = ("sales", "costs", "spread")
_NUMBERS = ("amount", "value", "amount_paid", "invoices", "customers", "payments", "unknown")
_MEDIA = {"csv": "text/csv", "jsonl": "application/jsonl", "beancount": "text/plain"}


async def _books(visit: Visit) -> Screen:
    balances = (await visit.ask("list_ledger_balances", query={"customers": "together"}))["data"]
    try:
        entries = await visit.ask(
            "list_ledger_entries", query=await _asked(visit, {one["account"] for one in balances})
        )
    except Invalid as error:
        entries = {"data": [], "next_cursor": None}
        visit.faults = {**visit.faults, **{fault.field: fault.message for fault in error.faults}}
    return Screen(
        "books.html",
        {
            "balances": balances,
            "entries": entries,
            "today": visit.now.astimezone(UTC).date().isoformat(),
            "first": (visit.now - timedelta(days=30)).astimezone(UTC).date().isoformat(),
            "formats": FORMATS,
        },
        422 if visit.faults else 200,
    )


async def _asked(visit: Visit, accounts: set[str]) -> dict[str, str]:
    """Return which entries are asked for, by what people have at hand; raises `Invalid` for what is nothing of ours."""
    asked = {"cursor": visit.query["cursor"]} if visit.query.get("cursor") else {}
    if account := visit.query.get("account", "").strip():
        asked["account"] = next((known for known in accounts if known.lower() == account.lower()), account)
    for name, kind in (("invoice_id", "invoice"), ("payment_id", "payment")):
        if text := visit.query.get(name, "").strip():
            asked[name] = await _found(visit, name, kind, text)
    return asked


async def _found(visit: Visit, name: str, kind: str, text: str) -> str:
    """Return the id of the one invoice or payment that a text finds, as in their own lists.

    Of a txid that replaced payments it is the payment that it made, if it is one of ours.
    """
    sought = read(text)
    limit = "100" if kind == "payment" else "2"  # one transaction may replace many
    try:
        found = (await visit.ask(f"list_{kind}s", query={"search": text, "limit": limit}))["data"]
    except Invalid as error:
        raise Invalid(*(FieldFault(name, fault.message) for fault in error.faults)) from None
    if any(one["id"] == sought.name for one in found):
        return sought.name
    found = [one for one in found if one.get("txid") in sought.txids] or found
    if len(found) != 1:
        said = f"finds several {kind}s; give the id of one" if found else f"is no {kind}'s id"
        raise Invalid(FieldFault(name, said if found else f"{said}, reference, address or transaction"))
    return str(found[0]["id"])


async def _export(visit: Visit) -> Answer:
    visit.demand("ledger:read")
    form, days = visit.query.get("format", "csv"), (visit.query.get("from", ""), visit.query.get("to", ""))
    try:
        if form not in FORMATS:
            raise Invalid(FieldFault("format", f"must be one of {', '.join(FORMATS)}"))
        time = days_of(*days)
        await _check_size(visit, time)
    except Invalid as error:
        visit.faults = {fault.field: fault.message for fault in error.faults}
        return await _books(visit)
    text = StringIO()
    await write_books(visit.house, visit.store.id, time, form, text, lambda _name, _done, _of: None)
    return Download(text.getvalue().encode(), f"books-{time[0]:%Y-%m-%d}-{days[1][:10]}.{form}", _MEDIA[form])


async def _check_size(visit: Visit, time: tuple[datetime, datetime]) -> None:
    async with visit.house.database.pool.acquire() as connection:
        if await exports.count(connection, visit.store.id, *time) > MOST_ENTRIES:
            raise Invalid(
                FieldFault(
                    "from",
                    f"leads to more than {MOST_ENTRIES} entries; use `kassa export --store sto_… --from DAY --to DAY`",
                )
            )


async def _reports(visit: Visit) -> Screen:
    name = visit.query.get("report", "sales")
    name = name if name in REPORTS else "sales"
    try:
        lines = await _report(visit, name)
    except Invalid as error:
        visit.faults, lines = {fault.field: fault.message for fault in error.faults}, []
    numbers = [key for key in lines[0] if _is_number(key)] if lines else []
    shown = {"name": name, "reports": REPORTS, "lines": lines, "days": name in _OF_DAYS, "numbers": numbers}
    return Screen("reports.html", shown, 422 if visit.faults else 200)


async def _report_file(visit: Visit) -> Answer:
    name = visit.query.get("report", "sales")
    if name not in REPORTS:
        raise Invalid(FieldFault("report", f"must be one of {', '.join(REPORTS)}"))
    try:
        lines = await _report(visit, name)
    except Invalid:
        return await _reports(visit)
    return Download(_csv(lines).encode(), f"{name}.csv", "text/csv")


async def _report(visit: Visit, name: str) -> list[dict[str, Any]]:  # JSON
    given = ("from", "to") if name in _OF_DAYS else ()
    asked = {each: visit.query[each] for each in given if visit.query.get(each)}
    found: list[dict[str, Any]] = (await visit.ask(f"report_{name}", query=asked))["data"]
    return [{key: value for key, value in line.items() if key != "object"} for line in found]


def _csv(lines: list[dict[str, Any]]) -> str:
    if not lines:
        return ""
    rows = [",".join(lines[0]), *(",".join(_cell(name, value) for name, value in line.items()) for line in lines)]
    return "".join(f"{row}\r\n" for row in rows)


def _cell(name: str, value: object) -> str:
    # Numbers stay bare, negative ones too; anything else is written so that no spreadsheet computes it.
    return ("" if value is None else str(value)) if _is_number(name) else cell(None if value is None else str(value))


def _is_number(name: str) -> bool:
    return name in _NUMBERS or name.endswith(("_value", "_percent"))


PAGES: tuple[Page, ...] = (
    Page(path="books", title="Ledger", access="ledger:read", show=_books, nav="Books"),
    Page(path="books/export", title="Ledger", access="ledger:read", show=_export),
    Page(path="reports", title="Reports", access="ledger:read", show=_reports, nav="Books"),
    Page(path="reports/file", title="Reports", access="ledger:read", show=_report_file),
)
ACTIONS: tuple[Action, ...] = ()
