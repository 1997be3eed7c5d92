"""The panel of inversions: pictures by layer, errors, losses, and nothing from outside the job's folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bantamweight.reports._blocks import Chart, Fragment, Panel
from bantamweight.reports._run import Context, read
from bantamweight.reports.panels.inversion import inversion
from tests.reports.made import LAYERS, SCRIPT
from tests.reports.tree import Node


@pytest.fixture(scope="module")
def context(run: Path) -> Context:
    return read(run)


@pytest.fixture(scope="module")
def panel(context: Context) -> Panel:
    found = inversion(context)
    assert found is not None
    return found


def test_images_stand_beside_what_each_layer_gives_back(panel: Panel) -> None:
    (grid,) = next(block for block in panel.blocks if isinstance(block, Fragment)).values["grids"]
    (table,) = grid["tables"]
    assert table["heads"] == list(LAYERS)
    first, second = table["rows"]
    assert all(cell["uri"].startswith("data:image/png") for cell in first["cells"])
    assert [cell["said"] for cell in first["cells"]] == ["error 0.250", "error 0.250"]
    assert first["image"].startswith("data:image/png")
    assert second["image"] == "", "a file outside the job's folder is not read"


def test_errors_have_their_intervals_and_losses_their_curves(panel: Panel) -> None:
    errors, losses = (block for block in panel.blocks if isinstance(block, Chart))
    assert [row[1:] for row in errors.table.rows] == [
        [LAYERS[0], "0.200 [0.150, 0.250], n\xa0=\xa02"],
        [LAYERS[1], "0.400 [0.350, 0.450], n\xa0=\xa02"],
    ]
    assert [row[1:] for row in losses.table.rows] == [["1", "0.250"], ["1", "0.250"]]


def test_names_are_text_on_the_page(tree: Node, page: Path) -> None:
    assert tree.all("section", id="inversion")
    assert SCRIPT not in page.read_text(encoding="utf-8")


def test_without_facts_there_is_no_panel_and_without_files_no_pictures(context: Context, tmp_path: Path) -> None:
    assert inversion(replace(context, facts=())) is None
    gone = inversion(replace(context, folder=tmp_path))
    assert gone is not None
    assert not [block for block in gone.blocks if isinstance(block, Fragment)]
