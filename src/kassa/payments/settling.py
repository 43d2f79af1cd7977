"""Whether a payment is settled, still on its way, or lost. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

from kassa.payments.model import Payment, PaymentStanding, Sight, Status, Tier


def judge(payment: Payment, tier: Tier, sight: Sight, value_units: int, rate: Fraction | None) -> PaymentStanding:
    """Decide where a payment stands that its amount puts in a tier (see `required`), and what it is worth."""
    depth = _depth(payment, sight)
    return PaymentStanding(
        id=payment.id,
        status=_status(payment, depth, tier, sight),
        confirmations=depth,
        confirmations_required=tier.blocks,
        needs_final=tier.final,
        value_units=value_units,
        rate=rate,
    )


def required(payment: Payment, tier: Tier, sight: Sight) -> Tier:
    """Return what a payment needs in its tier: one block where it can be replaced, and what the chain demands.

    What is asked for beyond that since a danger was seen is asked of what is alive and has not settled yet: what is
    dead keeps saying how much had been enough for it.
    """
    needed = 1 if tier.blocks == 0 and payment.replaceable else tier.blocks
    if payment.status is not Status.SETTLED and _status(payment, _depth(payment, sight), tier, sight).alive:
        needed = max(needed, sight.least(payment.store_id))
    return replace(tier, blocks=max(needed, payment.maturity))


def tier_of(tiers: Sequence[Tier], units: int) -> Tier:
    """Return what an amount requires; a bound belongs to its own tier.

    Without a tier that reaches so far, the strictest one holds.
    """
    for tier in tiers:
        if tier.up_to is None or units <= tier.up_to:
            return tier
    return strictest(tiers)


def after(tiers: Sequence[Tier], units: int) -> tuple[Tier, ...]:
    """Return what an amount requires when so many units are at risk already: every bound is lower by them."""
    return tuple(replace(tier, up_to=None if tier.up_to is None else max(0, tier.up_to - units)) for tier in tiers)


def strictest(tiers: Sequence[Tier]) -> Tier:
    """Return the most that any of some tiers requires."""
    return Tier(None, max((tier.blocks for tier in tiers), default=1), any(tier.final for tier in tiers))


def drops_at(missing_since: datetime, sight: Sight) -> datetime:
    """Return when a payment that no look finds counts as dropped."""
    return missing_since + timedelta(seconds=sight.drop_after_seconds)


def _depth(payment: Payment, sight: Sight) -> int:
    block = payment.sighting.block
    return 0 if block is None else max(0, sight.height - block.height + 1)


def _status(payment: Payment, depth: int, tier: Tier, sight: Sight) -> Status:
    if depth > 0:
        return Status.SETTLED if _is_settled(payment, depth, tier, sight) else Status.CONFIRMING
    sighting = payment.sighting
    if sighting.conflict_txid is not None:
        return Status.REPLACED if payment.settled_at is None else Status.REVERSED
    if sighting.void_height is None:
        if sighting.missing_since is None:
            return Status.SETTLED if tier.blocks == 0 and not _is_held(payment, sight) else Status.DETECTED
        if sight.observed_at < drops_at(sighting.missing_since, sight):
            return Status.DETECTED
    return Status.DROPPED if payment.settled_at is None else Status.REVERSED


def _is_settled(payment: Payment, depth: int, tier: Tier, sight: Sight) -> bool:
    if depth < tier.blocks or _is_held(payment, sight):
        return False
    block = payment.sighting.block
    final = block is not None and sight.final is not None and block.height <= sight.final
    return final or not tier.final


def _is_held(payment: Payment, sight: Sight) -> bool:
    # What had settled before the doubt stays so: that is about what comes.
    frozen = payment.settled_at is None and sight.is_frozen(payment.asset, payment.store_id)
    return frozen or (sight.held and payment.status is not Status.SETTLED)
