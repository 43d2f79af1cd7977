"""What goes wrong in a chaos run and when: drawn from a seed alone, so that a run's plan can be had again. Pure."""

from dataclasses import dataclass
from random import Random

SIDES = ("a", "b")
ROLES = ("api", "watch", "work")
PROCESSES = tuple(f"{role}-{side}" for role in ROLES for side in SIDES)
WIRES = (*(f"{what}-{side}" for what in ("database", "bitcoin", "anvil") for side in SIDES), "receiver")
WIRE_FAULTS = ("reset", "refuse", "blackhole", "latency", "slices", "cut")
RECEIVER_FAULTS = ("503", "500", "slow", "reset", "redirect", "junk")
NETWORKS = ("bitcoin", "anvil")
SHORTEST_PAUSE, LONGEST_PAUSE = 0.4, 2.5


@dataclass(frozen=True, slots=True)
class Act:
    """One fault: `at` seconds after the start, `kind` to `target`; `how` and `seconds` say what and for how long."""

    at: float
    kind: str
    target: str
    how: str = ""
    seconds: float = 0

    def __str__(self) -> str:
        return f"{self.at:6.1f} {self.kind} {self.target} {self.how}{f' {self.seconds:.1f}s' if self.seconds else ''}"


_DECK = (
    *(("kill", ""),) * 5,
    *(("end", ""),) * 3,
    *(("freeze", ""),) * 3,
    ("database", "immediate"),
    ("database", "terminate"),
    *(("wire", fault) for fault in WIRE_FAULTS),
    *(("fork", how) for how in ("keep", "drop") * 2),
)
_RECEIVER_CARDS = 3


def plan(seed: int, seconds: float) -> list[Act]:
    """Return the faults of a run, in the order of their times.

    They are dealt from a deck that is shuffled when it is empty, so that even a run of 40 seconds has nearly all kinds.
    """
    random, at, acts, deck = Random(seed), 0.0, list[Act](), list[tuple[str, str]]()
    while (at := at + random.uniform(SHORTEST_PAUSE, LONGEST_PAUSE)) < seconds:
        deck = deck or _shuffled(random)
        acts.append(_act(random, at, *deck.pop()))
    return acts


def _shuffled(random: Random) -> list[tuple[str, str]]:
    deck = [*_DECK, *(("receiver", fault) for fault in random.sample(RECEIVER_FAULTS, _RECEIVER_CARDS))]
    random.shuffle(deck)
    return deck


def _act(random: Random, at: float, kind: str, how: str) -> Act:
    match kind:
        case "kill" | "end":
            return Act(at, kind, random.choice(PROCESSES))
        case "freeze":
            # Longer than a follower's lease, at times: then another takes over from one that is not dead.
            return Act(at, kind, random.choice(PROCESSES), seconds=random.choice((0.5, 3, 14)))
        case "database":
            return Act(at, kind, "server", how)
        case "wire":
            return Act(at, kind, random.choice(WIRES), how, random.uniform(0.5, 6))
        case "receiver":
            return Act(at, kind, "sink", how, random.uniform(1, 8))
    return Act(at, kind, random.choice(NETWORKS), how, random.choice((1, 1, 2, 3)))
