"""Deletion, insertion, faithfulness correlation and ROAD against answers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.explainers.metrics._area import area
from bantamweight.explainers.metrics._core import answers, importance, path, stops
from bantamweight.explainers.metrics._impute import DIAGONAL, DIRECT, imputed
from bantamweight.explainers.metrics.deletion import deletion
from bantamweight.explainers.metrics.faithfulness_correlation import faithfulness_correlation
from bantamweight.explainers.metrics.insertion import insertion
from bantamweight.explainers.metrics.road import road
from bantamweight.models.small_cnn import small_cnn
from tests.explainers.metrics.scenes import linear, made


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_area_counts_both_endpoints_half() -> None:
    """n = 4 steps, s = 1, .8, .4, .2, 0: (2.4 - .5) / 4 = .475."""
    curve = np.array([[1.0, 0.8, 0.4, 0.2, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_allclose(area(curve), [0.475, 1.0])
    np.testing.assert_allclose(area(curve), [np.sum((c[1:] + c[:-1]) / 2) / 4 for c in curve])


def test_deletion_of_a_linear_net_by_hand() -> None:
    """Pixels 1, 1, 1, 0 with weights 4, 2, 1, 9 on black: the logit goes 7, 3, 1, 0, 0 in the map's order."""
    net = linear(torch.tensor([4.0, 2.0, 1.0, 9.0]))
    image = torch.tensor([1.0, 1.0, 1.0, 0.0]).reshape(1, 1, 2, 2)
    seen = made(torch.tensor([[[4.0, 2.0], [1.0, -1.0]]]), images=image, net=net)
    found = deletion(steps=4, baseline="black").score(seen)
    by_hand = [sigmoid(logit) for logit in (7, 3, 1, 0, 0)]
    np.testing.assert_allclose(found.curve[0], by_hand, rtol=1e-6)
    np.testing.assert_allclose(found.values, (sum(by_hand) - (by_hand[0] + by_hand[-1]) / 2) / 4, rtol=1e-6)
    assert found.stops == (0.0, 0.25, 0.5, 0.75, 1.0)
    # Insertion's masks are the complements: from black, the logit goes 0, 4, 6, 7, 7.
    into = insertion(steps=4, baseline="black").score(seen)
    np.testing.assert_allclose(into.curve[0], [sigmoid(logit) for logit in (0, 4, 6, 7, 7)], rtol=1e-6)


def test_all_channels_of_a_pixel_go_together() -> None:
    net = linear(torch.tensor([1.0, 0.0, 2.0, 0.0]))
    image = torch.ones(1, 2, 1, 2)
    seen = made(torch.tensor([[[5.0, 1.0]]]), images=image, net=net)
    found = deletion(steps=2, baseline="black").score(seen)
    np.testing.assert_allclose(found.curve[0], [sigmoid(3), sigmoid(0), sigmoid(0)], rtol=1e-6)


def test_the_best_order_beats_the_worst() -> None:
    torch.manual_seed(0)
    weights, images = torch.rand(1, 8, 8), torch.rand(6, 1, 8, 8) * 0.1
    best, worst = (made(sign * weights.expand(6, 8, 8), images=images, net=linear(weights)) for sign in (1.0, -1.0))
    for metric in (deletion(baseline="black"), insertion(baseline="black")):
        better, other = metric.score(best).values, metric.score(worst).values
        assert ((better < other) if metric.better == "lower" else (better > other)).all(), metric.name


def test_batches_change_nothing_and_the_original_class_is_followed() -> None:
    torch.manual_seed(0)
    net, images = small_cnn(size=16).eval(), torch.rand(5, 3, 16, 16)
    with torch.no_grad():
        classes = net(images).argmax(dim=1)
    maps = torch.rand(5, 16, 16)
    whole = made(maps, images=images, net=net, classes=classes)
    small = made(maps, images=images, net=net, classes=classes, batch=3)
    for metric in (deletion(), insertion()):
        found = metric.score(whole)
        np.testing.assert_allclose(found.values, metric.score(small).values, rtol=1e-5)
        ends = torch.softmax(net(images), dim=1).gather(1, classes[:, None])[:, 0].detach().numpy()
        np.testing.assert_allclose(found.curve[:, 0 if metric.name == "deletion" else -1], ends, rtol=1e-4)
        assert found.curve.shape == (5, 17)


def test_bf16_agrees_within_its_precision() -> None:
    torch.manual_seed(0)
    net, images, maps = small_cnn(size=16).eval(), torch.rand(4, 3, 16, 16), torch.rand(4, 16, 16)
    rough = answers(net, images, precision="bf16")
    exact, fast = (
        deletion().score(made(maps, images=images, net=net, answer=answer)).values for answer in (None, rough)
    )
    np.testing.assert_allclose(fast, exact, atol=0.02)
    assert not np.array_equal(fast, exact)


def test_ties_are_drawn_by_the_image_and_every_pixel_has_one_place() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 1, 20, 20)
    maps = torch.zeros(2, 20, 20)
    maps[:, 7, 3] = 1.0
    places = importance(maps, images)
    assert (places[:, 7 * 20 + 3] == 0).all()
    assert torch.equal(places.sort(dim=1).values, torch.arange(400).expand(2, -1))
    assert not torch.equal(places[0], places[1])
    assert torch.equal(importance(maps[1:], images[1:]), places[1:])
    # In reading order the first half of the ties would lie in the upper half of the image.
    upper = (places.reshape(2, 20, 20)[:, :10] < 200).float().mean()
    assert 0.4 < float(upper) < 0.6


