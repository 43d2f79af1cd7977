"""The values. What may hold a password is a `Secret`, so that no log or error can show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from kassa.core.money import Token
from kassa.core.secret import Secret

_EMBEDDED = Secret("embedded")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server accepts connections. Port 0: any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Http:
    """Where we listen, and the address that payers and merchants use for us (no slash at its end)."""

    listen: Listen = Listen("127.0.0.1", 8080)
    public_url: str = "http://127.0.0.1:8080"
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    ops_listen: Listen | None = Listen("127.0.0.1", 9464)  # None: no metrics


@dataclass(frozen=True, slots=True)
class Confirmations:
    """Amounts up to and including `up_to` (whole units of `currency`; None: any amount) need `blocks` confirmations."""

    blocks: int
    up_to: Fraction | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """One network that we follow. `name` is what API and assets call it."""

    name: str
    family: str
    chain: str
    rpc_url: Secret  # carries the node's user and password
    second_rpc_url: Secret | None = None
    zmq: tuple[str, ...] = ()
    confirmations: tuple[Confirmations, ...] = (Confirmations(blocks=6),)
    max_reorg: int = 100
    poll_seconds: int = 5
    drop_after_seconds: int = 60
    stalled_after_seconds: int | None = None
    finality: str = "blocks"
    internal: str = "auto"
    tokens: tuple[Token, ...] = ()

    @property
    def pushes(self) -> bool:
        """Whether its node can tell of news by itself: over ZMQ, or over a WebSocket."""
        return bool(self.zmq) or self.rpc_url.reveal().startswith(("ws://", "wss://"))


@dataclass(frozen=True, slots=True)
class Rates:
    """Where prices come from; `fixed` ("BTC/EUR") overrides the sources. The three bounds are shares."""

    sources: tuple[str, ...] = ()
    max_age_seconds: int = 300
    fixed: Mapping[str, Fraction] = field(default_factory=dict)
    min_sources: int = 2
    max_deviation: Fraction = Fraction(2, 100)
    max_jump: Fraction = Fraction(20, 100)
    max_depeg: Fraction = Fraction(2, 100)
    pivots: tuple[str, ...] = ("USD", "BTC")
    fiat_max_age_seconds: int = 518_400
    fetch_seconds: int = 30
    keep_days: int = 30
    urls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Whether targets that are not on the public internet are allowed: for local development only."""

    allow_private_addresses: bool = False


@dataclass(frozen=True, slots=True)
class Books:
    """How often the books are compared with the nodes; 0: only by `kassa reconcile`."""

    reconcile_seconds: int = 3_600


@dataclass(frozen=True, slots=True)
class Wallets:
    """How long after its confirmation the change of a wallet holds."""

    change_delay_seconds: int = 86_400


@dataclass(frozen=True, slots=True)
class Limits:
    """How often somebody may ask, in a minute; addresses taken by a store in an hour. 0: no limit."""

    requests_per_key: int = 120_000
    requests_per_store: int = 240_000
    requests_per_address: int = 1_200
    refusals_per_address: int = 120
    addresses_per_store: int | None = None  # None: `limits.rules.MOST_ISSUED`, in live stores alone
    unpaid_addresses: int | None = None  # in a row, of a wallet; None: for payers of links alone
    proof_bits: int = 0  # of work that whoever begins many payments of a link must prove


@dataclass(frozen=True, slots=True)
class Alerts:
    """Where the operator hears of every alert, and the secret that signs what is sent there; None: nowhere."""

    webhook_url: Secret | None = None  # it may hold a token
    webhook_secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class Backup:
    """To whose public keys of age backups are encrypted, and to whose the address key in them besides, if anybody's."""

    recipients: tuple[str, ...] = ()
    key_recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Log:
    """The form of the log (auto: columns on a terminal, else JSON lines), and the least level that is written."""

    form: str = "auto"
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where spans are sent (OTLP over HTTP); None: nowhere."""

    endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set."""

    database_url: Secret = _EMBEDDED  # may carry the database's password
    data_dir: Path = Path("kassa-data")
    http: Http = Http()
    networks: Mapping[str, Network] = field(default_factory=dict)
    rates: Rates = Rates()
    webhooks: Webhooks = Webhooks()
    books: Books = Books()
    limits: Limits = Limits()
    wallets: Wallets = Wallets()
    alerts: Alerts = Alerts()
    backup: Backup = Backup()
    log: Log = Log()
    tracing: Tracing = Tracing()

    @property
    def embedded(self) -> bool:
        """Whether the database is the one that Kassa runs itself."""
        return self.database_url.reveal() == "embedded"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that this installation writes to on its own machine."""
        return (self.data_dir, self.data_dir / "postgres") if self.embedded else (self.data_dir,)
