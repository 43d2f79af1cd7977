"""One's own account: name, password, app, passkeys, recovery codes, sessions."""

from kassa.dashboard.page import MEMBER, Action, Page, Screen
from kassa.dashboard.visit import Visit


async def _account(_visit: Visit) -> Screen:
    return Screen("account.html")


PAGES: tuple[Page, ...] = (Page(path="account", title="Your account", access=MEMBER, show=_account, nav="You"),)
ACTIONS: tuple[Action, ...] = ()
