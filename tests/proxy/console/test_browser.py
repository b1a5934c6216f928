"""The console in a browser: headless Chromium, at two widths, light and dark, with and without scripts.

``make console-test`` installs Playwright and runs this; Chromium comes from the distribution (``apt install chromium``).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.audit.entry import Entry
from proxy.review.item import State
from tests.proxy.console.conftest import TOKEN, Shop
from tests.proxy.console.shop import day, entry, flagged, record, request_id, verdict
from tests.proxy.console.test_pages import HOSTILE, everywhere

CHROMIUM = os.environ.get("SAFEGUARD_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

playwright = pytest.importorskip(
    "playwright.async_api", reason="Playwright is not installed: make console-test installs it"
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium found: install it, or set SAFEGUARD_CHROMIUM to its path"
)

PAGES = (
    "/console",
    f"/console/decision?id={request_id(60)}-input&content=shown",
    "/console/review?content=shown",
    "/console/exceptions",
    "/console/policies",
    "/console/policy?name=rival-fruit",
    "/console/guards",
    "/console/configuration",
    "/console/none",
)


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as tools:
        browser = await tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


class Window:
    """A browser's window that writes down what its pages complain about."""

    def __init__(self, shop: Shop, page: Any) -> None:
        self.shop = shop
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self._note(said))
        page.on("dialog", lambda dialog: self.complaints.append("a dialog"))

    def _note(self, said: Any) -> None:
        if said.type in ("error", "warning") and "status of 404" not in said.text:
            self.complaints.append(said.text)

    async def go(self, target: str) -> None:
        await self.page.goto(self.shop.url + target)

    async def sign_in(self, target: str = "/console") -> None:
        await self.go(target)
        await self.page.fill("#token", TOKEN)
        await self.page.keyboard.press("Enter")
        await self.page.wait_for_url(self.shop.url + target)


async def window(browser: Any, shop: Shop, **how: Any) -> Window:
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **how})
    return Window(shop, await context.new_page())


async def first_row(page: Any) -> str:
    return str(await page.get_attribute("#rows tr:first-child a", "href"))


def href(one: Entry) -> str:
    return f"/console/decision?id={one.decision_id}"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_fits_and_no_browser_complains(shop: Shop, browser: Any, width: int, scheme: str) -> None:
    await shop.keep(*day(60))
    shop.queue.add([flagged(n) for n in range(40)])
    shop.queue.add_exception(flagged(1).flagged[0], expires_us=shop.queue.clock() + 10**12, by="Ana", why="Ours.")
    at = await window(browser, shop, viewport={"width": width, "height": 844}, color_scheme=scheme)
    await at.sign_in()
    for target in PAGES:
        await at.go(target)
        assert await at.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{target} is too wide"
        paper = await at.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert at.complaints == []


async def test_signing_in_by_keyboard_leads_to_where_one_wanted_to_go_and_out_again(shop: Shop, browser: Any) -> None:
    at = await window(browser, shop)
    await at.go("/console/policies")
    await at.page.keyboard.type("another")  # the field has the focus
    await at.page.keyboard.press("Enter")
    await at.page.wait_for_selector("[role=alert]")
    await at.page.keyboard.type(TOKEN)
    await at.page.keyboard.press("Enter")
    await at.page.wait_for_url("**/console/policies")
    assert await at.page.evaluate("document.cookie") == ""
    await at.page.click("text=Sign out")
    await at.page.wait_for_url("**/console/login")
    await at.go("/console")
    assert "/console/login" in at.page.url


async def test_decisions_come_by_themselves_and_nothing_jumps(shop: Shop, browser: Any) -> None:
    await shop.keep(*day(60))
    at = await window(browser, shop)
    await at.sign_in()
    await at.page.wait_for_selector("[data-state=on]")
    columns = "[...document.querySelectorAll('thead th')].map(th => th.getBoundingClientRect().x)"
    before, height = await at.page.evaluate(columns), await at.page.evaluate("document.body.scrollHeight")
    new = entry(record(100, action="refuse", route="r" * 64, policies=["p" * 64], error="e" * 64))
    await shop.keep(new)
    await at.page.wait_for_selector(f'#rows tr:first-child a[href="{href(new)}"]')
    assert await at.page.evaluate(columns) == before
    assert await at.page.evaluate("document.body.scrollHeight") == height
    assert await at.page.locator("#rows tr").count() == 50
    assert at.complaints == []


