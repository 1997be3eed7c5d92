"""What every metric of the room must keep, found by name: a new one is held to it without being listed here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bantamweight import parts
from bantamweight.explainers.gradient import gradient
from bantamweight.explainers.metrics import Metric, Scene, Scores, scene
from bantamweight.models.small_cnn import small_cnn

NAMES = parts.names("metrics")


@pytest.fixture(params=NAMES)
def metric(request: pytest.FixtureRequest) -> Metric:
    few = {"max_sensitivity": {"draws": 2}, "stability": {"draws": 2}, "mprt": {"most": 2}}
    few |= {"faithfulness_correlation": {"draws": 8}, "road": {"shares": [0.3, 0.6]}}
    return parts.configure("metrics", {"use": request.param, **few.get(request.param, {})}).make()


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return small_cnn(size=12).eval()


def looked_at(net: nn.Module, rows: list[int]) -> Scene:
    draw = torch.Generator().manual_seed(0)
    images, classes = torch.rand(6, 3, 12, 12, generator=draw)[rows], torch.arange(6)[rows]
    objects = torch.zeros(6, 12, 12, dtype=torch.bool)
    objects[:, 3:8, 4:9] = True
    return scene(gradient(), net, images, classes, objects=objects[rows])


def test_the_room_is_as_large_as_was_asked() -> None:
    wanted = "deletion insertion pointing_game iou pixel_auc localisation_error max_sensitivity stability"
    assert {*wanted.split(), "faithfulness_correlation", "road", "mprt", "sparseness", "complexity"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is_where_it_comes_from_and_when_to_choose_it(name: str) -> None:
    function = parts.find("metrics", name)
    assert "Choose it" in str(function.__doc__)
    assert any(str(year) in str(__import__(function.__module__, fromlist=["x"]).__doc__) for year in range(1900, 2031))
    assert parts.configure("metrics", name).make().name == name


def test_one_finite_number_per_image_the_same_every_time(metric: Metric, net: nn.Module) -> None:
    seen = looked_at(net, list(range(6)))
    found, again = metric.score(seen), metric.score(seen)
    assert isinstance(found, Scores)
    assert found.values.shape == (6,)
    assert np.isfinite(found.values).all()
    assert np.array_equal(found.values, again.values)
    assert found.curve is None or found.curve.shape == (6, len(found.stops))
    assert metric.better in ("higher", "lower", "neither")
    if metric.share:
        assert set(found.values.tolist()) <= {0.0, 1.0}


def test_a_score_does_not_depend_on_who_else_is_scored(metric: Metric, net: nn.Module) -> None:
    whole = metric.score(looked_at(net, list(range(6)))).values
    turned = metric.score(looked_at(net, [5, 2])).values
    np.testing.assert_allclose(turned, whole[[5, 2]], rtol=1e-3, atol=1e-5)
