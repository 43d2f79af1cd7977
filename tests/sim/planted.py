"""Faults that are planted into a copy of the program, one at a time: random histories must find every one of them.

Each is a slip that somebody could make, or that one of this program's kind has made.
"""

from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"


@dataclass(frozen=True, slots=True)
class Planted:
    """One slip: in `file` (below src/kassa) `right` becomes `wrong`."""

    name: str
    file: str
    right: str
    wrong: str

    def into(self, folder: Path) -> None:
        """Change the copy of src in a folder; raises `LookupError` where the text is not there exactly once."""
        path = folder / "kassa" / self.file
        text = path.read_text()
        if text.count(self.right) != 1:
            raise LookupError(f"{self.name}: {self.file} has {self.right!r} {text.count(self.right)} times, not once")
        path.write_text(text.replace(self.right, self.wrong))


PLANTED = (
    Planted(
        "only the first output of a transaction counts",
        "payments/rules.py",
        "for transaction in block.transactions\n        for transfer in transaction.transfers\n    ]",
        "for transaction in block.transactions\n        for transfer in transaction.transfers[:1]\n    ]",
    ),
    Planted(
        "a reorganisation leaves the payments of its lowest block",
        "payments/store.py",
        "where network = $1 and (block_height > $2 or void_height > $2) returning",
        "where network = $1 and (block_height > $2 + 1 or void_height > $2) returning",
    ),
    Planted(
        "a reversal is not booked",
        "ledger/rules.py",
        "if status is Status.SETTLED else {}",
        "if status in (Status.SETTLED, Status.REVERSED) else {}",
    ),
    Planted(
        "what overtook a payment in a block that is undone stays in that block",
        "payments/store.py",
        '"update payments set conflict_height = null where network = $1 and conflict_height > $2"',
        '"update payments set conflict_height = null where network = $1 and conflict_height > $2 and false"',
    ),
    Planted(
        "a double spend that only a block shows is not noticed",
        "flow/chain.py",
        "victims = await rivals.victims(tx, network, [transaction for transaction, _ in spenders])",
        "victims = await rivals.victims(tx, network, [])",
    ),
    Planted(
        "half a look into the mempool says what is missing",
        "payments/rules.py",
        "if pending.complete else frozenset()",
        "if pending.complete or known else frozenset()",
    ),
    Planted(
        "a payment that came back into the mempool stays missing",
        "payments/rules.py",
        "            note.missing_since is not None\n            or note.conflict_txid",
        "            note.conflict_txid",
    ),
    Planted(
        "a payment settles one block late",
        "payments/store.py",
        "status = 'confirming' and block_height + confirmations_required - 1 <= $2",
        "status = 'confirming' and block_height + confirmations_required <= $2",
    ),
    Planted(
        "the rewards of miners settle at once",
        "payments/settling.py",
        "replace(tier, blocks=max(needed, payment.maturity))",
        "replace(tier, blocks=needed)",
    ),
    Planted(
        "an update that was applied already is applied again",
        "flow/chain.py",
        "    if held.tip != position.tip:\n        return held\n    crashpoint",
        "    crashpoint",
    ),
    Planted(
        "another process follows with an old fence",
        "watch/store.py",
        "where id = $1 and fence = $2 returning {_POSITION}",
        "where id = $1 and fence >= $2 returning {_POSITION}",
    ),
    Planted(
        "late money counts as if it were in time",
        "invoices/parts.py",
        "if payment.first_seen_at <= terms.expires_at:",
        "if payment.first_seen_at <= terms.accepts_until:",
    ),
    Planted(
        "the price is filled by what may still be lost before what is settled",
        "invoices/parts.py",
        "sorted(parts, key=lambda part: not part.settled)",
        "sorted(parts, key=lambda part: part.settled)",
    ),
    Planted(
        "the first decision of a person holds, not the last",
        "invoices/rules.py",
        "decisions[-1] if decisions",
        "decisions[0] if decisions",
    ),
    Planted(
        "a change that is no new status is not told",
        "invoices/rules.py",
        '        return ("invoice.updated",)\n',
        "        return ()\n",
    ),
)
