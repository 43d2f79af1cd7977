"""Which markets there are to ask, and which of them a rate needs. Pure."""

from kassa.core.errors import Invalid
from kassa.core.money import currency
from kassa.rates.model import Pair, Policy

REFERENCE = "ecb"
"""The source of fiat currencies against the euro: a reference of the day, no market."""
ANCHOR = "EUR"
REFERENCE_CODES = tuple(
    "AUD BRL CAD CHF CNY CZK DKK GBP HKD HUF IDR ILS INR ISK JPY KRW MXN MYR NOK NZD PHP PLN RON SEK SGD THB TRY USD"
    " ZAR".split()
)
"""What the reference quotes against the euro: all in one file, so all are kept, whatever a store orders in tomorrow."""
_COINS = ("BTC", "LTC", "ETH", "USDC", "USDT", "XAU", "XAG")
PEGS = {"DAI": "USD", "USDC": "USD", "USDT": "USD"}
"""What stable coins promise to be worth one of. Nothing is priced by it: it says when to raise an alarm."""
_AS_QUOTE = {"ETH": 1, "BTC": 2, "USDC": 3, "USDT": 4}
# Markets name the more money-like side last: LTC/BTC, BTC/USDC, USDC/USDT, anything/USD, and EUR/USD.


def is_fiat(code: str) -> bool:
    """Tell whether a code is a state's money. A stable coin is not: it has a market of its own."""
    if code in _COINS:
        return False
    try:
        return bool(currency(code))
    except Invalid:
        return False


def market(one: str, other: str) -> Pair:
    """Return the pair in the direction in which markets name it."""
    first, second = sorted((one, other), key=lambda code: (_rank(code), code))
    return Pair(first, second)


def needed(base: str, quote: str, policy: Policy) -> set[Pair]:
    """Return every market pair that may go into the rate of a pair: its own, and those through each pivot."""
    if base == quote or f"{base}/{quote}" in policy.fixed:
        return set()
    steps = [(base, quote)]
    for pivot in policy.pivots:
        if pivot not in (base, quote):
            steps += [(base, pivot), (pivot, quote)]
    return {pair for step in steps for pair in _markets(*step, policy)}


def _markets(base: str, quote: str, policy: Policy) -> list[Pair]:
    if f"{base}/{quote}" in policy.fixed or f"{quote}/{base}" in policy.fixed:
        return []
    if is_fiat(base) and is_fiat(quote):
        return [market(ANCHOR, code) for code in (base, quote) if code != ANCHOR]
    return [market(base, quote)]


def _rank(code: str) -> int:
    if is_fiat(code):
        return 5 if code == ANCHOR else 6
    return _AS_QUOTE.get(code, 0)
