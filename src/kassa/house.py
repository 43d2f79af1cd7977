"""What every role is handed at start: settings, database, chains, clock, address marks. Built in `main.py` alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from kassa.chains.base import Chain, Connection
from kassa.core.clock import Clock
from kassa.db.pool import Database
from kassa.settings import Network, Settings
from kassa.wallets.mark import AddressMarks


def connection_of(network: Network) -> Connection:
    """Return how to reach a network's node."""
    return Connection(network.rpc_url, network.zmq, network.finality, network.internal)


@dataclass(frozen=True, slots=True)
class House:
    """The parts that are built once per process. `chains` holds one entry per configured network, by its name."""

    settings: Settings
    database: Database
    chains: Mapping[str, Chain]
    clock: Clock
    marks: AddressMarks

    def checkout_url(self, invoice_id: str) -> str:
        """Return the address of an invoice's page for its payer."""
        return f"{self.settings.http.public_url}/i/{quote(invoice_id)}"
