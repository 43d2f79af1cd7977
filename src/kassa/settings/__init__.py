"""Everything that can be set: one frozen value, read once at start from kassa.toml and the environment."""

from kassa.settings.model import (
    Alerts,
    Books,
    Confirmations,
    Http,
    Limits,
    Listen,
    Log,
    Network,
    Rates,
    Settings,
    Tracing,
    Wallets,
    Webhooks,
)
from kassa.settings.read import read_settings

__all__ = [
    "Alerts",
    "Books",
    "Confirmations",
    "Http",
    "Limits",
    "Listen",
    "Log",
    "Network",
    "Rates",
    "Settings",
    "Tracing",
    "Wallets",
    "Webhooks",
    "read_settings",
]
