"""Inversion and maximisation: the priors by hand, and searches whose answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.explainers.pictures import Prior, depths, invert, maximise
from bantamweight.explainers.pictures._search import alpha_norm, search, total_variation
from bantamweight.models.small_cnn import small_cnn
from tests.explainers.nets import images, linear_net, plain_net

NOTHING = Prior(tv=0.0, norm=0.0)


@pytest.mark.parametrize("beta", [2.0, 3.0, 1.5])
def test_the_gradient_of_total_variation_is_the_one_worked_out(beta: float) -> None:
    """beta [D_{i-1,j}^p (x_ij - x_{i-1,j}) + D_{i,j-1}^p (x_ij - x_{i,j-1}) - D_ij^p (x_{i+1,j} + x_{i,j+1} - 2 x_ij)],
    p = beta / 2 - 1, where a difference over the border is none."""
    x = images(2, 6).double().requires_grad_()
    (found,) = torch.autograd.grad(total_variation(x, beta).sum(), x)
    one, p = x[1, 2].detach(), beta / 2 - 1
    h, w = one.shape

    def down(i: int, j: int) -> float:
        return float(one[i + 1, j] - one[i, j]) if i + 1 < h else 0.0

    def right(i: int, j: int) -> float:
        return float(one[i, j + 1] - one[i, j]) if j + 1 < w else 0.0

    def power(i: int, j: int) -> float:
        squared = down(i, j) ** 2 + right(i, j) ** 2
        return squared**p if squared > 0 else 0.0

    for i in range(h):
        for j in range(w):
            above = power(i - 1, j) * down(i - 1, j) if i else 0.0
            left = power(i, j - 1) * right(i, j - 1) if j else 0.0
            expected = beta * (above + left - power(i, j) * (down(i, j) + right(i, j)))
            assert float(found[1, 2, i, j]) == pytest.approx(expected, abs=1e-6)


def test_priors_of_images_that_are_known() -> None:
    flat, edge = torch.full((1, 1, 4, 4), 0.75), torch.zeros(1, 1, 4, 4)
    edge[..., 2:] = 1.0
    assert float(total_variation(flat)) == 0.0
    assert float(total_variation(edge)) == 4.0
    assert float(total_variation(2 * edge, 3.0)) == 4 * 8
    assert float(alpha_norm(flat, 2.0)) == 16 * 0.0625
    terms = Prior(tv=2.0, l2=3.0, norm=5.0, alpha=6.0).terms(edge)
    assert {name: float(value) for name, value in terms.items()} == {"tv": 0.5, "l2": 0.75, "norm": 5.0}
    assert Prior(tv=0.0, norm=0.0).terms(edge) == {}


def test_a_search_finds_the_image_that_is_wanted() -> None:
    wanted = images(3, 8)
    heard = []

    def loss(shown: Tensor, rows: Tensor) -> Tensor:
        return (shown - wanted[rows]).flatten(1).square().sum(dim=1)

    found = search(
        loss, torch.arange(3), (3, 8, 8), name="test", prior=NOTHING, steps=150, scales=(0.5, 1.0), rate=0.05, rows=2,
        progress=lambda done, total: heard.append((done, total)),
    )  # fmt: skip
    assert float((found.images - wanted).abs().max()) < 0.02
    assert found.losses.keys() == {"fit"}
    assert found.total.shape == (3, 150)
    assert (found.total[:, -1] < found.total[:, 0] / 100).all()
    assert heard[0] == (1, 300)
    assert heard[-1] == (300, 300)
    assert len(heard) == 300


def test_an_early_layer_knows_the_image_and_rows_are_their_own() -> None:
    net, x = plain_net(), images(3)
    found = invert(net, x, layer="0", prior=NOTHING, steps=200, rate=0.03)
    assert float(found.image_error.max()) < 0.1
    assert float(found.feature_error.max()) < 0.05
    with torch.no_grad():
        there = (net[0](found.images) - net[0](x)).flatten(1).norm(dim=1) / net[0](x).flatten(1).norm(dim=1)
    torch.testing.assert_close(found.feature_error, there, rtol=1e-3, atol=1e-5)
    alone = invert(net, x[1:2], layer="0", prior=NOTHING, steps=200, rate=0.03)
    torch.testing.assert_close(alone.images, found.images[1:2], rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_nets_in_other_precisions_are_inverted_from_float32_images(dtype: torch.dtype) -> None:
    net, x = plain_net().to(dtype), images(2)
    assert depths(nn.Sequential(nn.Conv2d(3, 3, 1), net).to(dtype), x)[2] == "1.4"
    found = invert(net, x, layer="0", prior=NOTHING, steps=60, rate=0.05)
    assert {part.dtype for part in (found.images, found.feature_error, found.image_error)} == {torch.float32}
    assert next(net.parameters()).dtype == dtype
    assert float(found.image_error.max()) < 0.9
    if dtype == torch.float64:
        same = invert(plain_net(), x, layer="0", prior=NOTHING, steps=60, rate=0.05)
        torch.testing.assert_close(found.images, same.images, rtol=0, atol=0.02)


def test_later_layers_know_less() -> None:
    torch.manual_seed(0)
    net, x = small_cnn(size=16).eval(), images(4, 16)
    early, middle, late = depths(net, x)
    assert (early, late) == ("features.0", "features.16")
    errors = [float(invert(net, x, layer=at, steps=90).image_error.mean()) for at in (early, middle, late)]
    assert errors[0] < errors[1] < errors[2]


def test_restarts_are_seeded_and_the_best_is_kept() -> None:
    net, x = plain_net(), images(2)
    few = invert(net, x, steps=12, restarts=3, seed=1)
    again = invert(net, x, steps=12, restarts=3, seed=1)
    assert torch.equal(few.images, again.images)
    assert not torch.equal(few.images, invert(net, x, steps=12, restarts=3, seed=2).images)
    assert few.losses["fit"].shape == (2, 3, 12)
    three = invert(net, x, steps=12, restarts=3)
    each = torch.stack([invert(net, x, steps=12, seed=seed).feature_error for seed in range(3)])
    torch.testing.assert_close(three.feature_error, each.amin(dim=0), rtol=1e-3, atol=1e-4)


def test_what_a_linear_class_likes_best_is_its_weights_sign() -> None:
    net = linear_net()
    found = maximise(net, [2, 0], (3, 12, 12), prior=NOTHING, steps=150, jitter=0)
    rows = net[1].weight.detach()[[2, 0]].view(2, 3, 12, 12)
    clear = rows.abs() > 1e-3
    torch.testing.assert_close(found.images[clear], (rows > 0).float()[clear])
    torch.testing.assert_close(found.logits, net(found.images)[[0, 1], [2, 0]].detach())
    assert found.losses["fit"].shape == (2, 1, 150)


def test_priors_calm_an_image() -> None:
    wild = maximise(plain_net(), [1], (3, 12, 12), prior=NOTHING, steps=40)
    calm = maximise(plain_net(), [1], (3, 12, 12), steps=40)
    assert float(total_variation(calm.images)) < 0.5 * float(total_variation(wild.images))
    assert float(wild.logits) > float(calm.logits)


def test_the_module_is_as_it_was() -> None:
    net = plain_net().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    invert(net, images(1), steps=3)
    maximise(net, [0], (3, 12, 12), steps=3)
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in net.parameters())
    assert not any(part._forward_hooks for part in net.modules())


def test_what_can_not_be_meant() -> None:
    net, x = plain_net(), images(1)
    for wrong, said in [
        (lambda: invert(net, x * 2), r"images in \[0, 1\]"),
        (lambda: invert(net, x, layer="7.x"), "expected layer to name a part of the model, got '7.x'"),
        (lambda: invert(net, x, restarts=0), "at least 1 restart"),
        (lambda: invert(net, x, steps=2), "at least a step each"),
        (lambda: invert(linear_net(), x), "no convolution"),
        (lambda: maximise(net, [4], (3, 12, 12)), "expected classes from 0 to 3"),
        (lambda: maximise(net, [], (3, 12, 12)), "expected classes"),
        (lambda: Prior(tv=-1.0), "weights of 0 or more"),
        (lambda: depths(plain_net()[:1], x), "1 convolutions"),
    ]:
        with pytest.raises(InputError, match=said):
            wrong()


def test_layers_that_say_nothing_can_not_be_inverted() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    for weight in net[0].parameters():
        weight.data.fill_(-1.0)
    with pytest.raises(InputError, match="features are all zero"):
        invert(net, images(1, 2))
