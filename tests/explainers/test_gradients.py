"""The gradient family: closed forms, completeness, and captum."""

from __future__ import annotations

import pytest
import torch
from captum.attr import GuidedBackprop, InputXGradient, IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor, nn
from torch.nn import functional as F

from bantamweight import parts
from bantamweight.errors import InputError
from bantamweight.explainers import explain
from bantamweight.explainers._blank import blank
from bantamweight.explainers._gradients import take_gradients
from bantamweight.explainers.guided_backprop import _GuidedReLU, guided_backprop
from bantamweight.explainers.input_x_gradient import input_x_gradient
from bantamweight.explainers.integrated_gradients import integrated_gradients
from bantamweight.explainers.smooth_grad import smooth_grad
from tests.explainers.nets import images, linear_net, plain_net, smooth_net, unit

CLASSES = torch.tensor([3, 0, 1, 2])


def rows_of(net: nn.Module, classes: Tensor = CLASSES) -> Tensor:
    """The weights of a linear net as images."""
    return net[1].weight.detach()[classes].view(len(classes), 3, 12, 12)


# Linear nets, where every one of them is known -----------------------------------------------------------------------


def test_on_a_linear_net_smoothing_changes_nothing() -> None:
    net = linear_net()
    found = explain(smooth_grad(samples=5, channels="sum"), net, images(), CLASSES).maps
    torch.testing.assert_close(found, rows_of(net).sum(dim=1))


