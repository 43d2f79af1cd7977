"""The routes of the dashboard, to be handed to `create_app`."""

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from kassa.checkout.answers import html
from kassa.checkout.pages import no_page
from kassa.dashboard.browser import AnyRequest
from kassa.dashboard.door import Door
from kassa.dashboard.hall import Hall
from kassa.dashboard.pages import ACTIONS, PAGES
from kassa.house import House


def handlers(house: House) -> list[HTTPRouteHandler]:
    """Make the routes."""
    hall = Hall(house, PAGES, ACTIONS)
    return [*Door(hall).routes(), *hall.routes()]


def unknown(request: AnyRequest, status: int) -> Response[bytes]:
    """Answer a browser where nothing is served; `/` leads to the dashboard."""
    if request.scope["path"] == "/":
        return html(303, b"", {}, more={"location": "/dashboard"})
    return no_page(request, status)
