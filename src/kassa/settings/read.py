"""Reads kassa.toml and the environment. Every refusal names the key, where it stands and what it expects."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from kassa.core.errors import SettingsError
from kassa.core.files import others_may
from kassa.settings.keys import FAMILIES, REQUIRED, ROOT, SECTIONS, Key
from kassa.settings.model import (
    Alerts,
    Backup,
    Books,
    Http,
    Limits,
    Log,
    Network,
    Rates,
    Settings,
    Tracing,
    Wallets,
    Webhooks,
)

PREFIX = "KASSA_"
NOT_SETTINGS = (
    "KASSA_CONFIG", "KASSA_CRASH", "KASSA_TEST_", "KASSA_SANDBOX_", "KASSA_NODES_DIR", "KASSA_DEBUGGABLE",
    "KASSA_AUDIT_KEY",
)  # fmt: skip
"""Variables (or beginnings of their names) read elsewhere: which file to read, and what tests and sandbox use."""

# Kubernetes, and Docker's links, tell every container beside a service called `kassa` or `kassa-…` where that is.
_OF_A_SERVICE = re.compile(r"KASSA_([A-Z0-9]+_)*(PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?|SERVICE_(HOST|PORT)(_\w+)?)\Z")

_NETWORK_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}\Z")
_EVERY_NETWORK_KEY = {name: key for keys in FAMILIES.values() for name, key in keys.items()}

Place = tuple[str, ...]


@dataclass(slots=True)
class _Source:
    """What was written, as nested tables, and where each value stands: for the error messages."""

    tables: dict[str, Any]  # what TOML holds: anything until a parser has seen it
    path: Path | None
    text: str = ""
    variables: dict[Place, str] = field(default_factory=dict)

    def where(self, place: Place) -> str:
        """Return "kassa.toml line 12, [http] listen" or the name of the environment variable."""
        if place in self.variables:
            return f"environment variable {self.variables[place]}"
        *section, key = place
        line = _line(self.text, tuple(section), key)
        heading = f"[{'.'.join(section)}] " if section else ""
        return f"{self.path or 'settings'}{f' line {line}' if line else ''}, {heading}{key}"

    def refuse(self, place: Place, message: str) -> NoReturn:
        raise SettingsError(f"{self.where(place)}: {message}")


def read_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the file (None: none), then the KASSA_… variables, which win; raise `SettingsError` for anything doubtful.

    A variable is the key in capitals with two underscores between levels: KASSA_HTTP__LISTEN,
    KASSA_NETWORKS__BITCOIN_REGTEST__RPC_URL. A relative `data_dir` counts from the file's folder, or, when it comes
    from the environment, from the working directory.
    """
    source = _file(path)
    for name, text in sorted(environ.items()):
        if is_setting(name):
            _set_variable(source, name, text)
    return _settings(source)


def is_setting(variable: str) -> bool:
    """Tell whether an environment variable is a setting, by its name."""
    if not variable.startswith(PREFIX) or variable.startswith(NOT_SETTINGS):
        return False
    return "__" in variable or _OF_A_SERVICE.match(variable) is None


def _file(path: Path | None) -> _Source:
    if path is None:
        return _Source({}, None)
    try:
        if others_may(path) == "change":
            raise SettingsError(f"every user of this machine may change {path}: run `chmod o-w {path}`, and look at it")
        text = path.read_text("utf-8")
        return _Source(tomllib.loads(text), path, text)
    except FileNotFoundError:
        raise SettingsError(f"there is no file {path}: create it (docs/configuration.md) or name another") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise SettingsError(f"{path} cannot be read: {fault}") from None
    except tomllib.TOMLDecodeError as fault:
        raise SettingsError(f"{path} is not valid TOML: {fault}") from None


