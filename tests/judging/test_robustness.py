"""Ten rows whose every rate can be counted by eye."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bantamweight.errors import InputError
from bantamweight.facts import select
from bantamweight.judging.accuracy import paired_facts
from bantamweight.judging.robustness import half_fact, robustness_facts, stays_right
from bantamweight.judging.transfer import transfer_facts


def verdicts(target: int = -1) -> dict[str, np.ndarray]:
    """Ten images of class 0 to 2: two wrong before; of the eight attacked, five fall at queries 1, 1, 2, 4, 9."""
    label = np.array([0, 0, 1, 1, 2, 2, 0, 1, 2, 0])
    right = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], bool)
    targets = np.full(10, target)
    attacked = right & (targets != label)
    success = attacked & np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0], bool)
    adversarial = np.where(success, np.where(target >= 0, target, (label + 1) % 3), label)
    adversarial[~right] = (label[~right] + 1) % 3
    size = np.where(success, np.linspace(0.01, 0.1, 10), 0.0)
    return {
        "label": label,
        "target": targets,
        "adversarial": adversarial,
        "right": right,
        "attacked": attacked,
        "success": success,
        "query": np.where(success, [1, 1, 2, 4, 9, 0, 0, 0, 0, 0], -1),
        "near": np.array([0] * 7 + [1] + [0] * 2, bool),
        "forwards": np.where(attacked, 10, 1),
        "backwards": np.where(attacked, 9, 0),
        "survives_8bit": success & np.array([1, 1, 1, 0, 0] + [0] * 5, bool),
        "confidence": np.linspace(0.5, 0.95, 10),
        "confidence_target": np.linspace(0.1, 0.55, 10),
        **{f"size_{norm}": size * scale for norm, scale in (("linf", 1), ("l2", 10), ("l1", 100), ("l0", 1000))},
    }


def only(facts, metric):
    (fact,) = select(facts, metric)
    return fact


def test_untargeted_cell_by_hand():
    facts = robustness_facts(verdicts(), variant="net", threat="linf 8/255", attack="pgd")
    assert all((f.variant, f.threat, f.attack) == ("net", "linf 8/255", "pgd") for f in facts)
    counts = {f.metric: (f.k, f.n) for f in facts if f.kind == "proportion"}
    assert counts == {
        "right_before": (8, 10),
        "robust_accuracy": (3, 10),
        "fooled_overall": (7, 10),
        "attack_success": (5, 8),
        "survives_8bit": (3, 5),
    }
    assert "1 within 1e-4" in only(facts, "robust_accuracy").note
    assert only(facts, "iterations_to_success").value == pytest.approx(17 / 5)
    half = only(facts, "iterations_for_half")
    assert (half.value, half.k, half.n) == (4, 5, 8)
    assert half.low == 1
    assert half.high is None  # the upper rank is an image that never fell
    assert only(facts, "perturbation_linf").value == pytest.approx(0.03)
    assert only(facts, "perturbation_linf").n == 5
    assert only(facts, "perturbation_l0").unit == "pixels"
    assert only(facts, "confidence_wrong").value == pytest.approx(0.6)
    assert (only(facts, "forwards").value, only(facts, "backwards").value) == (10, 9)
    assert not select(facts, "targeted_success")


def test_intervals_of_means_stay_where_a_mean_can_lie() -> None:
    """Two successes at queries 1 and 60: Student's interval alone would begin below zero."""
    told = verdicts()
    told["success"] &= np.array([1, 1] + [0] * 8, bool)
    told["query"] = np.where(told["success"], [1, 60] + [0] * 8, -1)
    told["confidence"][:2] = 0.2, 1.0
    facts = robustness_facts(told, variant="net", threat="linf 8/255", attack="pgd")
    assert only(facts, "iterations_to_success").low == 0.0
    assert only(facts, "confidence_wrong").high == 1.0


