"""Whether everybody can use a page: by eye, keyboard and thumb, on the smallest phone, with letters twice as large."""

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

SMALLEST = {"width": 320, "height": 640}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_TARGET = 24  # px a side, WCAG 2.5.8

_REACHABLE = """[...document.querySelectorAll(
    "a[href], button:enabled, summary, input:enabled:not([type=hidden]), [tabindex='0']")]
    .filter((one) => one.checkVisibility({ visibilityProperty: true }))"""
_SMALL = f"""{_REACHABLE}.map((one) => [one, one.getBoundingClientRect()])
    .filter(([, box]) => box.width < {_TARGET} || box.height < {_TARGET})
    .map(([one, box]) => `${{one.textContent.trim().slice(0, 40)}} is ${{box.width}} x ${{box.height}}`)"""
_CUT = """(() => {
  const wide = document.documentElement.scrollWidth - innerWidth, wrong = wide > 0 ? [`${wide} px too wide`] : [];
  for (const one of document.querySelectorAll("main *")) {
    if (one.closest(".hidden, svg") || !one.checkVisibility()) continue;
    const cut = getComputedStyle(one).overflowX !== "visible" && one.scrollWidth > one.clientWidth + 1;
    const box = one.getBoundingClientRect(), beyond = box.right > innerWidth + 1 || box.left < -1;
    if (cut || beyond) wrong.push(`${cut ? "cut off" : "beyond the edge"}: ${one.textContent.trim().slice(0, 40)}`);
  }
  return wrong;
})()"""
_HERE = f"""(() => {{
  const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const top = document.elementFromPoint(box.left + box.width / 2, box.top + Math.min(box.height / 2, 8));
  const covered = top && one !== document.body && !one.contains(top) && !top.contains(one);
  return [{_REACHABLE}.indexOf(one), seen, !covered];
}})()"""


async def usable(page: Page) -> None:
    """Check a page that is shown: WCAG's rules in light and dark, reflow, larger letters, targets, keyboard."""
    before = page.viewport_size
    assert before is not None
    wrong = await _broken_rules(page)
    await page.emulate_media(color_scheme="dark")
    wrong += await _broken_rules(page, "color-contrast")
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size(SMALLEST)  # type: ignore[arg-type]
    wrong += [f"at 320 px: {each}" for each in await page.evaluate(_CUT)]
    wrong += await page.evaluate(_SMALL)
    wrong += await _lost_by_keyboard(page)
    # As somebody who set letters of twice the size in their browser sees it.
    await page.evaluate("document.documentElement.style.fontSize = '200%'")
    size = await page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")
    wrong += [] if size >= 32 else [f"letters stay at {size} px"]
    wrong += [f"with large letters: {each}" for each in await page.evaluate(_CUT)]
    await page.evaluate("document.documentElement.style.fontSize = ''")
    await page.set_viewport_size(before)
    assert wrong == [], "\n".join(wrong)


async def _broken_rules(page: Page, *only: str) -> list[str]:
    run = {"type": "rule", "values": list(only)} if only else {"type": "tag", "values": RULES}
    found = (await Axe().run(page, options={"runOnly": run, "resultTypes": ["violations"]})).response["violations"]
    return [f"{each['id']}: {node['html'][:160]}" for each in found for node in each["nodes"]]


async def _lost_by_keyboard(page: Page) -> list[str]:
    """Go through a page by the tabulator alone; return what is not reached in order, or shows no sign of it."""
    # From the top: without it, the tabulator goes on from what was clicked last.
    await page.evaluate("document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')")
    many = await page.evaluate(f"{_REACHABLE}.length")
    wrong: list[str] = []
    for place in range(many):
        await page.keyboard.press("Tab")
        at, marked, uncovered = await page.evaluate(_HERE)
        if at != place:
            wrong.append(f"the tabulator leads to {at}, not to {place} of {many}")
        elif not marked:
            wrong.append(f"{place} of {many} does not show that it has the focus")
        elif not uncovered:
            wrong.append(f"{place} of {many} has the focus and is covered")
    return wrong
