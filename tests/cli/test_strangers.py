"""Names that strangers chose are text wherever they turn up: in the report, in tables, in errors."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

import pytest

import bantamweight as bw
from bantamweight.cli import _code
from tests.cli.corpus.desk import Desk

CLASSES = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\"'><svg onload=alert(3)>",
    "{{ 7 * 7 }}${alert(4)}<!--",
)
STUDY = """
study: strangers
title: "<b onclick=alert(5)>bold</b>"
about: "</style><script>alert(6)</script>"
data: {use: parquet, path: "<u>.parquet", size: 8, channels: 1}
train: {model: mlp, epochs: 1, name: net}
attack: {use: fgsm, threats: linf 0.1, n: 8, targets: [none, "<img src=x onerror=alert(1)>"]}
explain: {use: gradient, attack: fgsm, threat: linf 0.1, n: 8, show: 4}
"""


class Page(HTMLParser):
    """What a browser would make of the page: elements with their attributes, scripts, and the text that is shown."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script":
            self.scripts.append(data)
        else:
            self.text += data


@pytest.fixture
def page(desk: Desk) -> str:
    """The report of a study whose classes, title and file are hostile."""
    desk.parquet([0, 1, 2, 3] * 12, "<u>.parquet", CLASSES)
    run = bw.run(desk.path / desk.study(STUDY), store=desk.path / "store", threads=1)
    return bw.report(run.path).read_text(encoding="utf-8")


def test_class_names_are_text_in_the_report(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    seen = Page(page)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert not [value for _, value in seen.attributes if value.strip().lower().startswith(("javascript:", "x"))]
    assert not [script for script in seen.scripts if script.lstrip().startswith("alert")]
    assert not {"b", "u", "iframe", "object", "embed", "base", "form"} & set(seen.tags)
    for name in CLASSES:
        assert name in seen.text, name
    assert "<b onclick=alert(5)>bold</b>" in seen.text
    assert "49$" not in page
    capsys.readouterr()
    assert _code(["facts", "strangers", "--store", "store", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert set(CLASSES) <= {row["item"] for row in rows}
    assert _code(["facts", "strangers", "--store", "store", "--metric", "recall"]) == 0
    assert "\x1b" not in capsys.readouterr().out
