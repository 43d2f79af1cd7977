"""A house for tests: the real parts, on a fresh database, with fixed rates."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

from kassa.chains.registry import FAMILIES
from kassa.core.clock import Clock
from kassa.core.money import Token
from kassa.core.secret import Secret
from kassa.db.pool import Database, Tx
from kassa.house import House
from kassa.invoices.policy import NOTHING, Policy
from kassa.payments import asset_store as assets
from kassa.settings import Confirmations, Http, Network, Rates, Settings
from kassa.stores import store as stores
from kassa.stores.model import Store
from kassa.wallets import store as wallets
from kassa.wallets.mark import AddressMarks
from kassa.wallets.seal import Seal

BITCOIN = "bitcoin-regtest"
# The account key of BIP 32's first test vector, as a regtest wallet: m/84h/1h/0h of nobody's money.
TPUB = "tpubDC5FSnBiZDMmhiuCmWAYsLwgLYrrT9rAqvTySfuCCrgsWz8wxMXUS9Tb9iVMvcRbvFcAHGkMD5Kx8koh4GquNGNTfohfk7pgjhaPCdXpoba"
# The account m/44h/60h/1h of the mnemonic that every anvil begins with: nobody's money either.
XPUB = "xpub6Ce9NcJvTk372KjsGfWqbcex5DumjpNquQLApoeQUavSCjEc823BV1tb4rXUuPuht8h2hSxkg2EXUaKUJmniJvRZAELxypsCzBFdtosmV76"
RATES = {
    "BTC/EUR": Fraction(50_000),
    "LTC/EUR": Fraction(80),
    "ETH/EUR": Fraction(2_500),
    "USDC/EUR": Fraction(1),
    "GEM/EUR": Fraction(1),
}


SEAL = Seal(bytes(32))


@dataclass(frozen=True)
class Place:
    """What is needed to look at a database once more."""

    networks: Mapping[str, Network]
    clock: Clock


PLACES: dict[str, Place] = {}
"""The databases that this test's houses were built on, by name: they are judged when it is over."""


class SetClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def move(self, seconds: float) -> datetime:
        self._now += timedelta(seconds=seconds)
        return self._now


def regtest(name: str = BITCOIN, rpc_url: str = "http://127.0.0.1:1", **more: object) -> Network:
    """Settings of a regtest network; one confirmation suffices."""
    network = Network(name, "bitcoin", name, Secret(rpc_url), confirmations=(Confirmations(1),), drop_after_seconds=10)
    return replace(network, **more)  # type: ignore[arg-type]


def anvil_network(rpc_url: str, *tokens: Token, **more: object) -> Network:
    """Settings of a private Ethereum network called "anvil"; one confirmation suffices."""
    network = Network(
        "anvil", "evm", "31337", Secret(rpc_url), confirmations=(Confirmations(1),), drop_after_seconds=2, tokens=tokens
    )
    return replace(network, poll_seconds=1, **more)  # type: ignore[arg-type]


async def build_house(
    database: Database,
    data_dir: Path,
    networks: Mapping[str, Network] | None = None,
    clock: SetClock | None = None,
    http: Http | None = None,
    rates: Rates | None = None,
) -> House:
    """Put a house together from real parts."""
    configured = {BITCOIN: regtest()} if networks is None else dict(networks)
    settings = Settings(
        data_dir=data_dir,
        http=http or Http(),
        networks=configured,
        rates=rates or Rates(fixed=RATES),
    )
    chains = {n.name: FAMILIES[n.family].chain(n.chain, n.name, n.tokens) for n in configured.values()}
    marks = await AddressMarks.start(database, data_dir)
    PLACES[await database.pool.fetchval("select current_database()")] = Place(configured, clock or SetClock())
    async with database.transaction() as tx:
        await assets.keep(tx, [asset for chain in chains.values() for asset in chain.assets])
    return House(settings, database, chains, clock or SetClock(), marks, SEAL)


async def add_store(tx: Tx, house: House, network: str = BITCOIN, key: str = TPUB, policy: Policy = NOTHING) -> Store:
    """Make a test store with a wallet on a network."""
    now = house.clock.now()
    store = await stores.create_store(tx, "Test", "EUR", False, now, policy=policy)
    account = house.chains[network].addresses.account(key)
    await wallets.add_wallet(tx, store.id, network, house.chains[network].space, account, house.seal, now)
    return store
