"""The browser of these tests is real, and its faults are seen."""

from playwright.async_api import Page

from tests.browser.conftest import Faults


async def test_an_error_in_a_page_is_seen(page: Page, faults: Faults) -> None:
    await page.goto("data:text/html,<title>x</title><script>throw new Error('planted')</script>")

    assert await page.title() == "x"
    assert any("planted" in fault for fault in faults.seen)
    faults.seen.clear()
