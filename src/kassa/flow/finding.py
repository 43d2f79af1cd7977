"""Find invoices, payments and customers by whatever a person has at hand: an id, a reference, an address, a txid."""

import re

import kassa.customers.search_store as customers
import kassa.invoices.search_store as invoices
import kassa.payments.list_store as payments
from kassa.core.errors import Invalid
from kassa.core.ids import CustomerId, InvoiceId, PaymentId
from kassa.db.pool import Tx
from kassa.house import House
from kassa.stores.model import Store

_PAGE = re.compile(r"https?://[^/\s]+/i/(inv_[0-9a-z]+)(?:[/?#]\S*)?\Z")
_BARE = re.compile(r"[0-9A-Fa-f]{40}\Z")


async def find_invoices(tx: Tx, house: House, store: Store, text: str) -> list[InvoiceId]:
    """Return the invoices of a store that a whole id, reference, address or txid belongs to, the newest hundred."""
    sought = _cleaned(text)
    return await invoices.search(tx, store.id, sought, _scripts(house, sought), [*house.chains, *house.former])


async def find_payments(tx: Tx, house: House, store: Store, text: str) -> list[PaymentId]:
    """Return the payments of a store that a whole id, txid, address, or invoice's id or reference belongs to.

    The newest hundred.
    """
    sought = _cleaned(text)
    return await payments.search(tx, store.id, sought, _scripts(house, sought), [*house.chains, *house.former])


async def find_customers(tx: Tx, house: House, store: Store, text: str) -> list[CustomerId]:
    """Return a store's customers of a whole id, reference or address, or whose name begins so; a hundred at most."""
    sought = _cleaned(text)
    return await customers.search(tx, store.id, sought, _scripts(house, sought)) if sought else []


def _cleaned(text: str) -> str:
    """Return what is looked for: of the address of a payer's page, the invoice."""
    sought = text.strip().replace("\x00", "")
    page = _PAGE.match(sought)
    return page[1] if page else sought


def _scripts(house: House, sought: str) -> list[tuple[str, bytes]]:
    """Return what a text stands for as an address, by network; one of Ethereum may come without its `0x`."""
    scripts, sought = [], f"0x{sought}" if _BARE.match(sought) else sought
    for name, chain in {**house.former, **house.chains}.items():
        try:
            scripts.append((name, chain.addresses.parse(sought)))
        except (Invalid, ValueError):
            continue  # no address of this network
    return scripts
