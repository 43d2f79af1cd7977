"""What happens at the end of an invoice's countdown, as its policy says. Pure: from its terms to what the page says."""

from fractions import Fraction

from kassa.checkout.languages import Language
from kassa.invoices.model import Terms
from kassa.invoices.policy import Short


def ending(terms: Terms, paid: Fraction, said: Language) -> tuple[str, ...]:
    """Say what becomes of the price, of late payments and of a part, for an invoice that is not fully paid.

    `paid` is the share of the price that has come in time.
    """
    return _lateness(terms, paid, said), _fate(terms, paid, said)


def _lateness(terms: Terms, paid: Fraction, said: Language) -> str:
    if terms.policy.late_grace_seconds > 0:
        return said.say(
            "Please pay before then. What the network shows later is still accepted until {time} "
            "if the exchange rate has changed by {percent} at most.",
            time=said.time(terms.accepts_until),
            percent=said.percent(terms.policy.late_rate),
        )
    if paid > 0:
        return said.say("After that please send nothing more.")
    return said.say("After that please do not pay any more: ask the shop for a new invoice.")


def _fate(terms: Terms, paid: Fraction, said: Language) -> str:
    short, part = terms.policy.short, paid > 0
    match short:
        case Short.ACCEPT if part and paid >= 1 - terms.policy.short_limit:
            return said.say("If nothing more comes by then, what has arrived is accepted as the full price.")
        case Short.CREDIT if part:
            return said.say(
                "If the rest is still missing then, what has arrived is kept as credit in your account with the shop."
            )
        case Short.CREDIT:
            return said.say("What comes later is kept as credit in your account with the shop.")
    if part:
        return said.say("If the rest is still missing then, the shop decides about what has arrived.")
    return said.say("What comes later is recorded, and the shop decides about it.")
