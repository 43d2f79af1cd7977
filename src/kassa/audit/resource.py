"""An act as it is shown and exported."""

import json
from typing import Any

from kassa.audit.model import Act, Link
from kassa.core.clock import rfc3339


def act_resource(act: Act) -> dict[str, Any]:  # JSON
    """Return the public form of an act."""
    return {
        "object": "act",
        "id": act.id,
        "at": rfc3339(act.at),
        "kind": act.kind,
        "subject": act.subject,
        "actor": act.actor.name,
        "address": act.actor.address,
        "before": None if act.before is None else json.loads(act.before),
        "after": None if act.after is None else json.loads(act.after),
    }


def link_resource(link: Link) -> dict[str, Any]:  # JSON
    """Return an act with its place in the chain; the texts as they were hashed, the moment to the microsecond.

    Whoever has all of them can work out the hashes again: see docs/audit.md.
    """
    act = link.act
    return {
        "number": link.number,
        "id": act.id,
        "at": act.at.isoformat(timespec="microseconds"),
        "store_id": act.store_id,
        "actor": act.actor.name,
        "address": act.actor.address,
        "kind": act.kind,
        "subject": act.subject,
        "before": act.before,
        "after": act.after,
        "hash": link.hash.hex(),
    }
