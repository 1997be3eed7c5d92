"""Maps side by side: every method beside every other, for a few images, clean and attacked, form by form."""

from __future__ import annotations

from pathlib import Path

import pytest

from bantamweight.reports._blocks import Fragment
from bantamweight.reports._run import Context, read
from bantamweight.reports.panels.explanations import FEW, explanations
from tests.reports.tree import Node


@pytest.fixture(scope="module")
def context(run: Path) -> Context:
    return read(run)


def test_a_row_is_one_state_of_one_image_and_a_column_one_method(context: Context) -> None:
    panel = explanations(context)
    assert panel is not None
    first = next(block for block in panel.blocks if isinstance(block, Fragment)).values["grids"][0]["tables"][0]
    assert first["name"] == "Methods side by side"
    assert [head.split(" (")[0] for head in first["heads"]] == ["Saliency", "Grad-CAM"]
    labels = [row["label"] for row in first["rows"]]
    attacked = [label for label in labels if label.endswith(", attacked")]
    assert len({label.partition(":")[0] for label in labels}) <= FEW
    assert 0 < len(attacked) < len(labels)
    for row in first["rows"]:
        assert row["image"]
        assert len(row["cells"]) == 2
        assert all(cell["uri"] for cell in row["cells"])
    clean = next(row for row in first["rows"] if row["label"] + ", attacked" in attacked)
    after = next(row for row in first["rows"] if row["label"] == clean["label"] + ", attacked")
    assert clean["image"] != after["image"]
    assert clean["cells"][0]["uri"] != after["cells"][0]["uri"]
    assert (clean["right"], after["right"]) == (True, False)


def test_the_page_says_what_stands_beside_what(tree: Node) -> None:
    captions = [caption.text for table in tree.all("table", cls="maps") for caption in table.all("caption")]
    assert any(caption.startswith("Methods side by side: the image as it was shown") for caption in captions)
    assert any(caption.endswith("original, then the map of each form") for caption in captions)
