"""How a store looks to its payers: colour, logo, the sites that may frame its checkout or be led back to. Pure."""

import hashlib
import re
from dataclasses import dataclass

from kassa.core.errors import FieldFault, Invalid
from kassa.stores.origins import leads_to

_COLOUR = re.compile(r"#[0-9a-f]{6}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Branding:
    """`colour` is `#rrggbb`; `logo_hash` names the image that is kept; the rest are origins.

    Payers may be led back to `redirect_origins` alone; to anywhere, if there are none.
    """

    colour: str | None = None
    logo_hash: str | None = None
    frame_ancestors: tuple[str, ...] = ()
    redirect_origins: tuple[str, ...] = ()

    def may_lead_to(self, url: str) -> bool:
        """Tell whether payers may be led back to a URL."""
        return not self.redirect_origins or leads_to(url, self.redirect_origins)


PLAIN = Branding()


def checked_colour(text: str | None) -> str | None:
    """Return a colour in small letters, or None for none; raise `Invalid` (field `colour`)."""
    if text is None:
        return None
    colour = text.lower()
    if not _COLOUR.match(colour):
        raise Invalid(FieldFault("colour", 'must be a colour such as "#0b5cd5"'))
    return colour


def logo_name(image: bytes) -> str:
    """Return the name under which an image is served: its hash, so that a browser may keep it for ever."""
    return hashlib.sha256(image).hexdigest()[:32]


def logo_path(name: str) -> str:
    """Return the path under which an image is served."""
    return f"/i/logo/{name}"