def test_on_a_linear_net_integrated_gradients_are_weight_times_way() -> None:
    net, x = linear_net(), images()
    found = explain(integrated_gradients(baseline="grey", steps=2), net, x, CLASSES)
    torch.testing.assert_close(found.maps, ((x - 0.5) * rows_of(net)).sum(dim=1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.maps.sum(dim=(1, 2)), (net(x) - net(torch.full_like(x, 0.5))).gather(
        1, CLASSES[:, None])[:, 0].detach(), rtol=1e-4, atol=1e-5)  # fmt: skip
    assert found.completeness is not None
    assert float(found.completeness.max()) < 1e-5
    cheap = explain(input_x_gradient(baseline=0.5), net, x, CLASSES)
    torch.testing.assert_close(cheap.maps, found.maps, rtol=1e-4, atol=1e-6)


# Completeness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["black", "mean", "blurred"])
def test_maps_sum_to_the_change_of_the_score(baseline: str) -> None:
    net, x = plain_net(), images()
    found = explain({"use": "integrated_gradients", "baseline": baseline}, net, x, torch.arange(4).expand(4, 4))
    due = (net(x) - net(blank(x, baseline))).detach()
    missing = (found.maps.sum(dim=(2, 3)) - due).abs() / due.abs().clamp_min(1.0)
    assert float(missing.max()) <= 1.1e-3
    assert found.completeness is not None
    assert found.completeness.shape == (4, 4)
    torch.testing.assert_close(found.completeness, missing, rtol=0, atol=1e-4)


def test_steps_are_doubled_only_for_images_that_need_it() -> None:
    """A kink at .3 of the way: |x - .3| integrates to an error of the order of a step; a straight way needs none."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    net[1].weight.data = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]])
    net[3].weight.data = torch.ones(1, 2)
    net[1].bias = nn.Parameter(torch.tensor([-0.3, 0.0]))
    asked = []
    net.register_forward_hook(lambda _m, given, _o: asked.append(given[0][:, 0, 0, 0].clone()))
    x = torch.zeros(2, 1, 2, 2)
    x[0, 0, 0, 0], x[1, 0, 1, 1] = 1.0, 1.0
    method = integrated_gradients(steps=4, most=64, tolerance=0.02)
    found = method.explain(net, x, torch.zeros(2, 1, dtype=torch.int64), None, 64)
    error = float(found.completeness[0])
    assert error <= 0.02
    assert float(found.completeness[1]) == 0.0
    rough = integrated_gradients(steps=4, most=4).explain(net, x, torch.zeros(2, 1, dtype=torch.int64), None, 64)
    assert float(rough.completeness[0]) > 0.02
    # By hand: 4 steps see slopes 0, 0, 1, 1, 1 at 0, .25, .5, .75, 1, so .625 for the true .7.
    torch.testing.assert_close(rough.maps[0, 0, 0, 0], torch.tensor(0.625))


def test_doubling_gives_what_as_many_steps_at_once_give() -> None:
    net, x = plain_net(), images()
    slowly = explain(integrated_gradients(steps=4, most=32, tolerance=0.0), net, x, CLASSES)
    at_once = explain(integrated_gradients(steps=32, most=32), net, x, CLASSES)
    torch.testing.assert_close(slowly.maps, at_once.maps, rtol=1e-4, atol=1e-6)


def test_bfloat16_is_close_and_says_how_close() -> None:
    net, x = plain_net(), images()
    exact, fast = (explain(integrated_gradients(most=64), net, x, CLASSES, precision=p) for p in ("fp32", "bf16"))
    assert not torch.equal(exact.maps, fast.maps)
    assert fast.completeness is not None
    assert float(fast.completeness.max()) < 0.1
    assert float(torch.corrcoef(torch.stack([fast.maps.flatten(), exact.maps.flatten()]))[0, 1]) > 0.98


# Captum --------------------------------------------------------------------------------------------------------------


def test_integrated_gradients_are_captums() -> None:
    net, x = smooth_net(), images()
    ours = explain(integrated_gradients(steps=512, most=512), net, x, CLASSES).maps
    theirs = IntegratedGradients(net).attribute(x, target=CLASSES, n_steps=64).sum(dim=1)
    torch.testing.assert_close(unit(ours), unit(theirs.float().detach()), rtol=0, atol=1e-4)


def test_input_x_gradient_is_captums() -> None:
    net, x = plain_net(), images()
    ours = explain(input_x_gradient(), net, x, CLASSES).maps
    theirs = InputXGradient(net).attribute(x.clone().requires_grad_(), target=CLASSES).sum(dim=1)
    torch.testing.assert_close(unit(ours), unit(theirs.detach()), rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*backward hooks:UserWarning")
@pytest.mark.parametrize("inplace", [False, True])
def test_guided_backprop_is_captums(inplace: bool) -> None:
    ours = explain(guided_backprop(channels="sum"), plain_net(inplace=inplace), images(), CLASSES)
    theirs = GuidedBackprop(plain_net()).attribute(images().requires_grad_(), target=CLASSES).sum(dim=1)
    torch.testing.assert_close(unit(ours.maps), unit(theirs.detach()), rtol=0, atol=1e-4)
    assert "fail the randomisation check" in ours.caution


def test_smooth_grad_is_captums_up_to_its_random_numbers() -> None:
    net, x = plain_net(), images()
    ours = explain(smooth_grad(samples=600, noise=0.2, channels="sum"), net, x, CLASSES).maps
    spread = tuple(0.2 * float(one.max() - one.min()) for one in x)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.cat([
            NoiseTunnel(Saliency(net)).attribute(
                x[at : at + 1].clone().requires_grad_(), nt_samples=600, stdevs=spread[at], target=int(CLASSES[at]),
                abs=False,
            )
            for at in range(4)
        ]).sum(dim=1)  # fmt: skip
    for mine, other in zip(ours, theirs, strict=True):
        assert float(torch.corrcoef(torch.stack([mine.flatten(), other.flatten()]))[0, 1]) > 0.97


# What is particular to one -------------------------------------------------------------------------------------------


def test_guided_backprop_finds_relus_wherever_they_are() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([[1.0], [-1.0]]))

        def forward(self, x: Tensor) -> Tensor:
            hidden = F.relu(x.mean(dim=(2, 3))[:, :1] @ self.weight.T)
            return torch.relu(hidden @ torch.tensor([[1.0, -1.0], [2.0, 3.0]]))

    found = explain(guided_backprop(channels="sum"), Functional(), images(), [0] * 4).maps
    torch.testing.assert_close(found[:, 0, 0], torch.full((4,), 1.0 / 144))
    silent = explain(guided_backprop(), Functional(), images(), [1] * 4)
    assert silent.flat.all()  # the only way to class 1 is a negative weight


class Clipped(nn.Module):
    """Of four ReLU6 on an image of ones the first alone is active and speaks for class 0."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.module = form, nn.ReLU6(inplace=form == "in place")
        self.weight = nn.Parameter(torch.tensor([[2.0, 3.0, -1.0, 7.0]]))

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.mean(dim=(2, 3))[:, :1] * self.weight
        rectified = F.relu6(hidden) if self.form == "function" else self.module(hidden)
        score = rectified @ torch.tensor([[3.0], [-2.0], [1.0], [1.0]])
        return torch.cat([score, -score], dim=1)


@pytest.mark.parametrize("form", ["module", "in place", "function", "program"])
def test_guided_backprop_passes_through_relu6_where_it_is_active_and_the_gradient_positive(form: str) -> None:
    x, net = torch.ones(8, 3, 4, 4), Clipped(form)
    if form == "program":
        net = torch.export.export(net, (x,)).module()
    found = explain(guided_backprop(channels="sum"), net, x, [0] * 8, batch=8)
    assert found.undefined is None
    torch.testing.assert_close(found.maps, torch.full((8, 4, 4), 3.0 * 2.0 / 16))


def test_a_net_with_both_relus_is_guided_at_both() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.ReLU6(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad(), _GuidedReLU() as guided:
        net(torch.rand(2, 3, 4, 4))
    assert guided.count == 2
    clipped = nn.Sequential(nn.Flatten(), nn.Linear(48, 2), nn.Hardtanh())
    assert "no ReLU" in str(explain(guided_backprop(), clipped, images(2, 4)).undefined)


def test_mobilenet_has_a_guided_map() -> None:
    net = parts.configure("models", "mobilenet_v2").make().eval()
    found = explain(guided_backprop(), net, images(1, 32), [0], batch=8)
    assert found.undefined is None
    assert torch.isfinite(found.maps).all()


def test_guided_backprop_needs_a_relu_and_leaves_none_behind() -> None:
    assert "no ReLU" in str(explain(guided_backprop(), smooth_net(), images()).undefined)
    net = plain_net()
    before = explain("gradient", net, images()).maps
    explain(guided_backprop(), net, images())
    assert torch.equal(explain("gradient", net, images()).maps, before)


def test_noise_follows_the_image_and_the_seed() -> None:
    net, x = plain_net(), images()
    method, other = smooth_grad(samples=4), smooth_grad(samples=4, seed=1)
    whole = explain(method, net, x, CLASSES).maps
    assert torch.equal(explain(method, net, x[2:], CLASSES[2:]).maps, whole[2:])
    assert not torch.equal(explain(other, net, x, CLASSES).maps, whole)


def test_a_program_has_the_maps_of_its_net() -> None:
    net, x = plain_net(), images(3)
    batch = {0: torch.export.Dim("batch", min=1, max=4096)}
    program = torch.export.export(net, (images(8),), dynamic_shapes=(batch,)).module()
    for method in (guided_backprop(), integrated_gradients(steps=4, most=4), smooth_grad(samples=2)):
        theirs, ours = explain(method, program, x, [0, 1, 2]), explain(method, net, x, [0, 1, 2])
        torch.testing.assert_close(unit(theirs.maps), unit(ours.maps), rtol=0, atol=1e-3)


def test_no_more_rows_exist_than_were_allowed() -> None:
    sizes: list[int] = []

    def make(index: Tensor) -> Tensor:
        sizes.append(len(index))
        return images(len(index))

    taken = []
    scores = take_gradients(
        plain_net(),
        20,
        make,
        torch.zeros(20, 2, dtype=torch.int64),
        8,
        lambda at, column, _g: taken.append((at, column)),
    )
    assert sizes == [8, 8, 8]
    assert scores.shape == (20, 2)
    assert [(len(at), column) for at, column in taken] == [(8, 0), (8, 1), (8, 0), (8, 1), (4, 0), (4, 1)]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"use": "integrated_gradients", "steps": 0}, "at least 1 step"),
        ({"use": "integrated_gradients", "steps": 9, "most": 8}, "at most `most`"),
        ({"use": "integrated_gradients", "baseline": "blue"}, "baseline"),
        ({"use": "smooth_grad", "samples": 0}, "at least 1 sample"),
        ({"use": "smooth_grad", "noise": -0.1}, "noise of 0 or more"),
        ({"use": "smoothgrad"}, "did you mean 'smooth_grad'"),
    ],
)
def test_settings_that_can_not_be_meant(spec: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        explain(spec, plain_net(), images())
    with pytest.raises(InputError, match="precision fp32 or bf16"):
        explain("gradient", plain_net(), images(), precision="fp8")  # type: ignore[arg-type]
