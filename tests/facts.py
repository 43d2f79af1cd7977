"""What a database knows, as plain rows: what the oracle judges by."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from tests.sim.reference import expected_invoice

Rows = list[Any]  # asyncpg records


@dataclass(frozen=True)
class Facts:
    invoices: dict[str, dict[str, Any]]
    options: dict[str, dict[str, dict[str, Any]]]
    payments: dict[str, Rows]
    spends: dict[str, Rows]
    deposits: Rows
    decisions: dict[str, list[str]]
    networks: dict[str, tuple[int, datetime, int]]
    given: dict[str, list[str]]

    def expected(self, invoice: str, now: datetime) -> dict[str, Any]:
        networks = {option["network"]: self.networks[option["network"]] for option in self.options[invoice].values()}
        return expected_invoice(
            self.invoices[invoice],
            self.options[invoice],
            self.payments.get(invoice, ()),
            self.spends.get(invoice, ()),
            self.decisions.get(invoice, ()),
            networks,
            now,
            self.given.get(invoice, ()),
        )

    def observed(self, invoice: str) -> datetime:
        return min(self.networks[option["network"]][1] for option in self.options[invoice].values())

    def value(self, units: int, invoice: str, row: Mapping[str, Any]) -> int:
        """Return what units of a payment's asset are worth in cents, where store and invoice are in EUR; half-even."""
        option = self.options[invoice][row["asset"]]
        exact = Fraction(units, 10 ** option["decimals"]) * Fraction(row["late_rate"] or option["rate"]) * 100
        below = exact.numerator // exact.denominator
        rest = exact - below
        return below + (1 if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2) else 0)
