"""Scores to facts: intervals and their n, comparisons in the direction that is good, the gate on both of its sides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bantamweight.explainers.metrics import Scores
from bantamweight.explainers.metrics.deletion import deletion
from bantamweight.explainers.metrics.insertion import insertion
from bantamweight.explainers.metrics.iou import iou
from bantamweight.explainers.metrics.mprt import mprt
from bantamweight.explainers.metrics.pointing_game import pointing_game
from bantamweight.facts import Fact, select
from bantamweight.judging.scores import GATE, gain_facts, gate_fact, score_facts, sentences
from bantamweight.stats import mean_interval, mean_of_shares, signed_rank

CLASSES = torch.arange(12) % 3


def drawn(seed: int, middle: float = 0.4, n: int = 12) -> np.ndarray:
    return middle + 0.1 * np.random.default_rng(seed).normal(size=n)


def test_a_mean_has_its_interval_its_n_and_says_who_was_left_out() -> None:
    values = drawn(0)
    values[3] = np.nan
    (fact,) = score_facts("grad_cam", deletion(), Scores(values, "no object"), CLASSES, variant="net", split="test")
    kept = values[np.isfinite(values)]
    assert (fact.metric, fact.item, fact.variant, fact.n) == ("map_deletion", "grad_cam", "net", 11)
    assert (fact.value, fact.low, fact.high) == pytest.approx((kept.mean(), *mean_interval(kept)))
    assert fact.note == "1 of 12 images left out: no object"
    (nothing,) = score_facts("grad_cam", deletion(), Scores(np.full(12, np.nan), "no object"), CLASSES)
    assert (nothing.value, nothing.n) == (None, 0)


def test_the_pointing_game_is_the_mean_of_per_class_accuracies() -> None:
    hits = np.array([1, 0, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0], dtype=float)
    hits[2] = np.nan
    (fact,) = score_facts("grad_cam", pointing_game(), Scores(hits, "no object"), CLASSES)
    value, interval = mean_of_shares([4, 1, 1], [4, 4, 3])
    assert (fact.value, fact.low, fact.high, fact.n) == pytest.approx((value, *interval, 11))
    assert fact.note.startswith("mean over classes; 1 of 12")


def test_curves_of_iou_and_of_the_layers() -> None:
    curve = np.array([[0.2, 0.4], [0.4, 0.8]])
    facts = score_facts("m", iou(), Scores(curve.mean(axis=1), "", (0.1, 0.2), curve), CLASSES[:2])
    assert [(fact.step, fact.value) for fact in select(facts, "map_iou_curve")] == [
        (0.1, pytest.approx(0.3)),
        (0.2, pytest.approx(0.6)),
    ]
    assert select(facts, "map_iou_max")[0].value == pytest.approx(0.6)
    facts = score_facts("m", mprt(), Scores(curve.mean(axis=1), "", ("fc", "conv"), curve), CLASSES[:2])
    assert [(fact.step, fact.against) for fact in select(facts, "map_mprt_curve")] == [(1.0, "fc"), (2.0, "conv")]


@pytest.mark.parametrize(("middle", "failed"), [(0.1, 0.0), (0.9, 1.0), (GATE - 0.01, None)])
def test_the_gate_passes_what_lies_below_it_as_a_whole_and_fails_what_lies_above(
    middle: float, failed: float | None
) -> None:
    fact = gate_fact("grad_cam", Scores(drawn(0, middle)), variant="net")
    assert (fact.metric, fact.kind, fact.value, fact.item) == ("mprt_failed", "flag", failed, "grad_cam")
    assert ("not below" in fact.note) == bool(failed)
    assert ("both sides of" in fact.note) == (failed is None)


@pytest.mark.parametrize("values", [np.array([0.0]), np.array([0.1, 0.9, 0.2]), np.full(5, np.nan)])
def test_too_few_maps_neither_pass_nor_fail(values: np.ndarray) -> None:
    fact = gate_fact("grad_cam", Scores(values))
    assert fact.value is None
    (said,) = sentences([fact])
    assert said.startswith("grad_cam was not shown to pass the check of the parameters (")
    assert fact.note in said
    assert "fails" not in said


def test_what_lies_above_as_a_whole_fails_however_few() -> None:
    assert gate_fact("m", Scores(np.array([1.0, 1.0]))).value == 1.0


def test_gains_point_where_it_is_good_and_are_corrected_together() -> None:
    good, bad, same = drawn(0, 0.2), drawn(1, 0.6), drawn(2, 0.4)
    table = {
        (who, metric): Scores(values)
        for metric in ("deletion", "insertion")
        for who, values in (("low", good), ("high", bad), ("random_map", same), ("edge_map", same))
    }
    facts = gain_facts(["low", "high"], [deletion(), insertion()], table)
    for metric, sign in (("deletion", 1), ("insertion", -1)):
        found = select(facts, f"map_{metric}_gain")
        assert [(fact.item, fact.against) for fact in found] == [
            (one, other) for one in ("low", "high") for other in ("random_map", "edge_map")
        ]
        assert np.sign(found[0].value) == sign
        assert found[0].value == pytest.approx(sign * (same - good).mean())
        assert found[0].p == pytest.approx(signed_rank(same - good))
        assert all(fact.p_adjusted >= fact.p for fact in found)
        assert found[0].p_adjusted == pytest.approx(4 * found[0].p) or found[0].p_adjusted > found[0].p


def test_the_sentence_says_no_more_than_the_scores() -> None:
    common = {"kind": "score", "item": "m", "n": 50}
    facts = [
        Fact(metric="map_deletion_gain", value=0.1, against="random_map", p_adjusted=0.001, **common),
        Fact(metric="map_deletion_gain", value=0.1, against="edge_map", p_adjusted=0.2, **common),
        Fact(metric="map_insertion_gain", value=-0.1, against="random_map", p_adjusted=0.01, **common),
    ]
    (untested,) = sentences(facts)
    assert "m was not put to the check of the parameters" in untested
    assert "deletion better than the random map, no difference shown from the edge map" in untested
    assert "insertion worse than the random map" in untested
    failed = Fact(metric="mprt_failed", kind="flag", value=1.0, item="m")
    assert "may not be read as what this model looks at" in sentences([*facts, failed])[0]
    none = Fact(metric="explainer_undefined", kind="flag", value=1.0, item="cam", note="no convolution")
    assert sentences([none]) == ["cam has no meaning for this model: no convolution."]
