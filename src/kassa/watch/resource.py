"""A network as the outside sees it. What would tell where a node is, or what it warns of, is its operator's to know."""

from datetime import datetime, timedelta
from typing import Any

from kassa.core.clock import rfc3339
from kassa.watch.model import Opinion
from kassa.watch.node_store import Node
from kassa.watch.store import NetworkRow

_UNKNOWN = ("height", "hash", "node_height", "lag_blocks", "lag_seconds", "contacted_at", "final_height", "final_at")


def network_resource(
    name: str,
    chain: str,
    row: NetworkRow | None,
    node: Node | None,
    second: Opinion | None,
    *,
    pushes: bool,
    now: datetime,
) -> dict[str, Any]:  # JSON
    """Write how far a network is followed, and how its nodes do; all but its name is None where nobody followed it."""
    resource = {"object": "network", "id": name, "chain": chain, "state": "unreachable"}
    return (
        resource
        | (dict.fromkeys(_UNKNOWN) if row is None else _followed(row, now))
        | _node(node)
        | {
            "push": "subscription" if pushes else "polling",
            "second_state": None if second is None else second_state(second),
            "second_asked_at": None if second is None else rfc3339(second.asked_at),
        }
    )


def second_state(opinion: Opinion) -> str:
    """Say what a second node makes of our chain: `agrees`, `differs`, `silent`, `refused`, or `unknown` as yet."""
    if opinion.refused:
        return "refused"
    if opinion.fault:
        return "silent"
    if opinion.height is None:
        return "unknown"
    return "agrees" if opinion.ours == opinion.theirs else "differs"


def _followed(row: NetworkRow, now: datetime) -> dict[str, Any]:
    behind = None if row.height is None or row.node_height is None else max(0, row.node_height - row.height)
    age = None if row.observed_at is None else max(0, (now - row.observed_at) // timedelta(seconds=1))
    return {
        "state": row.state,
        "height": row.height,
        "hash": row.hash,
        "node_height": row.node_height,
        "lag_blocks": behind,
        "lag_seconds": age,
        "contacted_at": _time(row.contacted_at),
        "final_height": row.final_height,
        "final_at": _time(row.final_at),
    }


def _node(node: Node | None) -> dict[str, Any]:
    return {
        "node_version": None if node is None else node.name,
        "node_outdated": node is not None and node.outdated,
        "node_warns": node is not None and node.warning != "",
        "node_peers": None if node is None else node.peers,
        "node_clock_skew_seconds": None if node is None else node.skew_seconds,
        "node_read_at": None if node is None else _time(node.read_at),
        "node_block_at": None if node is None else _time(node.block_at),
        "fee": None if node is None else node.fee,
        "pushed_at": None if node is None else _time(node.pushed_at),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