async def test_rows_wait_while_somebody_points_at_them_or_has_paused(shop: Shop, browser: Any) -> None:
    await shop.keep(*day(5))
    at = await window(browser, shop)
    await at.sign_in()
    await at.page.wait_for_selector("[data-state=on]")
    first = await first_row(at.page)
    await at.page.hover("#rows tr:nth-child(2)")
    await shop.keep(entry(record(100)))
    await at.page.wait_for_selector("#live-state:has-text('1 new')")
    assert await first_row(at.page) == first
    await at.page.hover("h1")
    await at.page.wait_for_selector(f'#rows tr:first-child a[href="{href(entry(record(100)))}"]')
    await at.page.keyboard.press("p")
    await shop.keep(entry(record(101)))
    await at.page.wait_for_selector("#live-state:has-text('paused, 1 new')")
    await at.page.click("#pause")
    await at.page.hover("h1")
    await at.page.wait_for_selector(f'#rows tr:first-child a[href="{href(entry(record(101)))}"]')


async def test_keys_move_through_the_rows_and_open_one(shop: Shop, browser: Any) -> None:
    await shop.keep(*day(5))
    at = await window(browser, shop)
    await at.sign_in()
    for key in "jjk":
        await at.page.keyboard.press(key)
    wanted = await first_row(at.page)
    await at.page.keyboard.press("Enter")
    await at.page.wait_for_url(f"**{wanted}")


async def test_the_filter_stays_in_the_address_and_decides_what_comes(shop: Shop, browser: Any) -> None:
    await shop.keep(*day(60))
    at = await window(browser, shop)
    await at.sign_in()
    await at.page.select_option("select[name=action]", "refuse")
    await at.page.click("text=Filter")
    await at.page.wait_for_url("**/console?*action=refuse*")
    await at.page.wait_for_selector("[data-state=on]")
    wanted = entry(record(102, action="refuse"))
    await shop.keep(entry(record(101)), wanted)
    await at.page.wait_for_selector(f'#rows tr:first-child a[href="{href(wanted)}"]')
    assert set(await at.page.locator("#rows .action").all_inner_texts()) == {"refuse"}
    await at.page.reload()
    assert await at.page.input_value("select[name=action]") == "refuse"


async def test_a_threshold_is_moved_by_keyboard_and_says_at_once_what_would_change(shop: Shop, browser: Any) -> None:
    await shop.keep(*(entry(record(n, verdicts=[verdict("rival-fruit", "forward", 0.45)])) for n in range(7)))
    at = await window(browser, shop)
    await at.sign_in("/console/policy?name=rival-fruit")
    rule = at.page.locator("section.rule", has_text="input")
    await rule.locator("input[name=flag]").focus()
    for _ in range(6):
        await at.page.keyboard.press("ArrowLeft")
    await rule.locator(".change:has-text('newly flagged')").wait_for()
    assert (await rule.locator(".change summary").inner_text()).split() == ["7", "newly", "flagged"]
    assert await rule.locator("[data-tick=flag]").get_attribute("x1") == "88"
    assert await rule.locator(".value").first.inner_text() == "0.44"
    await rule.locator("button[type=reset]").click()
    await rule.locator("text=As configured.").wait_for()
    assert await rule.locator("[data-tick=flag]").get_attribute("x1") == "100"
    assert at.complaints == []


