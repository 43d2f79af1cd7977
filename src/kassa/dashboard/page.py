"""How a page and a form are declared, and what they answer."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from kassa.people.rules import ROLES_WITH

if TYPE_CHECKING:
    from kassa.dashboard.visit import Visit

MEMBER = "member"
"""The access of what everybody who belongs to the store may see: their own account."""


@dataclass(frozen=True, slots=True)
class Screen:
    """A template with what it shows."""

    template: str
    shown: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Go:
    """Show another page of this store; `done` names a sentence of `words.DONE` that it shows once."""

    path: str
    done: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    """A file to be kept."""

    body: bytes
    name: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Told:
    """JSON text for our own script."""

    text: str


Answer: TypeAlias = Screen | Go | Download | Told
Serve: TypeAlias = "Callable[[Visit], Awaitable[Answer]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Something to look at, below a store: `invoices/{id}`. Looking changes nothing; a `live` one keeps itself true."""

    path: str
    title: str
    access: str
    show: Serve
    nav: str = ""
    id_of: str | None = None
    fresh: bool = False
    live: bool = False

    def __post_init__(self) -> None:
        _check(self.path, self.access, self.id_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a form does. `form` is the path of the page that holds the form, with the same id; `many` may repeat.

    `made` is the path of the page that shows what came of it, where that is not `form`.
    """

    path: str
    access: str
    act: Serve
    form: str
    fields: tuple[str, ...] = ()
    many: tuple[str, ...] = ()
    made: str = ""
    id_of: str | None = None
    fresh: bool = False

    def __post_init__(self) -> None:
        _check(self.path, self.access, self.id_of)


def _check(path: str, access: str, id_of: str | None) -> None:
    if access not in ROLES_WITH and access != MEMBER:
        raise AssertionError(f"{path} declares no known access: {access!r}")
    if ("{id}" in path) != (id_of is not None):
        raise AssertionError(f"{path}: an id and its kind belong together")
