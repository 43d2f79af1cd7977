"""The routes of the dashboard, to be handed to `create_app`."""

from litestar.handlers import HTTPRouteHandler

from kassa.dashboard.door import Door
from kassa.dashboard.hall import Hall
from kassa.dashboard.pages import ACTIONS, PAGES
from kassa.house import House


def handlers(house: House) -> list[HTTPRouteHandler]:
    """Make the routes."""
    hall = Hall(house, PAGES, ACTIONS)
    return [*Door(hall).routes(), *hall.routes()]
