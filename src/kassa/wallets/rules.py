"""Which networks a store may have a wallet on."""

from kassa.core.errors import FieldFault, Invalid


def check_mode(network: str, network_live: bool, store_live: bool) -> None:
    """Keep live and test apart: a test store uses only test networks, a live store only live ones. Raises `Invalid`."""
    if network_live != store_live:
        kind, wanted = ("live", "live") if store_live else ("test", "test")
        raise Invalid(FieldFault("network", f"{network!r} is not a {wanted} network, and this is a {kind} store"))
