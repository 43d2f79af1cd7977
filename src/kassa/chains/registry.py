"""The one list to edit when a family is added."""

from kassa.chains.base import Families
from kassa.chains.bitcoin import family as bitcoin

FAMILIES: Families = {bitcoin.FAMILY.name: bitcoin.FAMILY}
