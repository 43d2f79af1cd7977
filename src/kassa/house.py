"""What every role is handed at start: settings, database, chains, clock, marks, rates. Built in `main.py` alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from kassa.chains.base import Chain, Connection, Derived
from kassa.core.clock import Clock
from kassa.core.errors import Invalid
from kassa.core.ids import is_id
from kassa.db.pool import Database
from kassa.invoices.model import Terms
from kassa.invoices.rules import sealed_text
from kassa.invoices.tariffs import Tariffs
from kassa.limits.limiter import Limiter
from kassa.limits.model import Kind, Limit
from kassa.limits.rules import MOST_ISSUED
from kassa.rates.board import Board
from kassa.settings import Limits, Network, Settings
from kassa.wallets.guesses import Guesses
from kassa.wallets.mark import AddressMarks
from kassa.wallets.model import Owner, Place, Wallet
from kassa.wallets.runs import UnpaidRuns
from kassa.wallets.seal import Seal, fits

_NOTHING = Derived("", b"", 0)


def connection_of(network: Network) -> Connection:
    """Return how to reach a network's node."""
    return Connection(network.rpc_url.reveal(), network.zmq, network.finality, network.internal)


def second_connection_of(network: Network) -> Connection:
    """Return how to reach a network's second node, which there must be: it is asked for hashes alone."""
    assert network.second_rpc_url is not None
    return Connection(network.second_rpc_url.reveal(), internal="off")


def limits_of(limits: Limits) -> Mapping[Kind, Limit]:
    """Return the limits of the settings."""
    return {
        Kind.KEY: Limit(limits.requests_per_key, 60),
        Kind.STORE: Limit(limits.requests_per_store, 60),
        Kind.ADDRESS: Limit(limits.requests_per_address, 60),
        Kind.REFUSED: Limit(limits.refusals_per_address, 60),
        Kind.ISSUED: Limit(MOST_ISSUED if limits.addresses_per_store is None else limits.addresses_per_store, 3_600),
    }


def derived_at(chains: Mapping[str, Chain], network: str, descriptor: str, index: int) -> Derived | None:
    """Derive an address; None where nothing is known of the network, an empty one for what cannot be derived."""
    chain = chains.get(network)
    if chain is None:
        return None
    try:
        return chain.addresses.derive(descriptor, index)
    except (Invalid, ValueError):
        return _NOTHING


def derived_text(chains: Mapping[str, Chain], network: str, descriptor: str, index: int) -> str | None:
    """Derive an address; None where nothing is known of the network, an empty text for what cannot be derived."""
    derived = derived_at(chains, network, descriptor, index)
    return None if derived is None else derived.text


@dataclass(frozen=True, slots=True)
class House:
    """The parts that are built once per process.

    `chains` holds one entry per configured network, by its name; `former` those of networks that were followed once and
    are no longer in the settings: they are only shown.
    """

    settings: Settings
    database: Database
    chains: Mapping[str, Chain]
    clock: Clock
    marks: AddressMarks
    seal: Seal
    former: Mapping[str, Chain] = field(default_factory=dict)
    board: Board = field(default_factory=Board)
    limits: Limiter = field(default_factory=Limiter)
    tariffs: Tariffs = field(default_factory=Tariffs)
    guesses: Guesses = field(default_factory=Guesses)
    unpaid: UnpaidRuns = field(default_factory=UnpaidRuns)
    unsealed_before: str = ""
    """Invoices with lower ids may lack the seal over what is asked for: an earlier version made them."""

    def derived(self, network: str, descriptor: str, index: int) -> Derived | None:
        """Derive an address again, to be compared before it is shown; None where nothing is known of the network.

        What cannot be derived is no address: an empty text.
        """
        chains = self.chains if network in self.chains else self.former
        return derived_at(chains, network, descriptor, index)

    def mismatch(self, network: str, place: Place, address: str, owner: str) -> bool | None:
        """Tell whether an address is not its wallet's, or not the one that was issued to its owner.

        None where nothing is known of the network.
        """
        derived = self.derived(network, place.descriptor, place.index)
        if derived is None:
            return None
        made = self.seal.of_address(network, place.descriptor, place.index, address, owner)
        searched = place.script in (None, derived.script) and place.key in (None, derived.key)
        return derived.text != address or not searched or not fits(place.seal, made)

    def is_issued(self, owner: Owner) -> bool:
        """Tell whether what the chain calls an address is one that was issued to its owner; nobody's is its wallet's.

        Its script is under no seal: whoever can write to the database could have money of their own counted.
        """
        place, whose = owner.place, owner.whose
        if whose is None or place is None:
            return self.is_derived(owner)
        text = owner.text
        if self._script(owner.network, text) != owner.script:
            # The text alone may be another's now: who was shown the right one has paid their invoice.
            derived = self.derived(owner.network, place.descriptor, place.index)
            if derived is None or derived.script != owner.script:
                return False
            text = derived.text
        made = self.seal.of_address(owner.network, place.descriptor, place.index, text, whose)
        return self.is_given(owner) and fits(place.seal, made)

    def is_given(self, owner: Owner) -> bool:
        """Tell whether an address is of its invoice's or customer's store, and that was given the wallet behind it.

        No seal of an address covers its store. That of a wallet does, also of one that another has replaced since.
        """
        if owner.place is None or not (is_id("inv", owner.invoice_id or "") or is_id("cus", owner.customer_id or "")):
            return False
        descriptor = owner.place.descriptor
        return owner.store_id == owner.owners_store and any(
            fits(each.seal, self.seal.of_wallet(each.wallet_id, each.store_id, each.network, descriptor))
            for each in owner.given
        )

    def true_script(self, owner: Owner) -> bytes:
        """Return what the chain calls the address that an owner has, whatever the database says of it by now."""
        if owner.place is None or self.is_issued(owner):
            return owner.script
        derived = self.derived(owner.network, owner.place.descriptor, owner.place.index)
        return owner.script if derived is None or not derived.text else derived.script

    def is_derived(self, owner: Owner) -> bool:
        """Tell whether what the chain calls an address is its wallet's."""
        if owner.place is None:
            return False
        derived = self.derived(owner.network, owner.place.descriptor, owner.place.index)
        return derived is not None and derived.script == owner.script

    def _script(self, network: str, text: str) -> bytes | None:
        try:
            return self.chains[network].addresses.parse(text)
        except (Invalid, KeyError):
            return None

    def is_asked(self, terms: Terms) -> bool:
        """Tell whether what an invoice asks for is what it asked for when it was made."""
        if terms.seal is None and terms.id < self.unsealed_before:
            return True
        return fits(terms.seal, self.seal.of_terms(sealed_text(terms)))

    def is_sealed(self, wallet: Wallet) -> bool:
        """Tell whether a wallet is the one that somebody gave its store through Kassa."""
        made = self.seal.of_wallet(wallet.id, wallet.store_id, wallet.network, wallet.descriptor)
        return fits(wallet.seal, made)

    def checkout_url(self, invoice_id: str) -> str:
        """Return the address of an invoice's page for its payer."""
        return f"{self.settings.http.public_url}/i/{quote(invoice_id)}"

    def link_url(self, link_id: str) -> str:
        """Return the address of a payment link's page."""
        return f"{self.settings.http.public_url}/l/{quote(link_id)}"
