"""What is wrong with a network and its nodes. Pure."""

from datetime import datetime, timedelta

from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.watch.model import Opinion

SILENT_POLLS = 3
"""A second node that answers none of so many questions is silent."""
_BEHIND_BLOCKS, _BEHIND_SECONDS = 3, 180


def on_opinion(
    opinion: Opinion, poll_seconds: int, block_seconds: int, now: datetime
) -> tuple[tuple[Kind, ...], list[Finding]]:
    """Judge what a second node says: which kinds can be judged by it at all, and what is found.

    That it says nothing ends no doubt that there was, and neither does an answer in which nothing could be compared.
    """
    if opinion.fault:
        return (Kind.SECOND_NODE_SILENT, Kind.SECOND_NODE_REFUSED), _unheard(opinion, poll_seconds, now)
    judged = {
        Kind.CHAIN_DISAGREEMENT: opinion.height is not None,
        Kind.NODE_BEHIND: opinion.our_height is not None and opinion.their_height is not None,
        Kind.SECOND_NODE_SILENT: True,
        Kind.SECOND_NODE_REFUSED: True,
    }
    findings = [each for each in (_behind(opinion, block_seconds), _parted(opinion)) if each is not None]
    return tuple(kind for kind, known in judged.items() if known), findings


def _parted(opinion: Opinion) -> Finding | None:
    if opinion.height is None or opinion.ours == opinion.theirs:
        return None
    network = opinion.network
    return Finding(
        Kind.CHAIN_DISAGREEMENT,
        network,
        Severity.CRITICAL,
        f"two nodes of {network} hold different chains: nothing settles on it until its operator has decided",
        network=network,
        detail=(
            f"they part at height {opinion.parted_at}: at {opinion.height} ours is {opinion.ours}, the second node's "
            f"{opinion.theirs} (tips: {opinion.our_height} and {opinion.their_height})"
        ),
        about={"height": opinion.height, "parted_at": opinion.parted_at},
        actions=(Action(Deed.HELD, network),),
        lasting=True,
    )


def _behind(opinion: Opinion, block_seconds: int) -> Finding | None:
    ours, theirs = opinion.our_height, opinion.their_height
    allowed = max(_BEHIND_BLOCKS, _BEHIND_SECONDS // max(1, block_seconds))
    if ours is None or theirs is None or theirs - ours <= allowed:
        return None
    return Finding(
        Kind.NODE_BEHIND,
        opinion.network,
        Severity.CRITICAL,
        f"a second node of {opinion.network} knows {theirs - ours} blocks more than ours",
        network=opinion.network,
        detail=f"our height is {ours}, the second node's {theirs}",
        actions=(Action(Deed.HELD, opinion.network),),
    )


def _unheard(opinion: Opinion, poll_seconds: int, now: datetime) -> list[Finding]:
    since = opinion.silent_since or opinion.asked_at
    if opinion.refused:
        kind, said = Kind.SECOND_NODE_REFUSED, f"the second node of {opinion.network} is not a node of this network"
    elif now - since >= timedelta(seconds=(SILENT_POLLS - 1) * poll_seconds):
        kind, said = Kind.SECOND_NODE_SILENT, f"the second node of {opinion.network} does not answer"
    else:
        return []
    return [Finding(kind, opinion.network, Severity.WARNING, said, network=None, detail=opinion.fault)]
