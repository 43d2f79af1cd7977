"""What the books should say about a payment, and the one entry that makes them say it. Pure."""

from collections.abc import Mapping

from kassa.ledger.model import Posting
from kassa.payments.model import Status

Balances = Mapping[tuple[str, str], int]
"""(account, asset) → units."""


def wanted(network: str, asset: str, units: int, status: Status, *, offered: bool = True) -> Balances:
    """Return the balances that a payment should have caused.

    Money is on our side (`chain:…`) from the first confirmation; against it stands `unsettled` until the payment is
    settled and `sales` from then on, or `unexpected` for an asset that the invoice did not offer. What has no block,
    and no settlement without one, is not in the books.
    """
    if status is Status.CONFIRMING:
        against = "unsettled"
    elif status is Status.SETTLED:
        against = "sales" if offered else "unexpected"
    else:
        return {}
    return {(f"chain:{network}", asset): units, (against, asset): -units}


def wanted_unowned(network: str, asset: str, units: int, *, in_block: bool) -> Balances:
    """Return the balances that money without an owner should have caused: ours while a block holds it."""
    return {(f"chain:{network}", asset): units, ("unowned", asset): -units} if in_block else {}


def delta(posted: Balances, should: Balances) -> tuple[Posting, ...]:
    """Return the postings that turn what was posted into what should be: none when they agree; always balanced."""
    accounts = sorted(posted.keys() | should.keys())
    moved = ((key, should.get(key, 0) - posted.get(key, 0)) for key in accounts)
    return tuple(Posting(account, asset, units) for (account, asset), units in moved if units)
