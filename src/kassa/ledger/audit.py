"""Compare the books with what a node shows. Values and rules; no input or output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kassa.core.audits import Claim, Received
from kassa.core.facts import BlockRef


@dataclass(frozen=True, slots=True)
class Owner:
    """An address that we issued, and whose it is; without a store nobody's yet."""

    address_id: str
    address: str
    script: bytes
    store_id: str | None
    invoice_id: str | None
    customer_id: str | None


@dataclass(frozen=True, slots=True)
class Booked:
    """The books of one network at one moment.

    `tip` is where we stood then and `first` the lowest block that we looked at. `claims` are by address and asset.
    `accepted` are units that a policy took without a block, which no block can confirm; `astray` stands on the
    network's account through entries that lead to no address. Both by asset.
    """

    tip: BlockRef
    first: int
    owners: Mapping[str, Owner]
    claims: Mapping[tuple[str, str], Claim]
    accepted: Mapping[str, int]
    astray: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the books are not what the node shows; `owner` is None for entries that lead to no address."""

    owner: Owner | None
    asset: str
    booked: int
    found: int

    @property
    def key(self) -> tuple[str | None, str]:
        return None if self.owner is None else self.owner.address_id, self.asset


def asked_by(booked: Booked, scripts: Mapping[str, bytes]) -> Booked:
    """Ask the node for these scripts, by address: the ones that the database names may be anyone's."""
    owners = {id_: replace(owner, script=scripts.get(id_, owner.script)) for id_, owner in booked.owners.items()}
    claims = {key: replace(claim, script=owners[key[0]].script) for key, claim in booked.claims.items()}
    return replace(booked, owners=owners, claims=claims)


def complete(booked: Booked, assets: Sequence[str]) -> dict[tuple[str, str], Claim]:
    """Return a claim for every address in every asset: nothing is claimed where nothing was booked."""
    claims = {}
    for owner in booked.owners.values():
        for asset in assets:
            key = owner.address_id, asset
            claims[key] = booked.claims.get(key) or Claim(owner.script, asset)
    return claims


def differences(
    booked: Booked, claims: Mapping[tuple[str, str], Claim], received: Sequence[Received]
) -> tuple[Difference, ...]:
    """Return every difference, to the last unit. Where the node can only tell a part, more than was booked is one."""
    found = []
    for ((address_id, asset), claim), shown in zip(claims.items(), received, strict=True):
        if shown.units > claim.units or (shown.exact and shown.units < claim.units):
            found.append(Difference(booked.owners[address_id], asset, claim.units, shown.units))
    found += [Difference(None, asset, units, 0) for asset, units in sorted(booked.astray.items()) if units]
    return tuple(found)
