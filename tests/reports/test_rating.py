"""The rating sheet: escaped, offline, blind; clicked through in Chromium it saves answers that can be read back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bantamweight.errors import InputError
from bantamweight.facts import select
from bantamweight.judging.ratings import Key, rating_facts, read_answers
from bantamweight.reports import Item, rating_page
from tests.reports.test_browser import CHROMIUM, DESK, FLAGS, PHONE, opened

SCRIPT = "</script><script>document.title='owned'</script>"
METHODS = {"m0": "grad_cam", "m1": "gradient", "m2": "lime"}


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def made(count: int = 2) -> list[Item]:
    return [
        Item(f"i{row}", f"cat {SCRIPT}", png(row), {key: png(10 * row + at) for at, key in enumerate(METHODS)})
        for row in range(count)
    ]


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "sheet.html"
    path.write_text(rating_page("abc", made(), title=f"Maps {SCRIPT}"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install Debian's `chromium` to run the browser tests")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def test_the_page_is_escaped_and_names_no_method() -> None:
    text = rating_page("abc", made(), title=f"Maps {SCRIPT}")
    assert "<script>document" not in text
    assert text.count("<script") == 2
    assert "default-src &#39;none&#39;" in text
    assert not any(name in text for name in METHODS.values())
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


def test_there_must_be_something_to_compare() -> None:
    one = Item("i0", "cat", png(0), {"m0": png(1)})
    for wrong in ([], [one], [*made(), one]):
        with pytest.raises(InputError, match="2 to 8 maps"):
            rating_page("abc", wrong)


def rated(tab: Any, best: str) -> str:
    """Fill in the image on show, `best` first; returns the item's maps in the order shown."""
    order = [
        name.removeprefix("rank-") for name in tab.locator("select").evaluate_all("found => found.map(s => s.name)")
    ]
    places = {key: place + 1 for place, key in enumerate(sorted(order, key=lambda key: key != best))}
    for key, place in places.items():
        tab.check(f"input[name='likert-{key}'][value='{6 - place}']")
        tab.select_option(f"select[name='rank-{key}']", str(place))
    tab.check(f"input[name=choice][value='{best}']")
    return " ".join(order)


@pytest.mark.browser
@pytest.mark.parametrize("size", [DESK, PHONE])
def test_clicking_through_saves_answers_that_can_be_read_back(
    browser: Any, sheet: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    page = opened(browser, sheet, size)
    tab = page.tab
    tab.click("#who button")
    assert tab.locator("#rate").is_hidden(), "a rater needs a name"
    tab.fill("#rater", "rater one")
    tab.keyboard.press("Enter")
    assert tab.locator("#progress").inner_text() == "1 of 2"
    assert tab.locator("figure img").count() == 4
    assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
    tab.click("button[type=submit]:visible")
    assert tab.locator(".complaint").inner_text() == "Please say how far you agree with map A."
    rated(tab, "m2")
    tab.select_option("select >> nth=0", "1")
    tab.select_option("select >> nth=1", "1")
    tab.click("button[type=submit]:visible")
    assert tab.locator(".complaint").inner_text() == "Two maps have the place 1; each place is for one."
    rated(tab, "m2")
    tab.click("button[type=submit]:visible")
    rated(tab, "m2")
    with tab.expect_download() as saved:
        tab.click("button[type=submit]:visible")
    assert saved.value.suggested_filename == "answers-abc-rater-one.json"
    path = tmp_path / "answers.json"
    saved.value.save_as(path)
    about = [{"id": f"i{row}", "name": "", "said": "cat", "label": "cat"} for row in range(2)]
    key = Key.model_validate({"sheet": "abc", "methods": METHODS, "items": about})
    (answers,) = found = read_answers([path], key)
    assert answers.rater == "rater one"
    facts = rating_facts(found, key)
    assert {fact.item: fact.value for fact in select(facts, "rating_rank")}["lime"] == 1.0
    assert {fact.item: fact.k for fact in select(facts, "rating_choice")} == {"grad_cam": 0, "gradient": 0, "lime": 2}
    assert {len(answer.order) for answer in answers.answers} == {3}
    assert tab.title().startswith("Maps </script>")
    assert page.complaints == []


@pytest.mark.browser
def test_orders_are_drawn_anew(browser: Any, sheet: Path) -> None:
    orders = set()
    for _ in range(6):
        page = opened(browser, sheet, DESK)
        page.tab.fill("#rater", "x")
        page.tab.keyboard.press("Enter")
        orders.add(rated(page.tab, "m0"))
    assert len(orders) >= 2  # of six orders, six draws are all the same once in 7,776
