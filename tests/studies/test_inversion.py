"""A study that inverts: an error per layer, pictures and curves for the report, and a net for which there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bantamweight.errors import InputError
from bantamweight.facts import select
from bantamweight.reports import report
from bantamweight.studies import run
from bantamweight.studies.spec import read

STUDY: dict[str, Any] = {
    "study": "inside",
    "data": {"use": "planted", "size": 16, "channels": 1, "classes": 2, "train": 40, "val": 8, "test": 12},
    "train": [{"model": "small_cnn", "epochs": 1}, {"model": "mlp", "epochs": 1}],
    "measure": {"use": "inversion", "n": 2, "steps": 6},
}
LAYERS = ["features.0", "features.7", "features.16"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("inside")
    (folder / "inside.yaml").write_text(json.dumps(STUDY))
    return run(folder / "inside.yaml", store=folder / "store", threads=1)


def test_every_layer_has_its_error_and_a_net_without_layers_says_so(result) -> None:
    found = select(result.facts, "inversion_error")
    assert [(fact.variant, fact.item, fact.step, fact.n) for fact in found] == [
        ("small_cnn", layer, float(at), 2) for at, layer in enumerate(LAYERS, start=1)
    ]
    (none,) = select(result.facts, "explainer_undefined", item="inversion")
    assert none.variant == "mlp"
    assert none.note.startswith("0 convolutions")


def test_the_report_shows_images_errors_and_losses(result) -> None:
    page = report(result.path).read_text(encoding="utf-8")
    assert "What the layers still know" in page
    assert all(layer in page for layer in LAYERS)
    (said,) = Path(result.path).parents[1].glob("jobs/*/inversion.json")
    about = json.loads(said.read_text())
    assert about["layers"] == LAYERS
    assert [len(item["made"]) for item in about["items"]] == [3, 3]
    assert {len(terms["total"]) for terms in about["losses"].values()} == {6}
    assert all((said.parent / made["picture"]).is_file() for item in about["items"] for made in item["made"])


def test_a_search_in_no_steps_is_refused() -> None:
    with pytest.raises(InputError, match="steps"):
        read({**STUDY, "measure": {"use": "inversion", "steps": 0}})
