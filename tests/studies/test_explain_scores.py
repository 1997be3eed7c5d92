"""A study that scores its maps and asks whether the gaze moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bantamweight.errors import InputError
from bantamweight.facts import select
from bantamweight.studies import run

STUDY = {
    "study": "looks",
    "data": {"use": "planted", "size": 16, "channels": 1, "classes": 2, "train": 60, "val": 8, "test": 12},
    "train": {"model": "mlp", "epochs": 1},
    "compress": {"use": "random", "sparsity": 0.9},
    "explain": {
        "use": "gradient",
        "attack": "fgsm",
        "threat": "linf 0.2",
        "n": 12,
        "show": 2,
        "metrics": ["sparseness", "pixel_auc", {"use": "mprt", "most": 2}],
        "drift": {"draws": 2},
    },
    "measure": [
        {"use": "explain_cost", "explainers": "gradient", "batches": [1], "runs": 6},
        {"use": "anatomy", "batch": 8, "optimizer": "momentum"},
    ],
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("looks")
    (folder / "looks.yaml").write_text(json.dumps(STUDY))
    return run(folder / "looks.yaml", store=folder / "store", threads=1)


def test_every_variant_has_its_scores_beside_baselines_and_its_gate(result) -> None:
    variants = {fact.variant for fact in select(result.facts, "map_pixel_auc")}
    assert variants == {"mlp", "mlp/random-0.9"}
    for variant in variants:
        found = select(result.facts, "map_pixel_auc", variant=variant)
        assert [fact.item for fact in found] == ["gradient", "random_map", "centre_gaussian", "edge_map"]
        assert all(fact.n == 12 and fact.low <= fact.value <= fact.high for fact in found)
        gates = {fact.item: fact.value for fact in select(result.facts, "mprt_failed", variant=variant)}
        assert gates["edge_map"] == gates["random_map"] == 1.0
        assert len(select(result.facts, "map_pixel_auc_gain", variant=variant)) == 3


def test_drift_is_held_against_its_floor(result) -> None:
    cut = select(result.facts, "gaze_moved", variant="mlp/random-0.9", against="dense")
    assert [fact.value for fact in cut] == [1.0], "nine weights of ten are gone"
    assert not select(result.facts, "gaze_moved", variant="mlp", against="dense")
    attacked = select(result.facts, "drift_rank", variant="mlp", against="attacked")
    assert [fact.threat for fact in attacked] == ["linf 51/255"]
    assert len(select(result.facts, "drift_rank_floor", variant="mlp", against="attacked")) == 1


def test_what_maps_cost_is_measured_on_the_dense_net(result) -> None:
    (whole,) = select(result.facts, "explain_ms")
    assert (whole.variant, whole.item, whole.batch, whole.step, whole.n) == ("mlp", "gradient", 1, 16.0, 6)
    assert {fact.metric for fact in result.facts} >= {"explain_peak_bytes", "explain_forwards", "explain_rest_ms"}


def test_the_anatomy_of_the_dense_net_adds_up_to_its_counts(result) -> None:
    layers = select(result.facts, "layer_parameters")
    assert {fact.variant for fact in layers} == {"mlp"}
    (peak,) = select(result.facts, "training_bytes", item="peak")
    (weights,) = select(result.facts, "training_bytes", item="weights")
    assert 4 * sum(fact.value for fact in layers) <= weights.value < peak.value
    assert (peak.batch, peak.against) == (8, "momentum")
    timed = select(result.facts, "layer_ms")
    assert [fact.item for fact in timed] == [fact.item for fact in layers if fact.item != "functional"]
    assert all(fact.origin == "measured" and fact.value > 0 for fact in timed)


def test_what_the_scores_allow_one_to_say_is_stored(result) -> None:
    (job,) = (
        one
        for one in json.loads((result.path / "run.json").read_text())["jobs"]
        if one["kind"] == "score" and one["labels"]["variant"] == "mlp"
    )
    said = json.loads((Path(result.path).parents[1] / job["folder"] / "scores.json").read_text())
    assert said["n"] == 12
    assert said["sentences"][0].startswith("gradient ")


def test_a_metric_that_needs_masks_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    study = {**STUDY, "data": "digits", "explain": {"use": "gradient", "metrics": "iou"}}
    (tmp_path / "looks.yaml").write_text(json.dumps(study))
    with pytest.raises(InputError, match=r"explain\.0: iou needs to know where objects are, and digits does not say"):
        run(tmp_path / "looks.yaml", store=tmp_path / "store", threads=1)
