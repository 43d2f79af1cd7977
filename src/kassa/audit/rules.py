"""How acts are written and chained, and what a broken chain looks like. Pure."""

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC
from typing import Any

from kassa.audit.model import Act, Break, Head, Link, Shown
from kassa.core.errors import FieldFault, Invalid

MOST_TEXT = 200
MOST_JSON = 16_384
NOT_KEPT = "(not kept)"

_KIND = re.compile(r"[a-z][a-z_]*\.[a-z][a-z_]*\Z")
_SECRET = re.compile(r"(.*_)?(secret|password|passphrase|key|token|totp|codes?|seed|mnemonic)\Z", re.IGNORECASE)
_HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})\Z")


def checked_kind(kind: str) -> str:
    """Return the kind of an act; raise `AssertionError` for one that is not written as `thing.deed`."""
    if not _KIND.match(kind):
        raise AssertionError(f"{kind!r} is no kind of act: write thing.deed")
    return kind


def shown_text(shown: Shown | None) -> str | None:
    """Write what a thing looked like. What is named like a secret is not kept, nor what is too long to be one thing."""
    if shown is None:
        return None
    text = _json(_without_secrets(shown))
    return text if len(text) <= MOST_JSON else _json({"sha256": hashlib.sha256(text.encode()).hexdigest()})


def difference(before: Shown, after: Shown) -> tuple[Shown, Shown]:
    """Return the parts in which two looks of one thing differ."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}


def line(text: str) -> str:
    """Return a text of at most 200 printable characters: acts hold what strangers sent, too."""
    return "".join(each if each.isprintable() else "?" for each in text[:MOST_TEXT])


def body(act: Act) -> bytes:
    """Write an act as the bytes that are hashed: a JSON list in UTF-8, without blanks."""
    actor, at = act.actor, act.at.astimezone(UTC).isoformat(timespec="microseconds")
    parts = [act.id, at, act.store_id, actor.name, actor.address, act.kind, act.subject]
    return _json([*parts, act.before, act.after]).encode()


def chained(before: bytes, act: Act) -> bytes:
    """Return the hash of an act that follows another's."""
    return hashlib.sha256(before + body(act)).digest()


def follow(head: Head, links: Iterable[Link]) -> Head | Break:
    """Walk links that should follow a head, in order; return the last as the new head, or where they do not hold."""
    for link in links:
        if link.number != head.number + 1:
            return Break(head.number + 1, f"act {head.number + 1} is missing: after it comes {link.number}")
        if link.hash != chained(head.hash, link.act):
            return Break(link.number, f"act {link.number} ({link.act.kind}) or one before it was changed")
        head = Head(link.number, link.hash)
    return head


def compare(anchor: Head, stored: bytes | None) -> Break | None:
    """Compare a head that was kept elsewhere with the hash that the log has at its number now, if any."""
    if anchor.number == 0 or stored == anchor.hash:
        return None
    if stored is None:
        return Break(anchor.number, f"the log once had {anchor.number} acts and is shorter now: its end was cut off")
    return Break(anchor.number, f"act {anchor.number} or one before it was replaced: its hash is not the one kept")


def read_head(text: str) -> Head:
    """Read `NUMBER:HASH`, as `kassa audit verify` prints it; raises `Invalid`."""
    match = _HEAD.match(text.strip())
    if match is None:
        raise Invalid(FieldFault("head", "is not NUMBER:HASH as `kassa audit verify` prints it"))
    return Head(int(match[1]), bytes.fromhex(match[2]))


def _without_secrets(value: Any) -> Any:  # JSON
    if isinstance(value, dict):
        return {name: NOT_KEPT if _SECRET.match(name) else _without_secrets(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(each) for each in value]
    return value


def _json(value: Any) -> str:  # JSON
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
