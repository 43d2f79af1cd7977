"""The guard over addresses: derived again, their seals checked; what is not as it was issued is reported.

Reading only refuses to show such an address (see `picture.withheld`); what is said about it is written here.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import kassa.invoices.deadline_store as deadlines
import kassa.invoices.store as invoices
import kassa.wallets.deposit_store as deposits
import kassa.wallets.store as wallets
from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.flow import picture as pictures
from kassa.flow.alerting import on_findings
from kassa.house import House
from kassa.invoices.deadline_store import Turn
from kassa.invoices.model import Terms, Withheld


async def check_addresses(tx: Tx, house: House, after: Turn, limit: int, now: datetime) -> Turn | None:
    """Check the addresses of some open invoices, those after a turn; return where to go on, or None at the end.

    Opens one alert for each invoice that has a wrong one, whoever else checks at the same time, and another when it is
    wrong again after it was right.
    """
    page, found = await deadlines.open_page(tx, after, limit), []
    for terms, _ in await invoices.load(tx, sorted(turn.invoice for turn in page)):
        hidden = pictures.withheld(house, terms)
        wrong = [asset for asset, why in hidden.items() if why is Withheld.ADDRESS_MISMATCH]
        if wrong:
            found.append(_finding(terms, wrong))
    await _told(tx, house, found, [turn.invoice for turn in page], now)
    return page[-1] if len(page) == limit else None


async def check_deposits(tx: Tx, house: House, after: str, limit: int, now: datetime) -> str | None:
    """Check some of the customers' deposit addresses, those after an id; return where to go on, or None at the end."""
    page, found = await deposits.deposits_after(tx, after, limit), []
    for each in page:
        if house.mismatch(each.network, each.place, each.address, each.customer_id):
            reason = f"the deposit address of {each.customer_id} on {each.network} is not the one that was issued"
            told = {"customer_id": each.customer_id}
            found.append(_mismatch(each.id, reason, each.store_id, told))
    await _told(tx, house, found, [each.id for each in page], now)
    return page[-1].id if len(page) == limit else None


async def check_wallets(tx: Tx, house: House, now: datetime) -> None:
    """Check that every wallet is the one that somebody gave its store through Kassa; what is not is never offered."""
    every, found = await wallets.every_wallet(tx), []
    for wallet in every:
        if not house.is_sealed(wallet):
            reason = (
                f"the wallet on {wallet.network} (key {wallet.fingerprint}) is not the one that the store was given: no"
                " address of it is issued; somebody may have changed the database"
            )
            told = {"wallet_id": wallet.id, "network": wallet.network, "fingerprint": wallet.fingerprint}
            found.append(_mismatch(wallet.id, reason, wallet.store_id, told))
    await _told(tx, house, found, [wallet.id for wallet in every], now)


async def _told(tx: Tx, house: House, found: Sequence[Finding], checked: Sequence[str], now: datetime) -> None:
    await on_findings(tx, house, [Kind.ADDRESS_MISMATCH], found, now, among=checked)


def _mismatch(subject: str, reason: str, store_id: StoreId, about: Mapping[str, Any]) -> Finding:
    withheld = (Action(Deed.WITHHELD, subject),)
    return Finding(
        Kind.ADDRESS_MISMATCH,
        subject,
        Severity.CRITICAL,
        reason,
        store_id=store_id,
        about=about,
        actions=withheld,
        lasting=True,
    )


def _finding(terms: Terms, wrong: list[str]) -> Finding:
    reason = (
        f"the stored address of {terms.id} for {', '.join(wrong)}, or the amount asked for, is not what it was when it"
        " was made: it is not shown, and nobody should pay it; somebody may have changed the database"
    )
    return Finding(
        Kind.ADDRESS_MISMATCH,
        terms.id,
        Severity.CRITICAL,
        reason,
        store_id=terms.store_id,
        about={"invoice_id": terms.id, "assets": wrong},
        actions=tuple(Action(Deed.WITHHELD, asset) for asset in wrong),
        lasting=True,
    )
