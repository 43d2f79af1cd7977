"""Find a store's invoices by whatever a person has at hand: an id, a reference, an address, a transaction."""

import kassa.invoices.search_store as invoices
from kassa.core.errors import Invalid
from kassa.core.ids import InvoiceId
from kassa.db.pool import Tx
from kassa.house import House
from kassa.stores.model import Store


async def find_invoices(tx: Tx, house: House, store: Store, text: str) -> list[InvoiceId]:
    """Return the invoices of a store that a whole id, reference, address or txid belongs to, the newest hundred."""
    sought = text.strip().replace("\x00", "")
    scripts = []
    for name, chain in {**house.former, **house.chains}.items():
        try:
            scripts.append((name, chain.addresses.parse(sought)))
        except (Invalid, ValueError):
            continue  # no address of this network
    return await invoices.search(tx, store.id, sought, scripts, [*house.chains, *house.former])