def test_stops() -> None:
    assert stops(9, 3, 3) == (0, 3, 6, 9)
    assert stops(1024, None, 32)[:3] == (0, 32, 64)
    assert stops(4, 100, 2) == (0, 1, 2, 3, 4)
    with pytest.raises(InputError, match="at least 1 step"):
        stops(4, 0, 2)


def test_a_path_has_both_endpoints() -> None:
    seen = made(torch.rand(2, 3, 3), net=linear(torch.ones(9)))
    start, end = torch.zeros(2, 1, 3, 3), torch.ones(2, 1, 3, 3)
    curve = path(seen, importance(seen.evidence, seen.images), start, end, (0, 9))
    np.testing.assert_allclose(curve, [[0.5, sigmoid(9)]] * 2, rtol=1e-6)


# Faithfulness correlation --------------------------------------------------------------------------------------------


def test_contributions_of_a_linear_net_correlate_perfectly() -> None:
    """Removing S takes sum of w_i (x_i - mean) over S from the logit: exactly the contributions' sum."""
    torch.manual_seed(0)
    weights, images = torch.randn(8, 8), torch.rand(3, 1, 8, 8)
    contributions = weights * (images - images.mean(dim=(2, 3), keepdim=True))[:, 0]
    metric = faithfulness_correlation(draws=40)
    np.testing.assert_allclose(metric.score(made(contributions, images=images, net=linear(weights))).values, 1.0)
    opposed = metric.score(made(-contributions, images=images, net=linear(weights))).values
    np.testing.assert_allclose(opposed, -1.0)


def test_a_flat_map_has_no_correlation() -> None:
    found = faithfulness_correlation(draws=5).score(made(torch.ones(2, 4, 4), images=torch.rand(2, 1, 4, 4)))
    assert np.isnan(found.values).all()
    assert found.why
    for bad in ({"share": 1.0}, {"draws": 2}):
        with pytest.raises(InputError, match="share in"):
            faithfulness_correlation(**bad)


# ROAD ----------------------------------------------------------------------------------------------------------------


def test_one_missing_pixel_is_the_weighted_mean_of_its_neighbours() -> None:
    image = np.arange(9.0).reshape(1, 3, 3)
    image[0, 1, 1] = 100.0
    removed = np.zeros((3, 3), bool)
    removed[1, 1] = True
    direct, diagonal = 1 + 3 + 5 + 7, 0 + 2 + 6 + 8
    assert imputed(image, removed)[0, 1, 1] == pytest.approx(direct / 6 + diagonal / 12)
    assert pytest.approx(1.0) == DIRECT * 4 + DIAGONAL * 4
    kept = imputed(image, removed)
    assert np.array_equal(np.delete(kept.ravel(), 4), np.delete(image.ravel(), 4))


def test_a_corner_counts_only_the_neighbours_it_has() -> None:
    image = np.array([[[0.0, 1.0], [2.0, 4.0]]])
    removed = np.array([[True, False], [False, False]])
    total = 2 * DIRECT + DIAGONAL
    assert imputed(image, removed)[0, 0, 0] == pytest.approx(((1 + 2) * DIRECT + 4 * DIAGONAL) / total)


def test_two_missing_pixels_are_solved_together() -> None:
    """On a line of 0, a, b, 3 the equations are 2a = 0 + b and 2b = a + 3: a = 1, b = 2."""
    image = np.array([[[0.0, 9.0, 9.0, 3.0]]])
    np.testing.assert_allclose(imputed(image, np.array([[False, True, True, False]]))[0, 0], [0, 1, 2, 3])


def test_a_map_of_mostly_zeros_does_not_delete_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    from bantamweight.explainers.metrics import road as module

    holes: list[float] = []

    def spied(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
        holes.append(float(removed.mean()))
        return imputed(image, removed)

    monkeypatch.setattr(module, "imputed", spied)
    maps = torch.zeros(1, 10, 10)
    maps[0, 0, 0] = 1.0
    road(shares=(0.1, 0.5)).score(made(maps, images=torch.rand(1, 1, 10, 10)))
    assert holes == [0.1, 0.1, 0.5, 0.5]


def test_road_of_a_map_that_finds_the_object() -> None:
    """A bright square on black, which is all that the net sees: without it the probability falls to a half."""
    square = torch.zeros(1, 12, 12)
    square[:, 4:8, 4:8] = 1.0
    seen = made(square, images=square[:, None], net=linear(square))
    found = road(shares=(0.12, 0.5), noise=0.0).score(seen)
    np.testing.assert_allclose(found.curve[0], [sigmoid(16) - 0.5, sigmoid(16) - 0.5], atol=0.05)
    upside_down = road(shares=(0.12, 0.5), noise=0.0).score(made(-square, images=square[:, None], net=linear(square)))
    np.testing.assert_allclose(upside_down.curve, -found.curve, atol=0.02)


def test_road_of_a_smooth_image_is_near_nothing() -> None:
    """What can be imputed from its neighbours was no information: a constant image keeps its class."""
    images = torch.full((2, 1, 8, 8), 0.5)
    found = road().score(made(torch.rand(2, 8, 8), images=images, net=linear(torch.randn(8, 8))))
    assert np.abs(found.values).max() < 0.05
    with pytest.raises(InputError, match="between 0 and 1"):
        road(shares=(0.5, 1.0))


def test_the_module_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    net: nn.Module = small_cnn(size=16).train()
    before: dict[str, Tensor] = {name: value.clone() for name, value in net.state_dict().items()}
    deletion(steps=2).score(made(torch.rand(2, 16, 16), images=torch.rand(2, 3, 16, 16), net=net))
    assert net.training
    assert all(weight.requires_grad for weight in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
