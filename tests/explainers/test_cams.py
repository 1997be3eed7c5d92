"""The class-activation methods: closed forms, autograd, captum, and what they share."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LayerGradCam, LayerGradientXActivation
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.explainers import Explainer, explain
from bantamweight.explainers._cam import CAMS, cam, cams
from bantamweight.explainers._core import Heat
from bantamweight.explainers._gradients import pair
from bantamweight.explainers.cam import cam as zhou_cam
from bantamweight.explainers.grad_cam import grad_cam
from bantamweight.explainers.grad_cam_plus_plus import grad_cam_plus_plus
from bantamweight.explainers.hires_cam import hires_cam
from bantamweight.explainers.layer_cam import layer_cam
from bantamweight.explainers.xgrad_cam import xgrad_cam
from bantamweight.models.resnet20 import resnet20
from bantamweight.models.simple_cnn import simple_cnn
from tests.explainers.nets import images, linear_net, plain_net, pooled_net, unit

ALL = torch.arange(4).expand(4, 4)


def coarse(explainer: Explainer, net: nn.Module, x: Tensor, classes: Tensor = ALL) -> Tensor:
    found = explain(explainer, net, x, classes).coarse
    assert found is not None
    return found


def test_cam_is_the_weighted_sum_of_the_activations_with_its_sign() -> None:
    net, x = pooled_net(), images()
    expected = torch.einsum("kc,bcuv->bkuv", net[7].weight.detach(), net[:5](x).detach())
    found = coarse(zhou_cam(), net, x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert (found < 0).any()


def test_on_a_pooled_net_grad_cam_is_the_positive_part_of_cam_over_its_size() -> None:
    net, x = pooled_net(), images()
    torch.testing.assert_close(coarse(grad_cam(), net, x), coarse(zhou_cam(), net, x).relu() / 36, rtol=1e-4, atol=1e-7)


def test_on_a_pooled_net_four_methods_are_one() -> None:
    """With the same gradient everywhere, averaging it (over all places, or over the active ones) changes nothing."""
    net, x = pooled_net(), images()
    expected = coarse(hires_cam(), net, x).relu()
    for method in (grad_cam(), xgrad_cam()):
        torch.testing.assert_close(coarse(method, net, x), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("layer", ["3", "0", None])
def test_hires_cam_sums_to_the_score_where_the_rest_is_linear(layer: str | None) -> None:
    """Without biases behind the layer a piecewise linear tail is g . A."""
    net, x = plain_net(), images()
    for part in net[5:]:
        if isinstance(part, nn.Linear):
            part.bias.data.zero_()
    net[3].bias.data.zero_()
    found = coarse(hires_cam(layer=layer), net, x).sum(dim=(2, 3))
    torch.testing.assert_close(found, net(x).detach(), rtol=1e-4, atol=1e-5)


def test_grad_cam_plus_plus_agrees_with_the_derivatives_of_the_exponential() -> None:
    """Equation 10 with second and third derivatives of Y = exp(S) by autograd, one position after the other."""
    net, x = plain_net().double(), images(1).double()
    A = net[:5](x).detach().requires_grad_()
    score = net[5:](A)[0, 2]
    first = torch.autograd.grad(score.exp(), A, create_graph=True)[0]
    second, third = torch.zeros_like(A), torch.zeros_like(A)
    for at in range(A.numel()):
        bent = torch.autograd.grad(first.flatten()[at], A, create_graph=True)[0].flatten()[at]
        second.view(-1)[at] = bent.detach()
        third.view(-1)[at] = torch.autograd.grad(bent, A, retain_graph=True)[0].flatten()[at]
    below = 2 * second + A.detach().sum(dim=(2, 3), keepdim=True) * third
    alpha = torch.where(below == 0, 0.0, second / torch.where(below == 0, 1.0, below))
    weights = (alpha * first.detach().relu()).sum(dim=(2, 3))
    expected = torch.einsum("bk,bkuv->buv", weights, A.detach()).relu() / score.exp().detach()
    found = coarse(grad_cam_plus_plus(), net, x, torch.tensor([[2]]))[:, 0]
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-8)


def test_grad_cam_plus_plus_survives_negative_activations() -> None:
    """At a layer before its ReLU 2 + g sum(A) passes through zero."""
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten(), nn.Linear(4, 2, bias=False))
    net[0].weight.data.fill_(0.0)
    net[0].bias.data.fill_(-0.5)
    net[2].weight.data.fill_(1.0)
    found = coarse(grad_cam_plus_plus(), net, images(2, 2), torch.zeros(2, 1, dtype=torch.int64))
    assert torch.isfinite(found).all()


def test_xgrad_cam_gives_no_weight_to_activations_that_cancel() -> None:
    """Before a ReLU a channel may sum to zero up to rounding, and what is divided by that is rounding as well."""
    A = torch.rand(4, 2, 5, 5, generator=torch.Generator().manual_seed(0)) - 0.5
    A[:, 0] -= A[:, 0].mean(dim=(1, 2), keepdim=True)
    assert (A[:, 0].sum(dim=(1, 2)) != 0).any()
    g = torch.rand(4, 1, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    combine = xgrad_cam().combine
    assert combine is not None
    alone = combine(A[:, 1:], g[:, :, 1:])
    torch.testing.assert_close(combine(A, g), alone, rtol=1e-5, atol=1e-6)


def by_hand(name: str, A: Tensor, g: Tensor) -> Tensor:
    """One map `(u, v)` from one image's A and g `(c, u, v)`, in loops as the papers write them."""
    out = torch.zeros(A.shape[1:], dtype=A.dtype)
    for k in range(len(A)):
        if name == "layer_cam":
            out += g[k].clamp(min=0) * A[k]
        elif name == "hires_cam":
            out += g[k] * A[k]
        elif name == "xgrad_cam":
            total = A[k].sum()
            out += 0 if total == 0 else (g[k] * A[k]).sum() / total * A[k]
        elif name == "grad_cam":
            out += g[k].mean() * A[k]
        else:
            bent = 2 * g[k] ** 2 + g[k] ** 3 * A[k].sum()
            alpha = torch.where(g[k] == 0, 0.0, g[k] ** 2 / torch.where(bent == 0, 1.0, bent))
            out += (alpha * g[k].clamp(min=0)).sum() * A[k]
    return out if name == "hires_cam" else out.clamp(min=0)


