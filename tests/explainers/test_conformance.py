"""What every explainer of the room must keep, found by name: a new one is held to it without being listed here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bantamweight import parts
from bantamweight.errors import InputError
from bantamweight.explainers import Attributions, Explainer, explain
from bantamweight.models.mlp import mlp
from bantamweight.models.small_cnn import small_cnn

NAMES = parts.names("explainers")


FEW = {
    "integrated_gradients": {"steps": 8, "most": 16},
    "lime": {"samples": 24, "segments": 8},
    "rise": {"masks": 24, "cells": 4},
    "score_cam": {"layer": "features.3"},
    "smooth_grad": {"samples": 3},
}
"""Methods that look at many copies of an image, at few."""


@pytest.fixture(params=NAMES)
def explainer(request: pytest.FixtureRequest) -> Explainer:
    return parts.configure("explainers", {"use": request.param, **FEW.get(request.param, {})}).make()


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return small_cnn(size=16).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(10, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_the_room_has_its_first_inhabitants() -> None:
    assert {"gradient", "grad_cam"} <= set(NAMES)
    assert [parts.configure("explainers", name).make().name for name in NAMES] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is_where_it_comes_from_and_when_to_choose_it(name: str) -> None:
    function = parts.find("explainers", name)
    assert "Choose it" in str(function.__doc__)
    assert any(str(year) in str(__import__(function.__module__, fromlist=["x"]).__doc__) for year in range(1990, 2031))


def test_maps_have_the_images_size_are_finite_and_vary(explainer: Explainer, net: nn.Module, images: Tensor) -> None:
    found = explain(explainer, net, images, torch.arange(10))
    assert isinstance(found, Attributions)
    assert found.maps.shape == (10, 16, 16)
    assert found.maps.dtype == torch.float32
    assert torch.isfinite(found.maps).all()
    assert found.flat.sum() <= 5
    assert found.undefined is None


def test_the_same_call_gives_the_same_maps(explainer: Explainer, net: nn.Module, images: Tensor) -> None:
    first, second = (explain(explainer, net, images) for _ in range(2))
    assert torch.equal(first.maps, second.maps)


def test_order_and_batch_change_nothing(explainer: Explainer, net: nn.Module, images: Tensor) -> None:
    whole = explain(explainer, net, images)
    assert torch.equal(explain(explainer, net, images.flip(0)).maps.flip(0), whole.maps)
    pieces = explain(explainer, net, images, whole.classes, batch=3).maps
    torch.testing.assert_close(pieces, whole.maps, rtol=1e-4, atol=1e-6)


def test_classes_differ_and_come_together_or_alone(explainer: Explainer, net: nn.Module, images: Tensor) -> None:
    classes = torch.tensor([[2, 7]]).expand(10, 2)
    both = explain(explainer, net, images, classes)
    assert both.maps.shape == (10, 2, 16, 16)
    assert not torch.equal(both.maps[:, 0], both.maps[:, 1])
    alone = explain(explainer, net, images, classes[:, 1]).maps
    torch.testing.assert_close(both.maps[:, 1], alone, rtol=1e-4, atol=1e-6)


def test_module_and_images_are_as_they_were(explainer: Explainer, net: nn.Module, images: Tensor) -> None:
    net.train()
    kept, weights = images.clone(), {key: value.clone() for key, value in net.state_dict().items()}
    try:
        explain(explainer, net, images)
        assert all(part.training for part in net.modules())
    finally:
        net.eval()
    assert torch.equal(images, kept)
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in net.parameters())
    assert not any(part._forward_hooks or part._backward_hooks for part in net.modules())


def test_a_net_that_says_nothing_is_flagged(explainer: Explainer, images: Tensor) -> None:
    silent = small_cnn(size=16).eval()
    for weight in silent.parameters():
        weight.data.zero_()
    assert explain(explainer, silent, images).flat.all()


def test_a_net_without_convolutions_fails_nothing(explainer: Explainer, images: Tensor) -> None:
    found = explain(explainer, mlp(size=16).eval(), images)
    assert (found.undefined is None) == (len(found.maps) == 10)


@pytest.mark.parametrize("classes", [[0], [0] * 11, [10] * 10])
def test_classes_that_do_not_fit_are_refused(
    explainer: Explainer, net: nn.Module, images: Tensor, classes: list[int]
) -> None:
    with pytest.raises(InputError, match="class"):
        explain(explainer, net, images, classes)
