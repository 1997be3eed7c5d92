"""Distances of ten images, read as medians and as accuracy against eps by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bantamweight.errors import InputError
from bantamweight.facts import select
from bantamweight.judging.distances import distance_facts, needed_eps
from tests.judging.test_robustness import only, verdicts


def distances(broken: int = 8) -> dict[str, np.ndarray]:
    """Two images wrong before; of the eight others the first `broken` fall, at 0.01, 0.02, ..."""
    columns = verdicts()
    columns["success"] = columns["attacked"] & (np.arange(10) < broken)
    for scale, norm in ((1, "linf"), (10, "l2"), (100, "l1"), (1000, "l0")):
        columns[f"size_{norm}"] = np.where(columns["success"], scale * np.linspace(0.01, 0.1, 10), 0.0)
    return columns


def test_the_wrong_need_nothing_and_survivors_more_than_was_found() -> None:
    assert needed_eps(distances(7), "l2") == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, math.inf, 0, 0])


def test_medians_of_every_norm_come_from_one_run() -> None:
    facts = distance_facts(distances(), "l2", 4, variant="net")
    # Sorted: 0, 0, .1, .2, .3, .4, ...: half way between the fifth and the sixth.
    assert only(facts, "distance_l2").value == pytest.approx(0.35)
    assert only(facts, "distance_linf").value == pytest.approx(0.035)
    assert (only(facts, "distance_l0").value, only(facts, "distance_l0").unit) == (pytest.approx(35), "pixels")
    assert (only(facts, "distance_l2").k, only(facts, "distance_l2").n) == (10, 10)
    half = only(facts, "eps_for_half")
    assert (half.value, half.k, half.n) == (pytest.approx(0.3), 10, 10)
    assert only(facts, "survives_8bit").n == 8
    assert only(facts, "right_before").k == 8
    assert not {"robust_accuracy", "attack_success", "perturbation_l2"} & {fact.metric for fact in facts}


def test_the_curve_goes_down_to_the_first_budget_below_chance() -> None:
    facts = distance_facts(distances(), "l2", 4)
    curve = [(round(fact.step, 6), fact.k, fact.n) for fact in select(facts, "accuracy_at_eps")]
    assert curve == [(0, 8, 10), (0.1, 7, 10), (0.2, 6, 10), (0.3, 5, 10), (0.4, 4, 10), (0.5, 3, 10), (0.6, 2, 10)]
    assert only(facts, "eps_for_chance").value == pytest.approx(0.6)  # 2 of 10 is the first below 1 in 4
    twenty = distance_facts(distances(), "l2", 5)
    assert only(twenty, "eps_for_chance").value == pytest.approx(0.7)  # 2 of 10 is 1 in 5, not below it


def test_a_model_that_is_not_broken_so_far_has_no_such_budget() -> None:
    facts = distance_facts(distances(3), "l2", 4)
    assert only(facts, "eps_for_chance").value is None
    assert only(facts, "eps_for_half").value == pytest.approx(0.3)
    assert only(facts, "distance_l2").value is None
    assert min(fact.k for fact in select(facts, "accuracy_at_eps")) == 5


def test_nothing_broken_at_all_leaves_the_start_of_the_curve() -> None:
    columns = distances(0)
    columns["right"][:] = True
    columns["attacked"][:] = True
    facts = distance_facts(columns, "l2", 4)
    assert [(fact.step, fact.k) for fact in select(facts, "accuracy_at_eps")] == [(0, 10)]


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(InputError, match="norms linf, l2"):
        distance_facts(distances(), "l3", 4)