@pytest.mark.parametrize("name", CAMS)
@pytest.mark.parametrize("inplace", [False, True])
def test_every_expression_is_the_papers(name: str, inplace: bool) -> None:
    net, x = plain_net(inplace=inplace), images()
    found = cams(net, x, ALL, use=[name])[name].coarse
    seen = pair(net, x, ALL, "4")
    assert found is not None
    for image in range(4):
        for column in range(4):
            expected = by_hand(name, seen.activations[image].double(), seen.gradients[image, column].double())
            torch.testing.assert_close(found[image, column].double(), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("make", "layer"), [(simple_cnn, "features.10"), (resnet20, "layer3.2.relu2")])
def test_grad_cam_and_hires_cam_are_captums(make: type, layer: str) -> None:
    torch.manual_seed(0)
    net, x, classes = make(size=16).eval(), images(4, 16), torch.tensor([3, 1, 4, 1])
    found = cams(net, x, classes, use=["grad_cam", "hires_cam"], batch=8)
    peer = LayerGradCam(net, net.get_submodule(layer)).attribute(x, target=classes, relu_attributions=True)
    torch.testing.assert_close(unit(found["grad_cam"].coarse), unit(peer[:, 0].detach()), rtol=0, atol=1e-4)
    peer = LayerGradientXActivation(net, net.get_submodule(layer)).attribute(x, target=classes).sum(dim=1)
    torch.testing.assert_close(unit(found["hires_cam"].coarse), unit(peer.detach()), rtol=0, atol=1e-4)


# Together -----------------------------------------------------------------------------------------------------------


