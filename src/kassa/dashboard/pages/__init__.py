"""Every page of a store, in the order of the navigation. A new module's name is added here."""

from kassa.dashboard.page import Action, Page
from kassa.dashboard.pages import account, invoices, overview

_MODULES = (overview, invoices, account)

PAGES: tuple[Page, ...] = tuple(page for module in _MODULES for page in module.PAGES)
ACTIONS: tuple[Action, ...] = tuple(action for module in _MODULES for action in module.ACTIONS)
