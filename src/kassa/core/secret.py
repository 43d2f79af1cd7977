"""A text that nobody may read by accident: it has to be asked for."""

import hmac
from typing import Any, NoReturn


class Secret:
    """Holds a text that no log, message, repr or JSON shows. `reveal` is where to look for who reads it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the one call that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "[secret]"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        """Compare with another secret, in a time that tells nothing of where they differ."""
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        # Pickles and copies end in files and messages.
        raise TypeError("a secret is not written anywhere")

    def __deepcopy__(self, _memo: Any) -> "Secret":  # the copier's own dictionary
        return self
