"""Find invoices, payments and customers by whatever a person has at hand: an id, a reference, an address, a txid."""

import kassa.customers.search_store as customers
import kassa.invoices.search_store as invoices
import kassa.payments.list_store as payments
from kassa.core.errors import Invalid
from kassa.core.ids import CustomerId, InvoiceId, PaymentId
from kassa.db.pool import Tx
from kassa.house import House
from kassa.stores.model import Store


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
    return text.strip().replace("\x00", "")


def _scripts(house: House, sought: str) -> list[tuple[str, bytes]]:
    """Return what a text stands for as an address, by network."""
    scripts = []
    for name, chain in {**house.former, **house.chains}.items():
        try:
            scripts.append((name, chain.addresses.parse(sought)))
        except (Invalid, ValueError):
            continue  # no address of this network
    return scripts
