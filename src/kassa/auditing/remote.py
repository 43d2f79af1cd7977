"""Prove from another machine that what payers are shown comes from the merchant's own key.

Nothing of what the server says about wallets is believed: the addresses are derived here, from the descriptor that the
merchant brings, and compared with what a payer's browser is sent. No database, no settings.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

import aiohttp
import msgspec

from kassa.chains.base import Chain
from kassa.chains.registry import FAMILIES
from kassa.core.errors import FieldFault, Invalid
from kassa.links.proof import MAX_BITS, Challenge, find

BEYOND, DEEPEST = 1_000, 1_000_000
PAGE = 100
MAX_ANSWER = 4_194_304
SECONDS = 20

# What a page is read for: its text, the values of its copy buttons, payment links, and calls for browser wallets.
_TAG = re.compile(r"<[^>]*>")
_PLACES = re.compile(
    r'data-copy="([^"]+)"|(?:bitcoin|litecoin):([0-9A-Za-z]{20,100})|ethereum:(0x[0-9a-fA-F]{40})@[0-9]+\?value'
    r"|[?&;]address=(0x[0-9a-fA-F]{40})|a9059cbb0{24}([0-9a-fA-F]{40})"
)
_TOKEN = re.compile(r'name="token" value="([^"]{1,200})"')
_BITS, _CHALLENGE = re.compile(r'data-bits="([0-9]{1,2})"'), re.compile(r'name="challenge" value="([^"]{1,200})"')
_INVOICE = re.compile(r"/i/(inv_[0-9A-Za-z]{1,60})")
_WORD = re.compile(r"[0-9A-Za-z]{20,100}")
Row = TypeVar("Row")


class _Ordered(msgspec.Struct, frozen=True):
    id: str


class _Wallet(msgspec.Struct, frozen=True):
    id: str
    network: str
    retired_at: str | None


class _Issued(msgspec.Struct, frozen=True):
    index: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    address: str | None


class _Page(msgspec.Struct, Generic[Row], frozen=True):
    data: list[Row]
    next_cursor: str | None


class _Option(msgspec.Struct, frozen=True):
    network: str
    asset: str
    address: str | None
    withheld: str | None = None


class _Public(msgspec.Struct, frozen=True):
    status: str
    payment_options: list[_Option]


@dataclass(slots=True)
class Found:
    """What came of it."""

    checked: int = 0
    foreign: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:  # JSON
        return {"checked": self.checked, "foreign": self.foreign, "trouble": self.trouble}


@dataclass(frozen=True, slots=True)
class Claim:
    """The merchant's own knowledge: a network's name, its chain, the descriptors, and how many indexes to try of each.

    Several, where wallets were changed: what the former ones issued stays, and is still the merchant's.
    """

    network: str
    chain: Chain
    descriptors: tuple[str, ...]
    depth: int

    def addresses(self, highest: int | None) -> frozenset[bytes]:
        """Derive the merchant's addresses, to some way beyond the highest index that the server says it issued, if any.

        It can say what it likes of that: no index makes an address of the merchant's out of another's.
        """
        depth = self.depth if highest is None else max(self.depth, min(highest + BEYOND, DEEPEST))
        return frozenset(self.at(descriptor, n)[1] for descriptor in self.descriptors for n in range(depth))

    def at(self, descriptor: str, index: int) -> tuple[str, bytes]:
        """Return the address of an index, as text and as script."""
        derived = self.chain.addresses.derive(descriptor, index)
        return derived.text, derived.script

    def parsed(self, text: str) -> bytes | None:
        """Return the bytes of an address of this network; None for a text that is none."""
        try:
            return self.chain.addresses.parse(text)
        except Invalid:
            return None


def claim(network: str, chain_name: str, descriptors: Sequence[str], depth: int) -> Claim:
    """Read what the merchant brings; raises `Invalid`."""
    family = next((family for family in FAMILIES.values() if chain_name in family.chains), None)
    if family is None:
        known = ", ".join(sorted({name for each in FAMILIES.values() for name in each.chains}))
        raise Invalid(FieldFault("chain", f"{chain_name!r} is unknown; known: {known}"))
    chain = family.chain(chain_name, network, ())
    return Claim(network, chain, tuple(chain.addresses.account(each).descriptor for each in descriptors), depth)


async def audit(
    url: str, brought: Claim, *, key: str | None, invoices: Sequence[str], most: int, links: Sequence[str] = ()
) -> Found:
    """Look at invoices as their payers do (the newest `most`, with a key) and at the list of issued addresses.

    Of each payment link a canary is ordered first: an invoice that the server has no reason to think is watched.
    """
    found, highest = Found(), None
    if re.fullmatch(r"https?://[^/?#\s]+/?", url) is None:
        raise Invalid(FieldFault("url", f"{url[:200]!r} must be a host's address such as https://pay.example.com"))
    if key is None and not invoices and not links:
        found.trouble.append("there is nothing to look at: name --invoice or --link, or give --key")
    async with _session(url) as payer, _session(url, key) as merchant:
        named = [*invoices, *[each for link in links if (each := await _canary(payer, link, found)) is not None]]
        newest: list[str] = []
        if key is not None:
            newest = [each.id async for each in _listed(merchant, "/v1/invoices", most, _Ordered)]
            highest = await _check_issued(merchant, brought, found)
        own = await asyncio.to_thread(brought.addresses, highest)
        for id_ in dict.fromkeys([*named, *newest]):
            # Without the key: a server must not know that it is us.
            await _check_page(payer, id_, brought, own, found, named=id_ in named)
    return found


async def _canary(payer: aiohttp.ClientSession, link: str, found: Found) -> str | None:
    """Order by a payment link as a payer does who presses its button; return the invoice."""
    path = f"/l/{link}"
    _, page = await _text(payer, path, {})
    token = _TOKEN.search(page)
    made = None if token is None else _INVOICE.search(await _pressed(payer, path, {"token": token[1]}))
    if made is None:
        found.trouble.append(f"{link}: nothing could be ordered; it needs a fixed amount, and to be open")
        return None
    return made[1]


async def _pressed(payer: aiohttp.ClientSession, path: str, form: dict[str, str]) -> str:
    """Press the button, and again with a proof where work is asked for; return where the server sends its payer."""
    place, page = await _sent(payer, path, form)
    bits, text = _BITS.search(page), _CHALLENGE.search(page)
    if bits is None or text is None or int(bits[1]) > MAX_BITS:
        return place
    number = await asyncio.to_thread(find, Challenge(text[1], int(bits[1])))
    place, _ = await _sent(payer, path, form | {"challenge": text[1], "proof": number})
    return place


async def _check_issued(merchant: aiohttp.ClientSession, brought: Claim, found: Found) -> int | None:
    """Compare the list of what was issued; return the highest index in it."""
    highest: int | None = None
    wallets = [each async for each in _listed(merchant, "/v1/wallets", 1_000, _Wallet)]
    mine = [each for each in wallets if each.network == brought.network]
    if not mine:
        found.trouble.append(f"the store has no wallet on {brought.network}")
    for wallet in mine:
        async for each in _listed(merchant, f"/v1/wallets/{wallet.id}/addresses", 2**31, _Issued):
            where = f"{wallet.id} index {each.index}"
            if each.address is None:
                found.trouble.append(f"{where}: the server itself withholds this address")
                continue
            highest = each.index if highest is None else max(highest, each.index)
            right = [brought.at(descriptor, each.index)[0] for descriptor in brought.descriptors]
            hint = "" if wallet.retired_at is None else " (of a wallet that was replaced: bring its descriptor too)"
            _note(found, where, each.address, good=each.address in right, hint=hint)
    return highest


async def _check_page(
    payer: aiohttp.ClientSession, invoice: str, brought: Claim, own: frozenset[bytes], found: Found, *, named: bool
) -> None:
    public = await _first_event(payer, f"/i/{invoice}/stream")
    options = [] if public is None else [o for o in public.payment_options if o.network == brought.network]
    if not options:
        # An order in another coin is nothing unusual; but whatever its page shows must be the merchant's.
        status, text = await _text(payer, f"/i/{invoice}", {})
        if named or public is None:
            found.trouble.append(f"{invoice}: nothing is offered on {brought.network} (status {status})")
        for address in _addresses_in(text, brought):
            _note(found, invoice, address, good=brought.parsed(address) in own)
    for option in options:
        if option.address is None:
            found.trouble.append(f"{invoice}: the address is withheld ({option.withheld})")
            continue
        status, text = await _text(payer, f"/i/{invoice}", {"asset": option.asset})
        shown = list(_addresses_in(text, brought))
        if status != 200 or (public is not None and public.status == "new" and not shown):
            found.trouble.append(f"{invoice}: the page shows no address (status {status})")
        for address in dict.fromkeys([option.address, *shown]):
            _note(found, invoice, address, good=brought.parsed(address) in own)


def _addresses_in(page: str, brought: Claim) -> Iterable[str]:
    """Return every text on a page that is an address of the network, wherever it stands."""
    words = _WORD.findall(_TAG.sub("", page))
    places = [next(filter(None, match.groups())) for match in _PLACES.finditer(page)]
    places = [f"0x{place}" if re.fullmatch(r"[0-9a-fA-F]{40}", place) else place for place in places]
    return [word for word in dict.fromkeys([*words, *places]) if brought.parsed(word) is not None]


def _note(found: Found, where: str, address: str, *, good: bool, hint: str = "") -> None:
    found.checked += 1
    if not good:
        found.foreign.append(f"{where}: {address}{hint}")


@asynccontextmanager
async def _session(url: str, key: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    limit = aiohttp.ClientTimeout(total=SECONDS)
    jar = aiohttp.CookieJar(unsafe=True)  # a server may be named by its number
    async with aiohttp.ClientSession(url.rstrip("/") + "/", headers=headers, timeout=limit, cookie_jar=jar) as session:
        yield session


async def _listed(session: aiohttp.ClientSession, path: str, most: int, row: type[Row]) -> AsyncIterator[Row]:
    cursor, given = "", 0
    while True:
        status, text = await _text(session, path, {"limit": str(PAGE)} | ({"cursor": cursor} if cursor else {}))
        if status != 200:
            raise Invalid(FieldFault("url", f"{path} answered {status}; with --key, it must be a key that may read it"))
        try:
            page: _Page[Row] = msgspec.json.decode(text, type=_Page[row])  # type: ignore[valid-type]  # of the caller
        except msgspec.DecodeError as fault:
            raise Invalid(FieldFault("url", f"{path} did not answer as Kassa does: {fault}")) from fault
        for each in page.data:
            if given == most:
                return
            given += 1
            yield each
        if not page.next_cursor:
            return
        cursor = page.next_cursor


async def _text(session: aiohttp.ClientSession, path: str, query: dict[str, str]) -> tuple[int, str]:
    try:
        async with session.get(path.lstrip("/"), params=query, allow_redirects=False) as answer:
            return answer.status, await _body(answer)
    except (aiohttp.ClientError, TimeoutError) as fault:
        raise Invalid(FieldFault("url", f"{path} cannot be read: {type(fault).__name__}")) from fault


async def _body(answer: aiohttp.ClientResponse) -> str:
    body = await answer.content.read(MAX_ANSWER)
    while not answer.content.at_eof() and len(body) < MAX_ANSWER:
        body += await answer.content.read(MAX_ANSWER - len(body))
    return body.decode("utf-8", "replace")


async def _sent(session: aiohttp.ClientSession, path: str, form: dict[str, str]) -> tuple[str, str]:
    """Send a form; return where the server sends its sender then, and the page that it shows."""
    try:
        async with session.post(path.lstrip("/"), data=form, allow_redirects=False) as answer:
            return answer.headers.get("location", ""), await _body(answer)
    except (aiohttp.ClientError, TimeoutError) as fault:
        raise Invalid(FieldFault("url", f"{path} cannot be used: {type(fault).__name__}")) from fault


async def _first_event(session: aiohttp.ClientSession, path: str) -> _Public | None:
    try:
        async with session.get(path.lstrip("/"), allow_redirects=False) as answer:
            async for line in answer.content:
                if line.startswith(b"data:"):
                    return msgspec.json.decode(line[5:], type=_Public)
    except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.DecodeError):
        return None
    return None