def test_targeted_success_leaves_out_images_of_the_target():
    columns = verdicts(target=2)
    facts = robustness_facts(columns, target="ring")
    assert (only(facts, "targeted_success").k, only(facts, "targeted_success").n) == (4, 6)
    assert only(facts, "confidence_target").n == 6
    columns["adversarial"][6] = 1  # moved elsewhere than the target: fooled, yet no targeted success
    facts = robustness_facts(columns, target="ring")
    assert only(facts, "targeted_success").k == 4
    assert only(facts, "attack_success").k == 5
    assert only(facts, "robust_accuracy").k == 8 - 5


def test_minimum_norm_counts_the_misclassified_as_zero_and_survivors_as_beyond():
    fact = only(robustness_facts(verdicts(), minimum_norm=True), "perturbation_linf")
    assert fact.n == 10
    # Sorted: 0, 0, .01 ... .05, inf, inf, inf.
    assert fact.value == pytest.approx((0.03 + 0.04) / 2)
    assert fact.high is None


def test_under_half_success_has_no_half():
    fact = half_fact("eps_for_half", np.array([0.1, math.inf, math.inf]))
    assert (fact.value, fact.k, fact.n) == (None, 1, 3)
    assert half_fact("eps_for_half", np.array([0.1, math.inf])).value == 0.1


def test_nothing_right_before_leaves_only_what_can_be_said():
    columns = verdicts()
    for name in ("right", "attacked", "success", "survives_8bit"):
        columns[name] = np.zeros(10, bool)
    facts = robustness_facts(columns)
    assert {f.metric for f in facts} == {"right_before", "robust_accuracy", "fooled_overall"}
    assert only(facts, "robust_accuracy").k == 0


def test_rounding_is_told_only_where_it_was_looked_at():
    columns = verdicts()
    del columns["survives_8bit"]
    assert not select(robustness_facts(columns), "survives_8bit")


def test_ragged_or_missing_columns_are_refused():
    columns = verdicts()
    with pytest.raises(InputError, match="query are missing"):
        robustness_facts({name: column for name, column in columns.items() if name != "query"})
    with pytest.raises(InputError, match="one length"):
        robustness_facts(columns | {"query": np.zeros(3)})


def test_robustness_of_two_variants_is_paired_on_their_images():
    weak, strong = verdicts(), verdicts()
    strong["success"] = strong["success"] & (np.arange(10) > 2)
    right = {"weak": stays_right(weak), "strong": stays_right(strong)}
    (fact,) = paired_facts(right, [("strong", "weak")], metric="robust_accuracy_difference")
    assert (fact.gained, fact.lost) == (3, 0)


class TestTransfer:
    labels = np.array([0, 0, 1, 1, 2, 2])
    clean = np.array([0, 0, 1, 1, 2, 0])
    moved = np.array([1, 0, 1, 0, 1, 1])
    source = np.array([1, 1, 0, 0, 1, 1], bool)

    def test_only_what_the_judged_model_had_right_counts(self):
        facts = transfer_facts(self.labels, self.clean, self.moved, self.source, source="a", variant="b")
        assert [(f.metric, f.k, f.n, f.source) for f in facts] == [
            ("transfer_success", 3, 5, "a"),
            ("transfer_given_source", 2, 3, "a"),
        ]

    def test_targeted_counts_the_target(self):
        facts = transfer_facts(self.labels, self.clean, self.moved, self.source, aims=np.full(6, 1))
        assert [(f.k, f.n) for f in facts] == [(2, 3), (2, 3)]

    def test_each_image_has_a_target_of_its_own(self):
        aims = np.array([1, -1, 0, 2, 2, 1])  # right before: images 0 to 4; 4 is of the class it is aimed at
        facts = transfer_facts(self.labels, self.clean, self.moved, self.source, aims=aims)
        assert [(f.k, f.n) for f in facts] == [(1, 4), (1, 2)]

    def test_no_success_at_the_source_leaves_the_conditional_out(self):
        facts = transfer_facts(self.labels, self.clean, self.moved, np.zeros(6, bool))
        assert [f.metric for f in facts] == ["transfer_success"]

    def test_ragged_rows_are_refused(self):
        with pytest.raises(InputError, match="one row per image"):
            transfer_facts(self.labels, self.clean, self.moved[:3], self.source)
