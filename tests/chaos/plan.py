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


def plan(seed: int, seconds: float) -> list[Act]:
    """Return the faults of a run, in the order of their times."""
    random, at, acts = Random(seed), 0.0, []
    while (at := at + random.uniform(SHORTEST_PAUSE, LONGEST_PAUSE)) < seconds:
        acts.append(_act(random, at))
    return acts


def _act(random: Random, at: float) -> Act:
    match random.choices(
        ("kill", "end", "freeze", "database", "wire", "receiver", "fork"), weights=(5, 3, 3, 2, 6, 2, 4)
    )[0]:
        case "kill":
            return Act(at, "kill", random.choice(PROCESSES))
        case "end":
            return Act(at, "end", random.choice(PROCESSES))
        case "freeze":
            # Longer than a follower's lease, at times: then another takes over from one that is not dead.
            return Act(at, "freeze", random.choice(PROCESSES), seconds=random.choice((0.5, 3, 14)))
        case "database":
            return Act(at, "database", "server", random.choice(("immediate", "terminate", "terminate")))
        case "wire":
            return Act(at, "wire", random.choice(WIRES), random.choice(WIRE_FAULTS), random.uniform(0.5, 6))
        case "receiver":
            return Act(at, "receiver", "sink", random.choice(RECEIVER_FAULTS), random.uniform(1, 8))
    return Act(at, "fork", random.choice(NETWORKS), random.choice(("keep", "drop")), random.choice((1, 1, 2, 3)))
