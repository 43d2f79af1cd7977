"""Which networks a store may have a wallet on, and how far the wallet that signs has to look ahead."""

from kassa.core.errors import FieldFault, Invalid

USUAL_GAP = 20
"""Unused addresses in a row over which wallets look by default (BIP 44)."""
MOST_UNPAID = 1_000
"""Addresses of a live wallet in a row that may be unpaid, half of them for payers of links, unless the settings say
otherwise; these alone are bounded then: how many orders a shop gets before one is paid, nobody knows but the shop."""


def unpaid_bounds(asked: int | None) -> tuple[int, int]:
    """Return how many addresses in a row may be unpaid, in test and in live stores; 0: any number.

    Test stores have no bound unless one is set: nobody looks for their coins, and tests make thousands of invoices.
    """
    return (0, MOST_UNPAID) if asked is None else (asked, asked)


def gap_advised(needed: int, bound: int) -> int:
    """Return the gap limit that a signing wallet should be given, which needs `needed` now and is bounded by `bound`.

    Twice the bound: processes that count apart, and orders that failed, may leave a run a little longer. Where a
    restore passed over more indexes than that, the run goes on beyond them until it has as many addresses as the bound.
    """
    return needed + bound if needed > max(USUAL_GAP, 2 * bound) else max(USUAL_GAP, 2 * bound)


def check_mode(network: str, network_live: bool, store_live: bool) -> None:
    """Keep live and test apart: a test store uses only test networks, a live store only live ones. Raises `Invalid`."""
    if network_live != store_live:
        kind, wanted = ("live", "live") if store_live else ("test", "test")
        raise Invalid(FieldFault("network", f"{network!r} is not a {wanted} network, and this is a {kind} store"))
