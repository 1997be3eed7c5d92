"""What a map is like: Gini, entropy, and how it moves with the image and with the model's parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.explainers import Explainer, explain
from bantamweight.explainers._core import Heat
from bantamweight.explainers.gradient import gradient
from bantamweight.explainers.metrics import scene
from bantamweight.explainers.metrics._baselines import BASELINES, baselines
from bantamweight.explainers.metrics.complexity import complexity
from bantamweight.explainers.metrics.max_sensitivity import max_sensitivity
from bantamweight.explainers.metrics.mprt import mprt, parametric, reinitialise
from bantamweight.explainers.metrics.sparseness import sparseness
from bantamweight.explainers.metrics.stability import stability
from bantamweight.models.small_cnn import small_cnn
from tests.explainers.metrics.scenes import given, linear, made


def row(*values: float) -> Tensor:
    return torch.tensor([[values]])


def test_gini_by_hand() -> None:
    """Equal: 0. One of four: 3/4. Of 1, 2, 3, 4: 1 - 2 (1/10 * 3.5 + 2/10 * 2.5 + 3/10 * 1.5 + 4/10 * .5) / 4 = .25."""
    for values, gini in (((1, 1, 1, 1), 0.0), ((0, 0, -5, 0), 0.75), ((1, -2, 3, 4), 0.25)):
        assert sparseness().score(made(row(*values))).values[0] == pytest.approx(gini)
    assert np.isnan(sparseness().score(made(row(0, 0, 0))).values[0])


def test_entropy_by_hand() -> None:
    for values, entropy in (((2, 2, -2, 2), math.log(4)), ((0, 7, 0, 0), 0.0), ((1, 1, 2, 0), 1.5 * math.log(2))):
        assert complexity().score(made(row(*values))).values[0] == pytest.approx(entropy)
    assert np.isnan(complexity().score(made(row(0, 0, 0))).values[0])


def test_a_map_that_ignores_the_image_is_perfectly_insensitive() -> None:
    maps = torch.rand(2, 4, 4)
    seen = made(maps[:1].expand(2, -1, -1), explainer=given(maps), images=torch.rand(2, 1, 4, 4))
    for metric in (max_sensitivity(draws=2), stability(draws=2)):
        assert metric.score(seen).values.tolist() == [0.0, 0.0]


def test_sensitivity_of_a_map_that_is_the_image() -> None:
    """P(x) = x: the relative change is ||d|| / ||x||, at most radius * sqrt(pixels) / ||x||, and it gets near that."""
    images = 0.4 + 0.2 * torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    seen = made(images[:, 0], images=images, explainer=given(lambda x: x[:, 0]))
    found = max_sensitivity(radius=0.05, draws=8).score(seen).values
    most = 0.05 * 12 / images.flatten(1).norm(dim=1).numpy()
    assert (found < most).all()
    assert (found > 0.5 * most).all()  # uniform draws have a root mean square of radius / sqrt(3)
    more = max_sensitivity(radius=0.05, draws=16).score(seen).values
    assert (more >= found).all()


def test_stability_does_not_see_a_maps_scale() -> None:
    images = 0.4 + 0.2 * torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    one, other = (
        stability(draws=3).score(
            made(factor * images[:, 0], images=images, explainer=given(lambda x, f=factor: f * x[:, 0]))
        )
        for factor in (1.0, 50.0)
    )
    np.testing.assert_allclose(one.values, other.values, rtol=1e-5)
    assert (one.values > 0).all()


def test_zero_maps_have_no_sensitivity() -> None:
    seen = made(torch.zeros(1, 4, 4), images=torch.rand(1, 1, 4, 4))
    for metric in (max_sensitivity(draws=1), stability(draws=1)):
        assert np.isnan(metric.score(seen).values).all()
    with pytest.raises(InputError, match="radius above 0"):
        max_sensitivity(radius=0.0).score(seen)


# Parameters ----------------------------------------------------------------------------------------------------------


def test_maps_that_are_the_image_fail_and_maps_that_are_the_weights_pass() -> None:
    torch.manual_seed(0)
    images = torch.rand(6, 1, 8, 8)
    net = linear(torch.randn(8, 8))
    edges = next(one for one in baselines() if one.name == "edge_map")
    stuck = mprt().score(scene(edges, net, images, torch.zeros(6, dtype=torch.int64)))
    np.testing.assert_allclose(stuck.values, 1.0)
    free = mprt().score(scene(gradient(channels="sum"), net, images, torch.zeros(6, dtype=torch.int64)))
    assert np.abs(free.values).max() < 0.4


def test_the_sign_counts_unless_it_is_left_out() -> None:
    """A map that turns its sign with the parameters is another map, though its magnitude stays."""
    torch.manual_seed(0)
    images, net = torch.rand(4, 1, 8, 8), linear(torch.ones(8, 8))
    turned = [1.0]

    def explain_(_module: nn.Module, rows: Tensor, classes: Tensor, _layer: str | None) -> Heat:
        return Heat(turned[0] * rows[:, :1].expand(-1, classes.shape[1], -1, -1))

    seen = scene(Explainer("turning", explain_), net, images, torch.zeros(4, dtype=torch.int64))
    turned[0] = -1.0
    np.testing.assert_allclose(mprt().score(seen).values, -1.0)
    np.testing.assert_allclose(mprt(magnitude=True).score(seen).values, 1.0)


def test_layers_go_from_the_output_down_and_the_net_stays_as_it_was() -> None:
    torch.manual_seed(0)
    net = small_cnn(size=16).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    names = parametric(net)
    assert (names[0], names[-1]) == ("classifier.2", "features.0")
    assert len(names) == len(set(names)) == 12
    images = torch.rand(3, 3, 16, 16)
    found = mprt(most=4).score(scene(gradient(), net, images, torch.zeros(3, dtype=torch.int64)))
    assert found.stops == (names[0], names[4], names[7], names[-1])
    assert found.curve.shape == (3, 4)
    np.testing.assert_allclose(found.values, found.curve.mean(axis=1))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_what_is_re_initialised_and_what_is_not() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
    net[1].running_mean.fill_(5.0)
    kept = net[0].weight.clone()
    nn.init.constant_(net[3].weight, 7.0)
    nn.init.constant_(net[1].weight, 7.0)
    reinitialise(net, ["3", "1"], seed=0)
    assert torch.equal(net[0].weight, kept)
    assert 0.9 / 12 < net[3].weight.abs().max().item() <= 1 / 12
    assert (net[1].weight == 1).all()
    assert (net[1].running_mean == 0).all()
    assert (net[1].running_var == 1).all()
    again = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
    reinitialise(again, ["3"], seed=0)
    assert torch.equal(again[3].weight, net[3].weight)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own, on copying a graph
def test_exported_programs_are_re_initialised_alike() -> None:
    torch.manual_seed(0)
    net, images = small_cnn(size=16).eval(), torch.rand(8, 3, 16, 16)
    program = torch.export.export(net, (images,)).module()
    assert parametric(program) == parametric(net)
    scores = [
        mprt(most=3).score(scene(gradient(), one, images, torch.zeros(8, dtype=torch.int64), batch=8))
        for one in (net, program)
    ]
    np.testing.assert_allclose(scores[0].values, scores[1].values, atol=1e-3)


def test_a_model_without_parameters_is_refused() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.sum(dim=(1, 2, 3)), x.mean(dim=(1, 2, 3))], dim=1)

    with pytest.raises(InputError, match="with parameters to re-initialise"):
        mprt().score(scene(gradient(), Sum(), torch.rand(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64)))


# Baselines -----------------------------------------------------------------------------------------------------------


def test_baselines_know_the_image_at_most() -> None:
    images = torch.rand(4, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    nets = [small_cnn(size=9).eval(), linear(torch.zeros(3 * 81))]
    found = [[explain(one, net, images, [0, 1, 0, 1]).maps for one in baselines()] for net in nets]
    assert [one.name for one in baselines()] == list(BASELINES)
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
    lots, centre, _ = found[0]
    assert 0.4 < float(lots.mean()) < 0.6
    assert centre[0].argmax() == 40
    assert not torch.equal(lots[0], lots[1])
    half = torch.zeros(1, 1, 6, 6)
    half[..., 3:] = 1.0
    edges = explain(baselines()[2], linear(torch.zeros(36)), half, [0]).maps[0]
    np.testing.assert_allclose(edges.numpy(), np.tile([0.0, 0, 4, 4, 0, 0], (6, 1)))
