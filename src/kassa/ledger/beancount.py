"""The books as beancount reads them: what is held as lots at cost, what was earned in the store's currency. Pure."""

import re
from collections.abc import Iterator, Mapping

from kassa.core.clock import rfc3339
from kassa.core.money import Currency, format_units
from kassa.ledger.export_store import Exported
from kassa.ledger.resource import entry_name
from kassa.ledger.view import Line

_ACCOUNTS = {
    "sales": "Income:Sales",
    "income": "Income:Other",
    "under": "Expenses:Under",
    "losses": "Expenses:Losses",
    "fees": "Expenses:Fees",
    "receivables": "Assets:Receivables",
    "unsettled": "Liabilities:Unsettled",
    "over": "Liabilities:Over",
    "unexpected": "Liabilities:Unexpected",
    "unowned": "Liabilities:Unowned",
}
_GROUPS = {"wallet": "Assets:Wallet", "chain": "Assets:Chain", "customer": "Liabilities:Customers"}
_EARNED = ("Income:", "Expenses:")
_OPENED = "1970-01-01"  # before every entry, whatever part of the history a file holds


class Beancount:
    """Writes one file; it opens each account where it is first used."""

    def __init__(self, currency: Currency, decimals: Mapping[str, int]) -> None:
        self._currency, self._decimals = currency, decimals
        self._known: set[str] = set()

    def heading(self) -> str:
        """Return the beginning of a file. What rounding a lot's price leaves is far below this tolerance."""
        code = self._currency.code
        return f'option "operating_currency" "{code}"\noption "inferred_tolerance_default" "{code}:0.0000001"\n\n'

    def entry(self, exported: Exported) -> Iterator[str]:
        """Write an entry as a transaction that bears its id as a link and as metadata.

        Lots are not matched (`NONE`): what a reorganisation takes back is a negative lot of the same cost.
        """
        entry, name = exported.entry, entry_name(exported.entry.number)
        for line in entry.lines:
            yield from self._opening(line)
        date, at = rfc3339(entry.booked_at)[:10], rfc3339(entry.booked_at)
        yield f'{date} * {_quoted(entry.reason)} ^{name.replace("_", "-")}\n  entry: "{name}"\n  booked_at: "{at}"\n'
        about = {
            "payment": entry.payment_id, "spend": entry.spend_id, "customer": entry.customer_id,
            "invoice": entry.invoice_id, "txid": exported.txid, "reference": exported.reference,
            "rate_source": exported.rate.source,
            "rate_at": None if exported.rate.at is None else rfc3339(exported.rate.at),
        }  # fmt: skip
        yield from [f"  {key}: {_quoted(text)}\n" for key, text in about.items() if text]
        valued = any(line.rate is not None or line.amount.value for line in entry.lines)
        for line in entry.lines:
            yield from self._posting(line, valued=valued)
        yield "\n"

    def _opening(self, line: Line) -> Iterator[str]:
        account, commodity = account_name(line.account), commodity_name(line.asset)
        if commodity not in self._known:
            self._known.add(commodity)
            yield f'{_OPENED} commodity {commodity}\n  asset: "{line.asset}"\n'
        if account not in self._known:
            self._known.add(account)
            yield f'{_OPENED} open {account} "NONE"\n'

    def _posting(self, line: Line, *, valued: bool) -> Iterator[str]:
        account, code = account_name(line.account), self._currency.code
        units = format_units(line.amount.units, self._decimals[line.asset])
        value = line.amount.value
        worth = format_units(value, self._currency.decimals)
        if line.amount.units and not valued:
            yield f"  {account}  {units} {commodity_name(line.asset)}\n"
        elif not line.amount.units or account.startswith(_EARNED):
            yield f"  {account}  {worth} {code}\n"
        elif value and (value > 0) != (line.amount.units > 0):
            # No lot costs less than nothing: the value is moved beside the units.
            yield f"  {account}  {units} {commodity_name(line.asset)} {{{{0 {code}}}}}\n  {account}  {worth} {code}\n"
        else:
            cost = format_units(abs(value), self._currency.decimals)
            yield f"  {account}  {units} {commodity_name(line.asset)} {{{{{cost} {code}}}}}\n"


def account_name(account: str) -> str:
    """Return what beancount calls an account."""
    if account in _ACCOUNTS:
        return _ACCOUNTS[account]
    group, _, rest = account.partition(":")
    return f"{_GROUPS.get(group, 'Equity:Other')}:{_component(rest or group)}"


def commodity_name(asset: str) -> str:
    """Return what beancount calls an asset: BTC.BITCOIN for BTC@bitcoin, X1INCH.BASE for 1INCH@base."""
    plain = re.sub(r"[^A-Z0-9.-]", "-", asset.upper().replace("@", ".")).strip("-.")
    return plain if plain[:1].isalpha() else f"X{plain}"  # a commodity begins with a letter


def _component(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9-]", "-", text).strip("-") or "X"
    return plain[0].upper() + plain[1:]


def _quoted(text: str) -> str:
    plain = "".join(character if character.isprintable() else " " for character in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
