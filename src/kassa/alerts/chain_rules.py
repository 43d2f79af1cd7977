"""What is wrong with a network and its nodes. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.alerts.seen import Followed, NodeSeen, Reorganised
from kassa.watch.model import Opinion
from kassa.watch.rules import INTERNAL, deep, is_worse

SILENT_POLLS = 3
"""A second node that answers none of so many questions is silent."""
_BEHIND_BLOCKS, _BEHIND_SECONDS = 3, 180
_SYNCING_FOR = timedelta(minutes=10)
_BELOW_FOR = timedelta(minutes=1)  # who does not know of the blocks above may not be on the way to them
FINALITY_SECONDS = 1800
"""A network that calls blocks final does so every few minutes: Ethereum each 6.4, rollups with each batch."""
CLOCK_SECONDS = 60
_JUST_SEEN = timedelta(minutes=1)
_CONDITIONS = {
    "stalled": (Kind.NODE_STALLED, "shows no new block"),
    "unreachable": (Kind.NODE_UNREACHABLE, "does not answer"),
}


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
        Kind.SECOND_NODE_BEHIND: opinion.our_height is not None and opinion.their_height is not None,
        Kind.SECOND_NODE_SILENT: True,
        Kind.SECOND_NODE_REFUSED: True,
    }
    seen = _apart(opinion, block_seconds), _parted(opinion, poll_seconds)
    findings = [each for each in seen if each is not None]
    return tuple(kind for kind, known in judged.items() if known), findings


def on_nodes(seen: Sequence[Followed], configured: Collection[str], now: datetime) -> list[Finding]:
    """Judge how the configured networks are followed.

    What follows by itself needs no action of its own: in each of these states nobody is asked to pay on the network,
    and nothing there expires.
    """
    known = {each.network: each for each in seen}
    found = []
    for network in configured:
        each = known.get(network)
        if each is None or not each.followed:
            found.append(_node(Kind.NOT_FOLLOWED, network, f"no process follows {network}", "run `kassa watch`"))
        elif each.refused:
            said = f"the node of {network} is not a node of this network"
            found.append(_node(Kind.NODE_REFUSED, network, said, each.detail))
        elif each.state in _CONDITIONS:
            kind, words = _CONDITIONS[each.state]
            found.append(_node(kind, network, f"the node of {network} {words}", each.detail))
        elif each.state == "syncing" and each.below and _unseen_for(each, now) > _BELOW_FOR:
            said = f"the node of {network} stands below what Kassa has seen: it shows no new payment"
            found.append(_node(Kind.NODE_SYNCING, network, said, each.detail))
        elif each.state == "syncing" and _unseen_for(each, now) > _SYNCING_FOR:
            said = f"{network} has been catching up for more than ten minutes"
            found.append(_node(Kind.NODE_SYNCING, network, said, each.detail, Severity.WARNING))
    return found


def _unseen_for(seen: Followed, now: datetime) -> timedelta:
    return timedelta() if seen.observed_at is None else now - seen.observed_at


def on_shown(
    seen: Sequence[NodeSeen], with_finality: Collection[str], configured: Mapping[str, int], now: datetime
) -> list[Finding]:
    """Judge what the nodes of the configured networks show: finality (where settings lean on it), calls, clocks, words.

    `configured`: after how many seconds each is looked at again.
    """
    found = []
    for each in seen:
        if each.network not in configured:
            continue
        pause = max(_JUST_SEEN, 2 * timedelta(seconds=configured[each.network]))
        stalled = _finality(each, pause, now) if each.network in with_finality else None
        found += [one for one in (stalled, _shows_less(each), _clock(each), _words(each)) if one is not None]
    return found


def _finality(seen: NodeSeen, pause: timedelta, now: datetime) -> Finding | None:
    """Say that blocks came for half an hour and none became final; where none come, the node is stalled.

    Who was away, and is still reading what came meanwhile, has yet to ask what is final.
    """
    if seen.final_at is None or seen.node_time is None:
        return None
    if seen.observed_at is None or now - seen.observed_at > pause:
        return None
    seconds = int((seen.node_time - seen.final_at).total_seconds())
    if seconds <= FINALITY_SECONDS:
        return None
    said = f"blocks come on {seen.network}, but for {seconds // 60} minutes none was called final"
    why = "payments that need finality wait; smaller ones settle by depth"
    return _node(Kind.FINALITY_STALLED, seen.network, f"{said}: {why}", "")


def _shows_less(seen: NodeSeen) -> Finding | None:
    if seen.internal is None or seen.internal_best is None or not is_worse(seen.internal, seen.internal_best):
        return None
    said = f"the node of {seen.network} shows less than before: {INTERNAL[seen.internal]}"
    detail = f"internal transfers: {seen.internal}, before: {seen.internal_best}"
    return _node(Kind.NODE_SHOWS_LESS, seen.network, said, detail, Severity.WARNING)


def _clock(seen: NodeSeen) -> Finding | None:
    skew = seen.clock_skew_seconds
    if skew is None or abs(skew) <= CLOCK_SECONDS:
        return None
    where = "ahead of" if skew > 0 else "behind"
    detail = f"the node's clock is {abs(skew)} s {where} ours: run NTP on both machines"
    said = f"the clocks of Kassa and of the node of {seen.network} differ by more than a minute"
    return _node(Kind.NODE_CLOCK, seen.network, said, detail, Severity.WARNING)


def _words(seen: NodeSeen) -> Finding | None:
    """Say that a node may follow other rules than its chain does: it is too old, or it warns of what it sees itself."""
    if seen.outdated:
        said = f"the node of {seen.network} is older than the rules of its chain: it may follow a wrong one"
        return _node(Kind.NODE_WARNS, seen.network, said, seen.warning)
    if seen.warning:
        said = f"the node of {seen.network} warns its operator"
        return _node(Kind.NODE_WARNS, seen.network, said, seen.warning, Severity.WARNING)
    return None


def on_reorganisations(
    seen: Sequence[Reorganised], required: Mapping[str, Sequence[int]], block_seconds: Mapping[str, int]
) -> list[Finding]:
    """Judge the reorganisations of late. `required` are the confirmations that a network's tiers ask for.

    One block is every day's; what undid more may undo more, so twice as much is asked for while it is fresh.
    """
    found = []
    for each in seen:
        if each.depth < deep(block_seconds.get(each.network, 1)):
            continue
        most = max(required.get(each.network, ()), default=0)
        found.append(
            Finding(
                Kind.DEEP_REORGANISATION,
                each.network,
                Severity.CRITICAL if each.depth >= most else Severity.WARNING,
                f"{each.network} undid {each.depth} blocks within a day: payments need {2 * each.depth} confirmations",
                network=each.network,
                about={"depth": each.depth, "count": each.count},
                actions=(Action(Deed.RAISED, each.network, 2 * each.depth),),
                measure=each.depth,
            )
        )
    return found


def _node(kind: Kind, network: str, reason: str, detail: str, severity: Severity = Severity.CRITICAL) -> Finding:
    return Finding(kind, network, severity, reason, network=network, detail=detail)


def _parted(opinion: Opinion, poll_seconds: int) -> Finding | None:
    """Judge whether two nodes hold one chain. Two chains at one look are over by themselves; at two, by a person."""
    if opinion.height is None or opinion.ours == opinion.theirs:
        return None
    network, since = opinion.network, opinion.parted_since
    lasting = since is not None and opinion.asked_at - since >= timedelta(seconds=poll_seconds)
    until = "its operator has decided" if lasting else "they agree"
    return Finding(
        Kind.CHAIN_DISAGREEMENT,
        # Another fork is another cause: whoever decided about one has said nothing of the next, nor of a deeper one.
        f"{network}/{opinion.parted_at}",
        Severity.CRITICAL,
        f"two nodes of {network} hold different chains: nothing settles on it until {until}",
        network=network,
        detail=(
            f"they part at height {opinion.parted_at}: at {opinion.height} ours is {opinion.ours}, the second node's "
            f"{opinion.theirs} (tips: {opinion.our_height} and {opinion.their_height})"
        ),
        about={"height": opinion.height, "parted_at": opinion.parted_at},
        actions=(Action(Deed.HELD, network),),
        lasting=lasting,
    )


def _apart(opinion: Opinion, block_seconds: int) -> Finding | None:
    ours, theirs = opinion.our_height, opinion.their_height
    allowed = max(_BEHIND_BLOCKS, _BEHIND_SECONDS // max(1, block_seconds))
    if ours is None or theirs is None or abs(theirs - ours) <= allowed:
        return None
    if theirs < ours:
        return Finding(
            Kind.SECOND_NODE_BEHIND,
            opinion.network,
            Severity.WARNING,
            f"the second node of {opinion.network} is {ours - theirs} blocks behind ours: nobody contradicts it there",
            detail=f"our height is {ours}, the second node's {theirs}",
        )
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
