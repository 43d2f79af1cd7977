"""Every page of a store, in the order of the navigation. A new module's name is added here."""

from kassa.dashboard.page import Action, Page
from kassa.dashboard.pages import (
    account,
    alerts,
    audit,
    books,
    customers,
    events,
    invoices,
    keys,
    links,
    members,
    networks,
    overview,
    payments,
    settings,
    wallets,
    webhooks,
)

_MODULES = (
    overview, alerts, invoices, payments, links, customers, books, wallets, audit, webhooks, events, networks, settings,
    keys, members, account,
)  # fmt: skip

PAGES: tuple[Page, ...] = tuple(page for module in _MODULES for page in module.PAGES)
ACTIONS: tuple[Action, ...] = tuple(action for module in _MODULES for action in module.ACTIONS)
