"""The page in a real Chromium with the network cut."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.made import CLASSES, N

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PHONE, DESK = (360, 800), (1280, 900)


class Sheet:
    """An open page and everything it did that it should not have done."""

    def __init__(self, tab: Any) -> None:
        self.tab = tab
        self.complaints: list[str] = []
        tab.on("console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("dialog", lambda box: self.complaints.append(f"dialog {box.message}"))
        tab.on("request", lambda asked: self._asked(asked.url))

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.complaints.append(f"request {url}")

    def read(self) -> None:
        """Scroll through it as a reader does, so that everything is drawn."""
        place, height = 0, self.tab.evaluate("innerHeight")
        while place < self.tab.evaluate("document.documentElement.scrollHeight"):
            self.tab.evaluate(f"scrollTo({{top: {place}, behavior: 'instant'}})")
            self.tab.wait_for_timeout(40)
            place += height
        # Not wait_for_function: the page's policy forbids evaluating strings, also to a test.
        for _ in range(100):
            if self.tab.locator(".plot svg").count() == self.tab.locator(".plot").count():
                return
            self.tab.wait_for_timeout(50)
        raise AssertionError("not every chart was drawn")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install Debian's `chromium` to run the browser tests")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def opened(browser: Any, page: Path, size: tuple[int, int], scheme: str = "light") -> Sheet:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, offline=True, accept_downloads=True
    )
    sheet = Sheet(context.new_page())
    sheet.tab.goto(page.as_uri())
    return sheet


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "light"), (DESK, "dark")])
def test_it_draws_everything_and_asks_for_nothing(browser: Any, page: Path, size: Any, scheme: str) -> None:
    sheet = opened(browser, page, size, scheme)
    sheet.read()
    tab = sheet.tab
    assert tab.locator(".plot svg").count() >= 15
    empty = "[...document.querySelectorAll('.plot')].filter(p => !p.querySelector('.role-mark path, .role-mark line'))"
    assert tab.evaluate(f"{empty}.length") == 0
    broken = "[...document.images].filter(i => i.checkVisibility() && (!i.complete || !i.naturalWidth)).length"
    assert tab.evaluate(broken) == 0
    assert tab.evaluate("[...document.images].filter(i => i.checkVisibility()).length") > 10
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert tab.title().startswith("Made up <script>")
    assert sheet.complaints == []


def test_a_confusion_cell_opens_its_images_and_escape_closes(browser: Any, page: Path) -> None:
    sheet = opened(browser, page, DESK)
    tab = sheet.tab
    cell = tab.locator("button[data-cell='0,0,0']")
    count = int(cell.inner_text())
    cell.focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("dialog[open] canvas")
    assert tab.locator("dialog canvas").count() == count
    assert CLASSES[0] in tab.locator("dialog h2").inner_text()
    inked = """[...document.querySelectorAll('dialog canvas')].every(c =>
        c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 < 3 && v > 0))"""
    assert tab.evaluate(inked)
    assert tab.locator("dialog canvas").first.get_attribute("aria-label")
    tab.keyboard.press("Escape")
    assert tab.locator("dialog[open]").count() == 0
    assert tab.evaluate("document.activeElement.dataset.cell") == "0,0,0"
    assert sheet.complaints == []


def test_another_variant_has_its_own_cells(browser: Any, page: Path) -> None:
    sheet = opened(browser, page, PHONE)
    tab = sheet.tab
    tab.select_option("#confusion-pick", "1")
    assert tab.locator(".confusion:visible").count() == 1
    total = tab.evaluate(
        "[...document.querySelectorAll('.confusion:not([hidden]) button')].reduce((s, b) => s + +b.innerText, 0)"
    )
    assert total == N
    assert sheet.complaints == []


def test_evidence_leads_to_its_fact_and_facts_can_be_searched(browser: Any, page: Path) -> None:
    sheet = opened(browser, page, DESK)
    tab = sheet.tab
    tab.locator("details.evidence summary").first.click()
    link = tab.locator("details.evidence a").first
    row = (link.get_attribute("href") or "").removeprefix("#")
    link.click()
    tab.wait_for_selector(f"#{row}.found")
    assert tab.locator("#facts").get_attribute("open") is not None
    tab.fill("#fact-filter", "pgd small transfer_success")
    assert tab.locator("#fact-table tbody tr").count() > 0
    assert "transfer_success" in tab.locator("#fact-table tbody tr").first.inner_text()
    tab.fill("#fact-filter", "no such fact")
    assert tab.locator("#fact-table tbody tr").count() == 0
    tab.fill("#fact-filter", "")
    tab.select_option("#fact-metric", "accuracy")
    with tab.expect_download() as saved:
        tab.click("#fact-csv")
    assert saved.value.path().read_text(encoding="utf-8").startswith("metric,")
    assert sheet.complaints == []


def test_the_theme_can_be_chosen_by_keyboard(browser: Any, page: Path) -> None:
    sheet = opened(browser, page, DESK)
    tab = sheet.tab
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(paper)
    tab.focus("#theme")
    tab.keyboard.press("Enter")
    assert tab.evaluate(paper) == light
    tab.keyboard.press("Enter")
    assert tab.evaluate(paper) != light
    assert sheet.complaints == []
