"""Asks a source over HTTP. Nobody that we trust: every wait and every size is bounded, no redirect is followed."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

import aiohttp

from kassa import __version__
from kassa.core.clock import Clock
from kassa.core.errors import SourceInvalid, SourceUnavailable
from kassa.rates.model import Pair, Quote
from kassa.rates.rules import fault_of
from kassa.rates.sources import Source

ANSWER_SECONDS = 5
"""For one answer, from the look-up of the name to the last byte."""
ROUND_SECONDS = 15
"""For everything that a source is asked in one round."""
BODY_BYTES = 256 * 1024
LONGEST_RETRY_SECONDS = 3_600


@dataclass(slots=True)
class Report:
    """What came of asking one source: its quotes, the answers that were refused, the pairs that it does not trade.

    `failed` says why nothing came of it, or not everything in time; `retry_after` for how many seconds it wants to be
    left alone.
    """

    quotes: list[Quote] = field(default_factory=list)
    refused: dict[Pair, str] = field(default_factory=dict)
    absent: set[Pair] = field(default_factory=set)
    failed: str | None = None
    retry_after: int = 0


class Client:
    """One pool of connections to all sources."""

    def __init__(self, clock: Clock, max_deviation: Fraction) -> None:
        self._clock, self._max_deviation = clock, max_deviation
        # Questions that got no answer the last time: asked last, so that they cost no other pair its turn.
        self._silent: set[str] = set()
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_field_size=8192,
            headers={"User-Agent": f"Kassa/{__version__}", "Accept-Encoding": "identity"},
        )

    async def ask(self, source: Source, url: str, pairs: Iterable[Pair]) -> Report:
        """Ask a source for pairs that it can name, one answer after the other; never raises for what it does.

        A question that gets no answer costs no other its own, unless the source wants to be left alone.
        """
        report = Report()
        paths: dict[str, list[Pair]] = {}
        for pair in sorted(pairs):
            if (path := source.path(pair)) is not None:
                paths.setdefault(path, []).append(pair)
        urls = {url.rstrip("/") + path: asked for path, asked in paths.items()}
        faults: dict[str, SourceUnavailable] = {}
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                for each in sorted(urls, key=lambda each: each in self._silent):
                    if (fault := await self._answered(source, each, urls[each], report)) is not None:
                        faults[each] = fault
                        if fault.retry_after:
                            report.failed, report.retry_after = str(fault), fault.retry_after
                            break
        except TimeoutError:
            report.failed = f"it takes more than {ROUND_SECONDS} s to answer everything"
        self._silent = (self._silent - urls.keys()) | faults.keys()
        if faults and len(faults) == len(urls):
            report.failed = report.failed or str(next(iter(faults.values())))
        else:
            report.refused |= {pair: str(fault) for each, fault in faults.items() for pair in urls[each]}
        return report

    async def _answered(self, source: Source, url: str, pairs: list[Pair], report: Report) -> SourceUnavailable | None:
        try:
            await self._ask(source, url, pairs, report)
        except SourceUnavailable as fault:
            return fault
        return None

    async def _ask(self, source: Source, url: str, pairs: list[Pair], report: Report) -> None:
        asked_at = self._clock.now()
        try:
            status, body = await self._get(url)
        except SourceInvalid as fault:
            report.refused |= dict.fromkeys(pairs, str(fault))
            return
        if source.absent(status, body):
            report.absent |= set(pairs)
            return
        if status == 400:  # this question was wrong for it; the next may not be
            report.refused |= dict.fromkeys(pairs, f"it answers with status {status}")
            return
        if status != 200:
            raise SourceUnavailable(f"it answers with status {status}")
        now = self._clock.now()
        for pair in pairs:
            try:
                ticker = source.read(body, pair)
            except SourceInvalid as fault:
                report.refused[pair] = str(fault)
                continue
            if ticker is None:
                report.absent.add(pair)
            elif (wrong := fault_of(ticker, self._max_deviation, now)) is not None:
                report.refused[pair] = wrong
            else:
                # Without a time of the source's own: not younger than our question.
                at = min(ticker.at or asked_at, now)
                report.quotes.append(Quote(pair, source.name, ticker.bid, ticker.ask, ticker.price, at, now))

    async def _get(self, url: str) -> tuple[int, bytes]:
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                self._session.get(url, allow_redirects=False) as response,
            ):
                if response.status in (418, 429) or response.status >= 500:
                    said, wanted = f"it answers with status {response.status}", response.headers.get("Retry-After", "")
                    least = 1 if response.status < 500 else 0
                    raise SourceUnavailable(said, retry_after=max(least, _seconds(wanted)))
                return response.status, await _read(response)
        except TimeoutError:
            raise SourceUnavailable(f"no answer within {ANSWER_SECONDS} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise SourceUnavailable(f"{type(fault).__name__}: {fault}"[:200]) from None

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    kept = bytearray()
    while part := await response.content.read(BODY_BYTES):
        kept += part
        if len(kept) > BODY_BYTES:
            response.close()
            raise SourceInvalid(f"the answer is over {BODY_BYTES // 1024} KiB")
    return bytes(kept)


def _seconds(text: str) -> int:
    return min(int(text), LONGEST_RETRY_SECONDS) if text.isascii() and text.isdigit() and len(text) < 9 else 0
