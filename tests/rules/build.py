"""Small builders of values for rule tests: everything has a default, a test names only what it is about."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from kassa.core.facts import Block, BlockRef, Transaction, TransferKey
from kassa.core.ids import AddressId, InvoiceId, PaymentId, StoreId
from kassa.core.money import Asset, currency
from kassa.invoices.model import Option, Terms, View
from kassa.invoices.policy import Policy
from kassa.payments.model import Payment, Sight, Sighting, Status, Tier
from kassa.wallets.model import Place

START = datetime(2026, 1, 1, tzinfo=UTC)
EXPIRY = START + timedelta(seconds=900)
BTC = Asset("BTC", "bitcoin-regtest", 8)
LTC = Asset("LTC", "litecoin-regtest", 8)
ONE = (Tier(None, 1),)


def at(seconds: float) -> datetime:
    """Return the moment so many seconds after the invoice was made (it expires at 900)."""
    return START + timedelta(seconds=seconds)


def option(asset: Asset = BTC, due: int = 100_000, tiers: tuple[Tier, ...] = ONE) -> Option:
    rate = Fraction(50 * 10**8, due)
    return Option(asset, AddressId(f"adr_{asset.symbol}"), "addr", Place("desc", 0), due, rate, "fixed", START, tiers)


def terms(
    *options: Option, amount: int = 5_000, tolerance: Fraction = Fraction(0), policy: Policy | None = None
) -> Terms:
    agreed = policy or Policy(tolerance_ppm=int(tolerance * 10**6))
    return Terms(
        InvoiceId("inv_1"), StoreId("sto_1"), False, amount, currency("EUR"), agreed, START, EXPIRY,
        options or (option(),), currency("EUR"),
    )  # fmt: skip


def payment(
    units: int = 100_000,
    *,
    number: int = 1,
    asset: Asset = BTC,
    seen: float = 10,
    block: int | None = None,
    missing: float | None = None,
    conflict: str | None = None,
    status: Status | None = None,
    settled: float | None = None,
    replaceable: bool = False,
    maturity: int = 0,
    late_rate: Fraction | None = None,
) -> Payment:
    sighting = Sighting(
        None if block is None else BlockRef(block, f"h{block}"),
        None if missing is None else at(missing),
        conflict,
    )
    return Payment(
        id=PaymentId(f"pay_{number}"), key=TransferKey(asset.network, f"tx{number}", "out:0"), asset=asset.id,
        units=units, maturity=maturity, address_id=AddressId("adr"), address="addr", store_id=StoreId("sto_1"),
        invoice_id=InvoiceId("inv_1"), first_seen_at=at(seen), replaceable=replaceable, sighting=sighting,
        late_rate=late_rate, late_rate_source=None, status=status, value_units=0, confirmations_required=1,
        needs_final=False, settled_at=None if settled is None else at(settled),
    )  # fmt: skip


def view(
    now: float = 20,
    *,
    height: int = 100,
    observed: float | None = None,
    drop_after: int = 60,
    final: int | None = None,
    frozen: Collection[tuple[str, str | None]] = (),
) -> View:
    sight = Sight(height, at(now if observed is None else observed), drop_after, final, frozenset(frozen))
    return View(at(now), {BTC.network: sight, LTC.network: sight})


def block(height: int, name: str = "a", parent: str | None = None, transactions: Sequence[Transaction] = ()) -> Block:
    return Block(
        BlockRef(height, f"{name}{height}"), f"{name}{height - 1}" if parent is None else parent, START,
        tuple(transactions),
    )  # fmt: skip


def chain(first: int, last: int, name: str = "a") -> list[BlockRef]:
    return [BlockRef(height, f"{name}{height}") for height in range(first, last + 1)]
