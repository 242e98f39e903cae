"""The status page in a real Chromium, as somebody sees and uses it: with and without JavaScript, by keyboard, on a phone, in the dark."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser import QUIET, find_chromium
from tests.clients import ProxyProcess
from tests.faults import artifactory_404
from tests.mirror import BrokenMirror

MAC = "demo-2.0-cp312-cp312-macosx_11_0_arm64.whl"
LINUX = "demo-2.0-cp312-cp312-manylinux_2_28_x86_64.whl"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    found = find_chromium()
    if found is None:
        pytest.fail("Chromium is not installed, and these tests need the real one (Debian, Ubuntu: apt install chromium)")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=found, args=QUIET)
        yield running
        await running.close()


@pytest.fixture
async def proxy(mirror: BrokenMirror, tmp_path: Path) -> AsyncIterator[ProxyProcess]:
    """The proxy before a mirror that lists a macOS wheel which it cannot deliver."""
    for name in (MAC, LINUX, "demo-1.0-py3-none-any.whl", "demo-2.0.tar.gz"):
        mirror.add(name)
    mirror.fault(MAC, artifactory_404())
    async with ProxyProcess(mirror.url, tmp_path) as running:
        yield running


async def opened(browser: Browser, address: str, *, width: int = 1280, scripts: bool = True, dark: bool = False) -> tuple[Page, list[str]]:
    """Opens a page; gives it, and what went wrong on it so far."""
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, java_script_enabled=scripts, color_scheme="dark" if dark else "light"
    )
    page = await context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("request", lambda request: None if request.url.startswith(address) else wrong.append(request.url))
    await page.goto(f"{address}/")
    return page, wrong


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_somebody_looks_a_project_up_sees_what_is_missing_and_has_it_verified_again(
    proxy: ProxyProcess, mirror: BrokenMirror, browser: Browser, scripts: bool
) -> None:
    page, wrong = await opened(browser, proxy.url, scripts=scripts)
    await page.get_by_label("Project").fill("demo")
    await page.get_by_role("button", name="Look up").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="2.0"))
    await expect(row).to_contain_text("dropped")
    await expect(page.get_by_role("region", name="Why")).to_contain_text(MAC)

    await page.get_by_role("link", name="all projects").click()
    await expect(page.get_by_role("region", name="What was mended lately")).to_contain_text(MAC)
    await page.get_by_role("link", name="demo").click()

    mirror.heal()
    await page.get_by_role("button", name="Verify again").click()
    await expect(row).not_to_contain_text("dropped")
    await expect(page.get_by_text("4 files are listed, 0 were dropped")).to_be_visible()
    assert wrong == []


async def test_the_keyboard_is_enough(proxy: ProxyProcess, browser: Browser) -> None:
    page, _ = await opened(browser, proxy.url)
    await page.get_by_label("Project").focus()
    await page.keyboard.type("demo")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Look up")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="demo")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
async def test_it_fits_the_screen_and_its_words_can_be_read(proxy: ProxyProcess, browser: Browser, width: int, dark: bool) -> None:
    page, wrong = await opened(browser, proxy.url, width=width, dark=dark)
    for path in ("/?project=demo", "/"):
        await page.goto(f"{proxy.url}{path}")
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is wider than the screen"
        faint = await page.evaluate(CONTRASTS)
        assert faint == []
    assert wrong == []


# The contrast of each text with what is behind it, as WCAG 2 defines it; below 4.5 it fails level AA.
CONTRASTS = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => channels(colour).slice(0, 3).map((value) => value / 255)
    .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
    .filter((element) => !(element instanceof SVGElement))
    .map((element) => [element.textContent.trim().slice(0, 40), light(getComputedStyle(element).color), light(behind(element))])
    .map(([text, one, other]) => [text, (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)])
    .filter(([, contrast]) => contrast < 4.5);
}"""
