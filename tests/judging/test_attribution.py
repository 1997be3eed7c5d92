"""Attributions to facts: rank correlations against SciPy's, flat maps left out and counted, reasons kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.explainers import Attributions, explain
from bantamweight.explainers.grad_cam import grad_cam
from bantamweight.explainers.gradient import gradient
from bantamweight.judging.attribution import correlations, map_correlation, map_facts


def maps(seed: int, count: int = 30) -> Tensor:
    return torch.randn(count, 6, 7, generator=torch.Generator().manual_seed(seed))


def found(values: Tensor, name: str = "gradient", **more: str) -> Attributions:
    flat = values.flatten(1).std(dim=1) == 0 if len(values) else torch.empty(0, dtype=torch.bool)
    return Attributions(name, values, torch.zeros(len(values), dtype=torch.int64), flat, **more)


def test_correlations_are_scipys_with_ties() -> None:
    first, second = maps(0).relu(), maps(1).round()
    ours = correlations(first, second)
    theirs = [spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_correlations_see_order_only_and_keep_the_sign() -> None:
    one = maps(0)
    np.testing.assert_allclose(correlations(one, one.exp() * 7 + 3), 1.0)
    np.testing.assert_allclose(correlations(one, -one), -1.0)
    many = one.reshape(10, 3, 6, 7)
    np.testing.assert_allclose(correlations(many, maps(1).reshape(10, 3, 6, 7)).ravel(), correlations(one, maps(1)))


def test_a_constant_map_has_no_correlation() -> None:
    one = maps(0, 3)
    one[1] = 0.5
    assert np.isnan(correlations(one, maps(1, 3))).tolist() == [False, True, False]
    with pytest.raises(InputError, match="one shape"):
        correlations(one, maps(1, 4))


def test_the_fact_is_the_mean_with_its_interval_over_images() -> None:
    first, second = maps(0), maps(0) + 0.5 * maps(1)
    values = correlations(first, second)
    (fact,) = map_correlation(found(first), found(second), variant="net/magnitude-0.5", other="net", split="test")
    assert (fact.metric, fact.kind, fact.item, fact.n) == ("map_correlation", "mean", "gradient", 30)
    assert (fact.variant, fact.other, fact.split) == ("net/magnitude-0.5", "net", "test")
    assert fact.value == pytest.approx(values.mean())
    half = 2.0452296 * values.std(ddof=1) / np.sqrt(30)  # Student's 97.5% quantile with 29 degrees
    assert (fact.low, fact.high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert fact.note == ""


def test_the_same_maps_have_correlation_one_and_no_interval_beyond_it() -> None:
    (fact,) = map_correlation(found(maps(0)), found(maps(0)))
    assert fact.value == pytest.approx(1.0)
    assert fact.high is not None
    assert fact.high <= 1.0
    (single,) = map_correlation(found(maps(0, 1)), found(maps(1, 1)))
    assert (single.n, single.low, single.high) == (1, None, None)


def test_flat_maps_are_left_out_and_counted() -> None:
    first, second = maps(0), maps(1)
    first[:4], second[3:6] = 0.0, 1.0
    (fact,) = map_correlation(found(first), found(second))
    assert fact.n == 24
    assert fact.value == pytest.approx(correlations(first[6:], second[6:]).mean())
    assert fact.note == "6 of 30 pairs left out: a flat map has no ranks"
    (nothing,) = map_correlation(found(torch.zeros(5, 6, 7)), found(maps(0, 5)))
    assert (nothing.value, nothing.n, nothing.low) == (None, 0, None)


def test_the_share_of_flat_maps_is_a_proportion() -> None:
    one = maps(0)
    one[:3] = 0.0
    (fact,) = map_facts(found(one, "grad_cam", layer="features.10"), variant="net", attack="pgd")
    assert (fact.metric, fact.k, fact.n, fact.item, fact.attack) == ("flat_maps", 3, 30, "grad_cam", "pgd")
    assert fact.note == "layer features.10"


def test_an_explainer_without_meaning_is_a_flag_with_its_reason() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    nothing = explain(grad_cam(), net, images)
    (flag,) = map_facts(nothing, variant="mlp")
    assert (flag.metric, flag.kind, flag.value, flag.item) == ("explainer_undefined", "flag", 1.0, "grad_cam")
    assert flag.note.startswith("no convolution")
    for pair in ((nothing, nothing), (nothing, found(maps(0), "grad_cam")), (found(maps(0), "grad_cam"), nothing)):
        assert [fact.metric for fact in map_correlation(*pair)] == ["explainer_undefined"]
    assert [fact.metric for fact in map_facts(explain(gradient(), net, images))] == ["flat_maps"]


def test_maps_of_two_explainers_are_not_compared() -> None:
    with pytest.raises(InputError, match="one explainer, got gradient and grad_cam"):
        map_correlation(found(maps(0)), found(maps(0), "grad_cam"))


def test_cutting_more_moves_the_gaze_more() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 4)).eval()
    images = torch.rand(16, 3, 12, 12)
    classes = torch.arange(16) % 4
    before = explain(gradient(), net, images, classes)
    weight, moved = net[0].weight.data.clone(), []
    for sparsity in (0.0, 0.3, 0.95):
        threshold = weight.abs().quantile(sparsity)
        net[0].weight.data = weight * (weight.abs() >= threshold)
        (fact,) = map_correlation(before, explain(gradient(), net, images, classes))
        moved.append(fact.value)
    assert moved[0] == pytest.approx(1.0)
    assert moved[0] > moved[1] > moved[2]
