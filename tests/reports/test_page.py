"""The page as a file: whole, safe with hostile names, readable by everyone, and never without its tables."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import altair
import pytest

from bantamweight import parts
from bantamweight.errors import InputError, StoreError
from bantamweight.reports import report
from tests.reports.made import CLASSES, LAYERS, NAMES, SCRIPT
from tests.reports.tree import Node, parse


def test_it_is_one_file_that_names_no_other(page: Path, tree: Node) -> None:
    assert page.name == "report.html"
    assert page.stat().st_size < 10_000_000
    sources = [node.attributes[key] or "" for node in tree.walk() for key in ("src", "href") if key in node.attributes]
    assert sources
    assert {source for source in sources if not source.startswith(("#", "data:"))} == set()
    assert not any(node.tag in ("iframe", "object", "embed", "base", "form") for node in tree.walk())
    assert "url(" not in tree.all("style")[0].text


def test_the_policy_allows_exactly_the_scripts_of_the_page(tree: Node) -> None:
    (policy,) = tree.all("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.split(" ", 1) for rule in (policy.attributes["content"] or "").split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    scripts = [node.text for node in tree.all("script") if "type" not in node.attributes]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert rules["script-src"].split() == [f"'sha256-{one}'" for one in hashes]
    assert len(scripts) == 2


def test_hostile_names_come_out_as_text(page: Path, tree: Node) -> None:
    html = page.read_text(encoding="utf-8")
    assert SCRIPT not in html
    assert not any("\u2028" in script.text for script in tree.all("script"))
    assert not any(key.startswith("on") for node in tree.walk() for key in node.attributes)
    kinds = Counter(node.attributes.get("type", "runs") for node in tree.all("script"))
    assert kinds == {"application/json": 3, "runs": 2}
    (title,) = tree.all("title")
    assert title.text == f"Made up {SCRIPT}"
    text = tree.all("main")[0].text
    for name in (*CLASSES, *LAYERS):
        assert name.replace("/", "") in text.replace("/", ""), name
    assert "49" not in [cell.text for cell in tree.all("th")]


def test_data_for_scripts_is_what_it_was(tree: Node) -> None:
    stored = {node.attributes["id"]: json.loads(node.text) for node in tree.all("script", type="application/json")}
    assert stored["confusion-data"]["classes"] == list(CLASSES)
    facts = stored["facts-data"]
    assert facts["count"] > 900
    assert set(facts["columns"]["variant"]["values"]) >= set(NAMES)


def test_every_panel_of_a_whole_run_is_there(tree: Node) -> None:
    shown = [node.attributes["id"] for node in tree.all("section", cls="panel")]
    assert sorted(shown) == parts.names("panels")
    assert shown[0] == "summary"
    assert shown[-1] == "provenance"
    links = [link.attributes["href"] for link in tree.all("nav")[0].all("a")]
    assert links == [f"#{name}" for name in shown]


def test_every_chart_has_its_table(tree: Node) -> None:
    charts = tree.all("figure", cls="chart")
    specs = json.loads(tree.all("script", id="specs")[0].text)
    assert len(charts) == len(specs) >= 15
    for chart in charts:
        (table,) = chart.all("table")
        assert table.all("tbody")[0].all("tr"), chart.text
    numbers = sorted(int(node.attributes["data-chart"] or "") for node in tree.all("div", cls="plot"))
    assert numbers == list(range(len(specs)))


def test_every_chart_is_valid_vega_lite(tree: Node) -> None:
    for one in json.loads(tree.all("script", id="specs")[0].text):
        altair.LayerChart.from_dict({key: value for key, value in one["spec"].items() if key != "$schema"})


def test_numbers_of_the_charts_are_those_of_the_tables(tree: Node) -> None:
    specs = json.loads(tree.all("script", id="specs")[0].text)
    (accuracy,) = [one["spec"] for one in specs if one["title"] == "Accuracy against sparsity"]
    drawn = {round(100 * row["y"], 1) for row in accuracy["data"]["values"]}
    (chart,) = [one for one in tree.all("figure", cls="chart") if "Accuracy against sparsity" in one.text]
    told = {float(found) for cell in chart.all("td") for found in re.findall(r"^([\d.]+)% \[", cell.text)}
    assert told >= drawn


def test_claims_name_their_facts(tree: Node) -> None:
    (summary,) = tree.all("section", id="summary")
    claims = [item for block in summary.all("ul", cls="claims") for item in block.children if isinstance(item, Node)]
    assert len(claims) > 20
    assert all(claim.all("details", cls="evidence")[0].all("a") for claim in claims)
    unsupported = [claim for claim in claims if claim.attributes["class"] == "unsupported"]
    assert unsupported
    assert all("not supported" in claim.text and claim.all("p", cls="why") for claim in unsupported)
    count = json.loads(tree.all("script", id="facts-data")[0].text)["count"]
    rows = [int((link.attributes["href"] or "").removeprefix("#fact-")) for link in summary.all("a")]
    assert max(rows) < count


def test_intervals_and_n_stand_beside_every_rate(tree: Node) -> None:
    (robust,) = tree.all("section", id="robustness")
    cells = [cell.text for cell in robust.all("table")[0].all("td") if "%" in cell.text]
    assert cells
    assert all(re.fullmatch(r"[\d.]+% \[[\d.]+, [\d.]+\], n\xa0=\xa0[\d,]+", cell) for cell in cells)


def test_it_can_be_read_without_seeing_it(tree: Node) -> None:
    assert tree.all("html")[0].attributes["lang"] == "en"
    assert len(tree.all("main")) == len(tree.all("h1")) == len(tree.all("title")) == 1
    assert all(image.attributes.get("alt") for image in tree.all("img"))
    levels = [int(node.tag[1]) for node in tree.walk() if re.fullmatch("h[1-6]", node.tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels
    assert all(button.text.strip() or button.attributes.get("aria-label") for button in tree.all("button"))
    labelled = {label.attributes.get("for") for label in tree.all("label")}
    inside = {id(node) for label in tree.all("label") for node in label.walk()}
    for control in (*tree.all("select"), *tree.all("input")):
        assert control.attributes.get("id") in labelled or id(control) in inside
    for region in tree.all("div", cls="scroll"):
        assert region.attributes["tabindex"] == "0"
        assert region.attributes["aria-label"]
    assert all(table.all("caption") for table in tree.all("table"))
    ids = Counter(node.attributes["id"] for node in tree.walk() if "id" in node.attributes)
    assert not [name for name, count in ids.items() if count > 1]


def test_the_same_run_gives_the_same_page(run: Path, page: Path) -> None:
    before = page.read_bytes()
    assert report(str(run)).read_bytes() == before
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_reports_never_import_torch(run: Path) -> None:
    code = (
        "import sys; from bantamweight.reports import report; report(sys.argv[1]); "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'torchvision', 'onnx', 'kornia'}))"
    )
    said = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_a_folder_without_a_run_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json"):
        report(tmp_path)


def test_a_page_that_cannot_be_written_is_said(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match="no space left"):
        report(run)


def test_tags_close_in_order_even_with_one_class_that_is_markup() -> None:
    with pytest.raises(AssertionError, match="closes"):
        parse("<p><b>text</p></b>")
