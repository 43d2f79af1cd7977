"""Words that stand in the database, where a later version that runs beside this one may have written others."""

from enum import StrEnum


class Words(StrEnum):
    """A list of words that may grow: one that is not on it is kept as it is written, and is like no other."""

    @classmethod
    def _missing_(cls, value: object) -> "Words | None":
        if not isinstance(value, str):
            return None
        word = str.__new__(cls, value)
        word._name_ = word._value_ = value
        return word

    @property
    def is_known(self) -> bool:
        """Whether this version knows what the word means."""
        return self.value in type(self)._value2member_map_
