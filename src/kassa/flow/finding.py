"""Find what a store has by what a person has at hand: an id, reference, address, txid, link."""

import kassa.customers.search_store as customers
import kassa.events.search_store as events
import kassa.invoices.search_store as invoices
import kassa.links.search_store as links
import kassa.payments.list_store as payments
import kassa.webhooks.search_store as deliveries
from kassa.core.errors import Invalid
from kassa.core.ids import CustomerId, DeliveryId, EventId, InvoiceId, LinkId, PaymentId
from kassa.core.sought import Sought, read
from kassa.db.pool import Tx
from kassa.house import House
from kassa.stores.model import Store


async def find_invoices(tx: Tx, house: House, store: Store, text: str) -> list[InvoiceId]:
    """Return the invoices of a store that a text is about, the newest hundred.

    By their own id or reference, or that of their link, a payment's id, an address, or a txid: of a payment, or of what
    replaced one. All whole; the text may be a link or a payment URI.
    """
    sought = read(text)
    return await invoices.search(tx, store.id, sought, _scripts(house, sought), _networks(house))


async def find_payments(tx: Tx, house: House, store: Store, text: str) -> list[PaymentId]:
    """Return the payments of a store that a text is about, the newest hundred: by what finds an invoice."""
    sought = read(text)
    return await payments.search(tx, store.id, sought, _scripts(house, sought), _networks(house))


async def find_links(tx: Tx, house: House, store: Store, text: str) -> list[LinkId]:
    """Return the payment links of a store that a text is about, the newest hundred: by what finds their invoices."""
    sought = read(text)
    made = await invoices.search(tx, store.id, sought, _scripts(house, sought), _networks(house))
    return await links.search(tx, store.id, sought, made)


async def find_customers(tx: Tx, house: House, store: Store, text: str) -> list[CustomerId]:
    """Return the customers of a store that a text is about, a hundred at most.

    By their own id or reference, how their name begins, or what finds a payment or an invoice of theirs (its reference
    apart, and its link).
    """
    sought = read(text)
    return (
        await customers.search(tx, store.id, sought, _scripts(house, sought), _networks(house)) if sought.text else []
    )


async def find_events(tx: Tx, house: House, store: Store, text: str) -> list[EventId]:
    """Return the events of a store that a text is about, the newest hundred.

    By their own id, that of what they are about, or what else finds an invoice or a payment.
    """
    sought = read(text)
    if sought.is_id:
        return await events.search(tx, store.id, sought, (), ())
    places = _scripts(house, sought), _networks(house)
    asked = await invoices.search(tx, store.id, sought, *places)
    return await events.search(tx, store.id, sought, asked, await payments.search(tx, store.id, sought, *places))


async def find_deliveries(tx: Tx, house: House, store: Store, text: str) -> list[DeliveryId]:
    """Return the deliveries of a store that a text is about, the newest hundred.

    By their own id, that of their endpoint, or what finds their event.
    """
    told = await find_events(tx, house, store, text)
    return await deliveries.search(tx, store.id, read(text), told)


def _networks(house: House) -> list[str]:
    return [*house.chains, *house.former]


def _scripts(house: House, sought: Sought) -> list[tuple[str, bytes]]:
    """Return what is sought as an address, by network."""
    scripts = []
    for name, chain in {**house.former, **house.chains}.items():
        try:
            scripts.append((name, chain.addresses.parse(sought.name)))
        except (Invalid, ValueError):
            continue  # no address of this network
    return scripts
