"""The one list to edit when a family is added."""

from kassa.chains.base import Families
from kassa.chains.bitcoin import family as bitcoin
from kassa.chains.evm import family as evm

FAMILIES: Families = {family.name: family for family in (bitcoin.FAMILY, evm.FAMILY)}