def _set_variable(source: _Source, name: str, text: str) -> None:
    place = _place(source, name)
    key = _key(place) if place else None
    if place is None or key is None:
        raise SettingsError(f"environment variable {name} names no setting{_nearest(name, _variables(source))}")
    table = source.tables
    for part in place[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            source.refuse(place[:-1], "must be a section")
    source.variables[place] = name
    table[place[-1]] = text if key.verbatim else _toml(source, place, key, text)


def _place(source: _Source, name: str) -> Place | None:
    parts = name.removeprefix(PREFIX).lower().split("__")
    if len(parts) != 3 or parts[0] != "networks":
        return tuple(parts)
    written = source.tables.get("networks")
    known = {other.lower().replace("-", "_"): other for other in written} if isinstance(written, dict) else {}
    return "networks", known.get(parts[1], parts[1].replace("_", "-")), parts[2]


def _key(place: Place) -> Key | None:
    match place:
        case (key,):
            return ROOT.get(key)
        case ("networks", _, key):
            return _EVERY_NETWORK_KEY.get(key)
        case (section, key):
            return SECTIONS.get(section, {}).get(key)
    return None


def _variables(source: _Source) -> list[str]:
    networks = source.tables.get("networks")
    places = [(key,) for key in ROOT] + [(section, key) for section, keys in SECTIONS.items() for key in keys]
    names = list(networks) if isinstance(networks, dict) else []
    every = places + [("networks", name, key) for name in names for key in _EVERY_NETWORK_KEY]
    return [PREFIX + "__".join(place).upper().replace("-", "_") for place in every]


def _toml(source: _Source, place: Place, key: Key, text: str) -> object:
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        document = {}
    if document.keys() != {"value"}:
        shown = "" if key.secret else f", not {text[:60]!r}"
        source.refuse(place, f"must hold a TOML value as kassa.toml would{shown}")
    return document["value"]


def _settings(source: _Source) -> Settings:
    _known(source, (), source.tables, (*ROOT, *SECTIONS, "networks"))
    root = _read(source, (), {key: source.tables[key] for key in ROOT if key in source.tables}, ROOT)
    networks = _networks(source)
    folder = source.path.parent if source.path and ("data_dir",) not in source.variables else Path()
    root["data_dir"] = (folder / root.get("data_dir", Path("kassa-data"))).expanduser().resolve()
    return Settings(
        **root,
        http=Http(**_section(source, "http")),
        rates=_rates(source),
        webhooks=Webhooks(**_section(source, "webhooks")),
        books=Books(**_section(source, "books")),
        limits=Limits(**_section(source, "limits")),
        wallets=Wallets(**_section(source, "wallets")),
        alerts=_alerts(source),
        backup=Backup(**_section(source, "backup")),
        log=Log(**_section(source, "log")),
        tracing=Tracing(**_section(source, "tracing")),
        networks=networks,
    )


def _rates(source: _Source) -> Rates:
    rates = Rates(**_section(source, "rates"))
    # The ECB quotes fiat alone, and alone.
    markets = [name for name in rates.sources if name != "ecb"]
    if markets and len(markets) < rates.min_sources:
        remedy = f"name another, or set min_sources = {len(markets)}"
        source.refuse(("rates", "sources"), f"min_sources = {rates.min_sources} sources must agree: {remedy}")
    return rates


def _alerts(source: _Source) -> Alerts:
    alerts = Alerts(**_section(source, "alerts"))
    if alerts.webhook_url is not None and alerts.webhook_secret is None:
        source.refuse(("alerts", "webhook_url"), "needs webhook_secret, which signs what is sent there")
    return alerts


def _section(source: _Source, name: str) -> dict[str, Any]:  # arguments of a dataclass, each checked by its parser
    return _read(source, (name,), _table(source, (name,)), SECTIONS[name])


def _networks(source: _Source) -> dict[str, Network]:
    networks: dict[str, Network] = {}
    of_chain: dict[str, str] = {}
    for name in _table(source, ("networks",)):
        networks[name] = _network(source, name)
        other = of_chain.setdefault(networks[name].chain, name)
        if other != name:
            # What arrived is told apart by the network's name: each section would count the same coins.
            source.refuse(
                ("networks", name),
                f"is the same chain as [networks.{other}], and every payment would count twice; keep one of the two"
                " (a second node of the chain is its second_rpc_url)",
            )
    return networks


def _network(source: _Source, name: str) -> Network:
    place = ("networks", name)
    if not _NETWORK_NAME.match(name):
        source.refuse(place, "a network's name consists of lower-case letters, digits and hyphens")
    table = _table(source, place)
    family = table.get("family")
    if "family" in table and (not isinstance(family, str) or family not in FAMILIES):
        source.refuse((*place, "family"), f"{family!r} is not in this version; known: {', '.join(FAMILIES)}")
    if family is None:
        source.refuse(place, "family is missing")
    if missing := [key for key in REQUIRED[str(family)] if key not in table]:
        source.refuse(place, f"{missing[0]} is missing")
    return Network(name=name, **_read(source, place, table, FAMILIES[str(family)]))


def _table(source: _Source, place: Place) -> dict[str, Any]:  # what TOML holds
    table: object = source.tables
    for part in place:
        table = table.get(part, {}) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        source.refuse(place, f"must be a section [{'.'.join(place)}]")
    return table


def _read(source: _Source, place: Place, table: Mapping[str, object], keys: Mapping[str, Key]) -> dict[str, Any]:
    _known(source, place, table, keys)
    values = {}
    for name, value in table.items():
        key = keys[name]
        try:
            values[key.field or name] = key.parse(value)
        except ValueError as fault:
            shown = "" if key.secret else f"; it is {repr(value)[:80]}"
            source.refuse((*place, name), f"must be {fault}{shown}")
    return values


def _known(source: _Source, place: Place, table: Mapping[str, object], known: Iterable[str]) -> None:
    for name in table:
        if name not in known:
            source.refuse((*place, name), f"there is no such setting{_nearest(name, known)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(names)}" if len(names) < 12 else ""


def _line(text: str, section: Place, key: str) -> int | None:
    current: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        if heading := re.match(r"\s*\[+([^\]]+)\]", line):
            current = tuple(part.strip().strip("\"'") for part in heading[1].split("."))
            if current == (*section, key):
                return number
        elif current == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return number
    return None
