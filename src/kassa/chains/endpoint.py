"""Where a node is reached: a URL taken apart, so that what is secret in it stays out of every message."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from kassa.core.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A node's address. `node` names it in messages; the URL's path may be a key, and the headers hold credentials."""

    node: str
    scheme: str
    url: str = field(repr=False)
    root: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def endpoint(url: str) -> Endpoint:
    """Take a URL apart; credentials (user:password, percent-encoded) become a header. Raises `SettingsError`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise SettingsError("rpc_url is no URL such as http://user:password@127.0.0.1:8332") from None
    host = parts.netloc.rpartition("@")[2]
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return Endpoint(
        node=host,
        scheme=parts.scheme,
        url=urlunsplit((parts.scheme, host, parts.path or "/", parts.query, "")),
        root=urlunsplit((parts.scheme, host, "", "", "")),
        headers=headers,
    )