def test_together_they_are_what_each_is_alone_and_cost_one_forward() -> None:
    net, x = plain_net(), images(10)
    classes = torch.arange(4).expand(10, 4)
    runs = []
    handle = net.register_forward_hook(lambda *_: runs.append(1))
    together = cams(net, x, classes)
    handle.remove()
    assert len(runs) == len(CAMS) + 1  # each method looks for its layer on eight rows; one pair serves all
    assert list(together) == list(CAMS)
    for name, found in together.items():
        alone = explain(name, net, x, classes)
        assert torch.equal(found.maps, alone.maps), name
        assert (found.layer, found.explainer) == ("4", name)


def test_methods_of_other_kinds_and_layers_come_too() -> None:
    net, x = plain_net(), images()
    found = cams(net, x, use=["gradient", grad_cam(layer="1"), "layer_cam", {"use": "occlusion", "window": 6}])
    assert list(found) == ["gradient", "grad_cam", "layer_cam", "occlusion"]
    assert (found["grad_cam"].layer, found["layer_cam"].layer) == ("1", "4")
    assert torch.equal(found["grad_cam"].maps, explain(grad_cam(layer="1"), net, x).maps)


def test_where_they_are_undefined_each_says_so() -> None:
    found = cams(linear_net(), images(), use=["grad_cam", "layer_cam", "gradient"])
    assert str(found["grad_cam"].undefined).startswith("no convolution")
    assert str(found["layer_cam"].undefined).startswith("no convolution")
    assert found["gradient"].undefined is None
    with pytest.raises(InputError, match="not defined for this model: no convolution"):
        cams(linear_net(), images(), use=["grad_cam", "layer_cam"], strict=True)


def test_maps_that_are_not_finite_are_undefined_also_together() -> None:
    net = pooled_net()
    net[7].weight.data.fill_(float("inf"))
    assert "not finite" in str(cams(net, images(), ALL, use=["grad_cam", "layer_cam"])["layer_cam"].undefined)


def test_one_name_twice_is_refused() -> None:
    with pytest.raises(InputError, match="methods that differ, got grad_cam, grad_cam"):
        cams(plain_net(), images(), use=["grad_cam", grad_cam(layer="1")])


def test_short_lists_are_refused_together_too() -> None:
    with pytest.raises(InputError, match="one row of classes for each of 4 images, got 3"):
        cams(plain_net(), images(), [0, 1, 2])


def test_no_class_waits_for_another_in_memory() -> None:
    """A combine sees one class's gradients at a time."""
    seen = []

    def combine(A: Tensor, g: Tensor) -> Tensor:
        seen.append(tuple(g.shape))
        return torch.einsum("bkcuv,bcuv->bkuv", g, A)

    explain(cam("mine", combine), plain_net(), images(), ALL)
    assert seen == [(64, 1, 8, 6, 6)] * 4


# Defined or not -----------------------------------------------------------------------------------------------------


def test_cam_is_undefined_where_scores_are_not_linear_in_the_means() -> None:
    reason = explain(zhou_cam(), plain_net(), images()).undefined
    assert reason is not None
    assert "not linear in the channel means of 4" in reason
    hidden = nn.Sequential(*pooled_net()[:7], nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    assert explain(zhou_cam(), hidden, images()).undefined is not None
    assert explain(zhou_cam(layer="1"), pooled_net(), images()).undefined is not None


def test_the_magnitude_of_bf16_maps_is_that_of_float32() -> None:
    torch.manual_seed(0)
    net, x = simple_cnn(size=16).eval(), images(4, 16)
    exact, fast = (explain(layer_cam(), net, x, [0, 1, 2, 3], precision=p) for p in ("fp32", "bf16"))
    assert fast.maps.dtype == torch.float32
    assert fast.layer == exact.layer
    assert not torch.equal(fast.maps, exact.maps)
    torch.testing.assert_close(unit(fast.maps), unit(exact.maps), rtol=0, atol=0.1)


def test_a_heat_changes_in_every_part_that_is_there() -> None:
    heat = Heat(torch.ones(2, 1, 2, 2), None, torch.ones(2, 1)).each(lambda part: part[:1] * 2)
    assert (heat.maps.shape, heat.coarse, heat.completeness.tolist()) == ((1, 1, 2, 2), None, [[2.0]])
