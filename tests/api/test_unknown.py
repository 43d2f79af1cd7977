"""Where nothing is served: a page for whoever looks with a browser, a problem for every program."""

from collections.abc import AsyncIterator

import pytest

from kassa.api.incoming import prefers_html
from kassa.checkout import pages as checkout
from kassa.dashboard import app as dashboard
from kassa.house import House
from tests.api.served import Answer, Caller, Served, serve
from tests.house import add_store

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}


@pytest.fixture
async def everything(house: House) -> AsyncIterator[Served]:
    """The house with all its pages."""
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    pages = [*checkout.handlers(house), *dashboard.handlers(house)]
    async with serve(house, store, pages, dashboard.unknown) as running:
        yield running


@pytest.fixture
def anyone(everything: Served) -> Caller:
    return everything.caller(None)


def is_page(answer: Answer, status: int) -> bool:
    headers = answer.headers
    assert headers["content-type"].startswith("text/html")  # type: ignore[index,call-overload]
    assert headers["cache-control"] == "no-store"  # type: ignore[index,call-overload]
    assert headers["vary"] == "accept, accept-encoding, accept-language"  # type: ignore[index,call-overload]
    policy = headers["content-security-policy"]  # type: ignore[index,call-overload]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    return answer.status == status


@pytest.mark.parametrize(
    "path", ["/i/x/y", "/dashbord", "/stores/x/y/z", "/dashboard/a/b/c/d", "/health", "/v2/invoices", "//v1/x"]
)
async def test_a_browser_is_shown_a_page_in_its_language(anyone: Caller, path: str) -> None:
    english = await anyone.get(path, headers=BROWSER)
    german = await anyone.get(path, headers=BROWSER | {"accept-language": "de"})

    assert is_page(english, 404)
    assert b"There is no such page" in english.body
    assert "Diese Seite gibt es nicht" in german.body.decode()


async def test_the_root_leads_a_browser_to_the_dashboard(anyone: Caller) -> None:
    for method in ("GET", "HEAD"):
        answer = await anyone.send(method, "/", headers=BROWSER)
        assert is_page(answer, 303)
        assert answer.headers["location"] == "/dashboard"  # type: ignore[index,call-overload]
    assert (await anyone.send("POST", "/", headers=BROWSER)).code == "not_found"


async def test_who_only_asks_whether_there_is_a_page_gets_no_body(anyone: Caller) -> None:
    answer = await anyone.send("HEAD", "/dashbord", headers=BROWSER)

    assert is_page(answer, 404)
    assert answer.body == b""


async def test_a_form_s_address_says_which_methods_it_takes(anyone: Caller) -> None:
    shown = await anyone.get("/dashboard/sign-out", headers=BROWSER)
    told = await anyone.get("/dashboard/sign-out")

    assert is_page(shown, 405)
    assert (told.status, told.code) == (405, "method_not_allowed")
    for answer in (shown, told):
        assert set(answer.headers["allow"].split(", ")) == {"POST", "OPTIONS"}  # type: ignore[index,call-overload]


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html;q=0.1, application/json", "image/*"])
async def test_a_program_is_told_the_problem(anyone: Caller, accept: str | None) -> None:
    for path in ("/", "/dashbord", "/i/x/y"):
        answer = await anyone.get(path, headers={} if accept is None else {"accept": accept})
        assert (answer.status, answer.code) == (404, "not_found")
        assert answer.headers["vary"] == "accept"  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1"), ("GET", "/v1/nothing"), ("GET", "/v1/invoices/x/y/z"), ("POST", "/dashbord"), ("PUT", "/i/x/y")],
)
async def test_the_api_and_whatever_is_no_look_stay_as_they_are(anyone: Caller, method: str, path: str) -> None:
    answer = await anyone.send(method, path, headers=BROWSER)

    assert (answer.status, answer.code) == (404, "not_found")
    assert "vary" not in answer.headers


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/html", True),
        ("TEXT/HTML ; charset=utf-8 ; q=0.5, */*", True),
        ("application/json, text/html", False),  # as much
        ("application/problem+json;q=0.4, text/html;q=0.5", True),
        ("text/html;q=0", False),
        ("text/html;q=inf", False),
        ("text/html;q=nan", False),
        ("text/html;q=", False),
        ("text/*, */*", False),
        ("", False),
        (",;,=;q=1," + "x" * 9_000, False),
    ],
)
def test_what_is_preferred_follows_from_the_weights(accept: str, expected: bool) -> None:
    assert prefers_html(accept) == expected
