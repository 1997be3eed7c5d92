"""Scores and drift on the page: baselines beside methods, who fails is marked wherever its maps appear."""

from __future__ import annotations

from pathlib import Path

import pytest

from bantamweight.reports._blocks import Cell, Chart, Fragment, Group, Panel, Table
from bantamweight.reports._core import panels
from bantamweight.reports._run import Context, read
from tests.reports.made import SCRIPT


@pytest.fixture(scope="module")
def context(run: Path) -> Context:
    return read(run)


@pytest.fixture(scope="module")
def shown(context: Context) -> dict[str, Panel]:
    return dict(panels(context))


def text(cell: str | Cell) -> str:
    return f"{cell.text} {cell.tag}".strip() if isinstance(cell, Cell) else cell


def test_baselines_stand_in_the_table_and_failures_are_marked(shown: dict[str, Panel]) -> None:
    group = shown["trust"].blocks[0]
    assert isinstance(group, Group)
    scores = group.blocks[0]
    assert isinstance(scores, Table)
    assert list(scores.head) == ["method", "parameters, lower", "deletion, lower", "IoU, higher", "pixel AUC, higher"]
    assert [text(row[0]) for row in scores.rows] == [
        "Grad-CAM",
        "guided backprop fails the parameter check",
        "random map knows nothing",
        "edge map knows nothing",
    ]
    assert scores.rows[0][1] == "0.100 [0.0800, 0.120]"
    assert scores.note == "n = 60."


def test_the_sentences_of_the_job_are_text_on_the_page(shown: dict[str, Panel], page: Path) -> None:
    assert any(SCRIPT in getattr(block, "text", "") for block in shown["trust"].blocks[0].blocks)
    assert SCRIPT not in page.read_text(encoding="utf-8")


def test_maps_of_a_method_that_fails_are_marked_wherever_they_appear(context: Context) -> None:
    """The made-up galleries show gradient and Grad-CAM: let one of them fail."""
    failed = [
        fact.model_copy(update={"item": "gradient"}) if fact.metric == "mprt_failed" and fact.variant == "net" else fact
        for fact in context.facts
    ]
    found = dict(panels(Context(context.folder, context.manifest, tuple(failed))))
    grids = next(block for block in found["explanations"].blocks if isinstance(block, Fragment)).values["grids"]
    heads = {table["name"]: table["heads"] for grid in grids for table in grid["tables"] if grid["family"] == "net"}
    assert heads["Saliency"][0] == "as trained (fails the parameter check)"
    assert heads["Grad-CAM"][0] == "as trained"
    galleries = next(block for block in found["gallery"].blocks if isinstance(block, Fragment)).values["galleries"]
    names = {one["name"] for gallery in galleries for item in gallery["items"] for one in item["maps"]}
    assert names == {"Saliency", "Saliency (fails the parameter check)", "Grad-CAM"}


def test_maps_of_a_method_that_was_not_shown_to_pass_are_not_said_to_fail(context: Context) -> None:
    unsure = [fact.model_copy(update={"item": "gradient", "value": None}) if fact.metric == "mprt_failed" else fact
              for fact in context.facts]  # fmt: skip
    found = dict(panels(Context(context.folder, context.manifest, tuple(unsure))))
    grids = next(block for block in found["explanations"].blocks if isinstance(block, Fragment)).values["grids"]
    heads = {table["name"]: table["heads"] for grid in grids for table in grid["tables"] if grid["family"] == "net"}
    assert heads["Saliency"][0] == "as trained (not shown to pass the parameter check)"
    assert "Saliency (not shown to pass the parameter check)" in heads["Methods side by side"]
    assert not any("fails" in head for table in heads.values() for head in table)


def test_drift_is_tied_to_sparsity_and_to_eps_over_its_floor(shown: dict[str, Panel]) -> None:
    charts = [block for block in shown["drift"].blocks if isinstance(block, Chart)]
    assert [chart.title for chart in charts] == [
        "Drift of the gaze from the dense net by sparsity, net",
        "Drift of the gaze under attack by eps, net",
    ]
    by_cut, by_eps = (chart.table.rows for chart in charts)
    assert {row[0] for row in by_cut} == {"20.0%", "50.0%", "80.0%"}
    assert {row[0] for row in by_eps} == {"0.0100", "0.0300"}
    assert {row[2] for row in by_eps} == {"pgd(steps=40), linf", "noise floor"}
    (tests,) = (block for block in shown["drift"].blocks if isinstance(block, Table))
    assert tests.rows[0][3] == "0.400 / 0.0500 *"
    assert all(text(row[-1]) == "moved" for row in tests.rows)
    assert shown["drift"].title == "Did the gaze move"


def test_costs_stand_beside_what_they_buy(shown: dict[str, Panel]) -> None:
    chart, _ = shown["explain_cost"].blocks
    assert isinstance(chart, Chart)
    assert chart.title == "Pixel AUC against time, net"
    assert [row[:2] for row in chart.table.rows] == [
        ["Grad-CAM", "0.400 ms [0.360, 0.440]"],
        ["guided backprop", "0.900 ms [0.810, 0.990]"],
    ]
    (costs,) = (block for block in shown["explain_cost"].blocks if isinstance(block, Table))
    assert list(costs.head)[:4] == ["method", "side", "batch", "time"]
    assert [str(cell) for cell in costs.rows[0][:4]] == ["Grad-CAM", "32", "1", "0.400 ms [0.360, 0.440]"]
    assert costs.rows[0][-1] == "2.00 MB"
    assert costs.note.startswith("Measured on a machine")
