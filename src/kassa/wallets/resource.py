"""Wallets as the API shows them."""

from typing import Any

from kassa.core.clock import rfc3339
from kassa.wallets.gap_store import Gap
from kassa.wallets.model import Wallet
from kassa.wallets.store import Issued


def wallet_resource(wallet: Wallet) -> dict[str, Any]:  # JSON
    """Return the public form of a wallet. The fingerprint is what a person compares with the signing device."""
    return {
        "object": "wallet",
        "id": wallet.id,
        "store_id": wallet.store_id,
        "network": wallet.network,
        "descriptor": wallet.descriptor,
        "fingerprint": wallet.fingerprint,
        "created_at": rfc3339(wallet.created_at),
        "retired_at": None if wallet.retired_at is None else rfc3339(wallet.retired_at),
    }


def gap_resource(gap: Gap) -> dict[str, Any]:  # JSON
    """Return what the merchant's own wallet must be told to see every coin."""
    return {"next_index": gap.next_index, "last_used_index": gap.last_used, "gap_limit": gap.limit}


def address_resource(issued: Issued, network: str, *, good: bool) -> dict[str, Any]:  # JSON
    """Return the public form of an issued address, without its text unless it was just checked and found `good`."""
    return {
        "object": "address",
        "id": issued.id,
        "network": network,
        "address": issued.address if good else None,
        "index": issued.index,
        "invoice_id": issued.invoice_id,
        "customer_id": issued.customer_id,
        "created_at": rfc3339(issued.created_at),
    }