async def test_a_reviewer_needs_no_mouse(shop: Shop, browser: Any) -> None:
    one, two, three = shop.queue.add([flagged(n) for n in (1, 2, 3)])
    at = await window(browser, shop)
    await at.sign_in("/console/review")

    async def press(key: str, item: int) -> None:
        await at.page.keyboard.press(key)
        await at.page.wait_for_selector(f'section[aria-label="Item {item}"]')

    await press("j", two)
    await press("j", one)
    await press("k", two)
    await press("k", three)
    await at.page.keyboard.press("u")  # asks for the name first
    assert await at.page.evaluate("document.activeElement.name") == "reviewer"
    assert shop.queue.get(three).state is State.PENDING
    await at.page.keyboard.type("Ana")
    await at.page.keyboard.press("Tab")
    await at.page.keyboard.type("no pears, just plums")  # letters are letters in a note
    await at.page.keyboard.press("Tab")
    await press("u", two)
    item = shop.queue.get(three)
    assert (item.state, item.reviewer, item.note) == (State.UPHELD, "Ana", "no pears, just plums")
    await at.page.keyboard.press("e")
    assert await at.page.is_checked("[name=example]")
    await at.page.keyboard.press("e")
    await press("o", one)
    assert shop.queue.get(two).state is State.OVERTURNED
    await at.page.keyboard.press("x")
    await at.page.keyboard.press("Tab")
    await at.page.keyboard.type("7")
    await at.page.keyboard.press("Tab")
    await at.page.keyboard.press("Enter")
    await at.page.wait_for_selector("text=1 exception applies")
    await at.page.keyboard.press("c")
    await at.page.wait_for_selector("text=for a cake")
    await at.page.keyboard.press("s")
    await at.page.wait_for_selector("text=Nothing here.")
    assert shop.queue.get(one).state is State.UNSURE
    assert at.complaints == []


async def test_a_reviewer_needs_no_scripts(shop: Shop, browser: Any) -> None:
    one, two = shop.queue.add([flagged(n) for n in (1, 2)])
    at = await window(browser, shop, java_script_enabled=False)
    await at.sign_in("/console/review")
    await at.page.click("text=Show the content")
    assert await at.page.is_visible("text=for a cake")
    await at.page.fill("[name=reviewer]", "Ana")
    await at.page.click("button[value=overturned]")
    assert await at.page.is_visible(f'section[aria-label="Item {one}"]')
    assert shop.queue.get(two).state is State.OVERTURNED


async def test_hostile_words_run_nothing(shop: Shop, browser: Any) -> None:
    kept = {"keep": "full", "texts": [{"path": "x", "text": HOSTILE}], "rationales": {HOSTILE: HOSTILE}}
    await shop.keep(entry(everywhere(HOSTILE), kept))
    at = await window(browser, shop)
    await at.sign_in()
    await at.page.wait_for_selector("[data-state=on]")
    one = everywhere(HOSTILE)
    await shop.keep(entry({**one, "seq": one["seq"] + 1, "decision_id": "other-input"}))
    await at.page.wait_for_selector('a[href="/console/decision?id=other-input"]')
    await at.go(f"/console/decision?id={one['decision_id']}&content=shown")
    assert await at.page.locator("main img, main script").count() == 0
    assert at.complaints == []


async def test_without_scripts_every_page_works(shop: Shop, browser: Any) -> None:
    await shop.keep(*(entry(record(n, verdicts=[verdict("rival-fruit", "forward", 0.45)])) for n in range(60)))
    at = await window(browser, shop, java_script_enabled=False)
    await at.sign_in()
    assert not await at.page.is_visible("#pause")
    await at.page.click("text=Older")
    assert await at.page.locator("#rows tr").count() == 10
    await at.page.click("#rows a")
    assert await at.page.is_visible("text=Verdicts")
    await at.go("/console/policy?name=rival-fruit")
    await at.page.locator("input[name=flag]").first.press("PageDown")
    await at.page.locator(".submit").first.click()
    assert await at.page.is_visible("text=newly flagged")
    await at.page.click("text=Sign out")
    assert "/console/login" in at.page.url


async def test_everything_that_can_be_used_has_a_name(shop: Shop, browser: Any) -> None:
    await shop.keep(*day(60))
    shop.queue.add([flagged(n) for n in range(3)])
    shop.queue.add_exception(flagged(1).flagged[0], expires_us=shop.queue.clock() + 10**12, by="Ana", why="Ours.")
    at = await window(browser, shop)
    await at.sign_in()
    for target in PAGES:
        await at.go(target)
        nameless = await at.page.evaluate(
            "[...document.querySelectorAll('a, button, input:not([type=hidden]), select, [role=img]')].filter(e =>"
            " !(e.getAttribute('aria-label') || e.textContent.trim() || [...(e.labels || [])].some(l => l.textContent.trim())))"
            ".map(e => e.outerHTML)"
        )
        assert nameless == []
        assert await at.page.locator("h1").count() == 1
