"""The status page of a proxy before the broken mirror, as a browser shows it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from docs.pictures.broken import WANTED
from docs.pictures.recordings import Bench, locked, mirrormend, spoiled
from docs.pictures.terminal import Terminal
from tests.browser import QUIET, find_chromium

DESKTOP, PHONE = 1120, 390
"""Widths in pixels."""

PROJECT = "tornado"
_COLOURS = 256
_APART = 60.0
"""Seconds between the locks of two clients, so that the chart has more than one bar."""


def photograph(bench: Bench, folder: Path, apart: float = _APART) -> None:
    """Writes the pictures of the overview and of one project into `folder`, after three clients locked, `apart` seconds from each other."""
    with spoiled(bench) as project, Terminal(project, bench.environment, 100) as terminal:
        serve = mirrormend("serve", "--upstream", bench.simple, "--listen", bench.listen, "--store", "memory")
        with terminal.background("", serve, bench.proxy):
            for number, wanted in enumerate((WANTED[:2], WANTED[2:6], WANTED)):
                if number:
                    time.sleep(apart)
                locked(bench, f"client-{number}", wanted, f"http://{bench.listen}/simple/")
            with _browsing(f"http://{bench.listen}/") as (desktop, phone):
                _shoot(desktop, "", folder / "status.png", until="details")
                _shoot(phone, "", folder / "status-phone.png", until="#over-time")
                _shoot(desktop, f"?project={PROJECT}", folder / "project.png")
                _shoot(phone, f"?project={PROJECT}", folder / "project-phone.png")


def _shoot(page: Page, path: str, target: Path, until: str = "") -> None:
    """Takes the page from its top to the element that `until` selects, or to its end."""
    page.goto(path)
    if page.locator("td .dropped").count():
        # On a phone the table is wider than the screen.
        page.locator("td .dropped").first.scroll_into_view_if_needed()
    end = page.locator(until).bounding_box() if until else None
    height = int(end["y"]) if end else page.evaluate("document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": height}
    taken = Image.open(BytesIO(page.screenshot(full_page=True, clip=clip))).convert("RGB")
    # The shades at the edges of letters need no more colours; the file is a third of what it was.
    taken.quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(target, optimize=True)


@contextmanager
def _browsing(base: str) -> Iterator[Sequence[Page]]:
    found = find_chromium()
    if found is None:
        raise RuntimeError("Chromium is not installed (Debian, Ubuntu: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield [browser.new_page(base_url=base, viewport={"width": width, "height": 700}) for width in (DESKTOP, PHONE)]
        browser.close()
