"""The core: checks, batching, layers found, and a module left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bantamweight.errors import InputError
from bantamweight.explainers import Explainer, explain
from bantamweight.explainers._cam import cam
from bantamweight.explainers._core import Heat, Undefined, input_gradient, pair
from bantamweight.explainers._layers import find_layer
from bantamweight.explainers.grad_cam import grad_cam
from bantamweight.explainers.gradient import gradient


class Residual(nn.Module):
    """A block that overwrites what it made: in-place batch of sum and ReLU, one ReLU used twice."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.bn = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv2(self.relu(self.conv1(x))))
        y += self.shortcut(x)
        return self.relu(y)


def residual_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(Residual(3, 6, 1), Residual(6, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    net[0].bn.running_mean.normal_()
    return net.eval()


def plain_net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout(0.9),
        nn.Flatten(),
        nn.Linear(6 * 6 * 6, 5),
    ).eval()


def mlp() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 5)).eval()


def images(count: int = 20) -> Tensor:
    return torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(3))


# Layers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("net", "layer"), [(residual_net(), "1"), (plain_net(), "2")])
def test_the_layer_found_is_the_last_block_after_its_activation_and_before_pooling(net: nn.Module, layer: str) -> None:
    assert find_layer(net, images(2)) == layer
    assert explain(grad_cam(), net, images(2)).layer == layer


def test_a_convolution_without_positions_is_passed_over() -> None:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 5, 1), nn.Flatten())
    assert find_layer(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), head), images(1)) == "1"
    with pytest.raises(Undefined, match="larger than 1x1 at this input size \\(12x12\\)"):
        find_layer(head, images(1)[:, :1].expand(-1, 6, -1, -1))


def test_the_pair_is_read_before_an_in_place_activation_overwrites_it() -> None:
    net, x, classes = plain_net(), images(8), torch.zeros(8, 1, dtype=torch.int64)
    found = pair(net, x, classes, "1")
    assert (found.activations < 0).any()
    torch.testing.assert_close(found.activations, net[1](net[0](x)))
    torch.testing.assert_close(found.logits, net(x))


def test_the_pair_of_a_layer_that_runs_twice_is_its_last_run() -> None:
    net, x, classes = residual_net(), images(8), torch.zeros(8, 1, dtype=torch.int64)
    shared, block = pair(net, x, classes, "1.relu"), pair(net, x, classes, "1")
    assert torch.equal(shared.activations, block.activations)
    assert torch.equal(shared.gradients, block.gradients)


def test_the_pair_agrees_with_autograd() -> None:
    net, x = residual_net(), images(8)
    classes = torch.tensor([[0, 4]]).expand(8, 2)
    found = pair(net, x, classes, "1")
    leaf = net[:2](x).detach().requires_grad_()
    for column, index in enumerate((0, 4)):
        (expected,) = torch.autograd.grad(net[2:](leaf)[:, index].sum(), leaf)
        torch.testing.assert_close(found.gradients[:, column], expected)


def test_the_pair_inside_a_block_counts_only_the_path_through_it() -> None:
    """The shortcut runs beside conv2, so the gradient there is the one through batch norm and the last ReLU."""
    net, x = residual_net(), images(8)
    classes = torch.ones(8, 1, dtype=torch.int64)
    found = pair(net, x, classes, "1.conv2")
    block, below = net[1], net[0](x)
    leaf = block.conv2(F.relu(block.conv1(below))).detach().requires_grad_()
    logits = net[2:](F.relu(block.bn(leaf) + block.shortcut(below)))
    (expected,) = torch.autograd.grad(logits[:, 1].sum(), leaf)
    torch.testing.assert_close(found.gradients[:, 0], expected)


# Exported programs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program() -> nn.Module:
    batch = torch.export.Dim("batch", min=1, max=4096)
    exported = torch.export.export(residual_net(), (images(8),), dynamic_shapes=({0: batch},))
    return exported.module()


def test_a_program_has_the_maps_of_the_net_it_was_made_from(program: nn.Module) -> None:
    net, x = residual_net(), images(11)
    for explainer in (gradient(), grad_cam()):
        eager, exported = explain(explainer, net, x), explain(explainer, program, x)
        assert exported.undefined is None
        torch.testing.assert_close(exported.maps, eager.maps, rtol=1e-4, atol=1e-6)


def test_a_programs_layer_is_the_function_after_the_last_sum(program: nn.Module) -> None:
    """Its convolutions, norms and activations are operators of a graph and no modules."""
    found = explain(grad_cam(), program, images(8))
    assert found.layer == "relu#4"
    assert explain(grad_cam(), nn.Sequential(nn.Identity(), program), images(8)).layer == "relu#4"
    assert torch.equal(explain(grad_cam(layer="relu#4"), program, images(8)).maps, found.maps)
    with pytest.raises(InputError, match="got 'conv2#5'; did you mean 'conv2d#5'"):
        explain(grad_cam(layer="conv2#5"), program, images(8))


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own, on copying a graph
def test_decomposed_programs_work_too() -> None:
    exported = torch.export.export(residual_net(), (images(8),)).run_decompositions()
    found = explain(grad_cam(), exported.module(), images(8), batch=8)
    assert found.layer == "relu#4"
    torch.testing.assert_close(found.maps, explain(grad_cam(), residual_net(), images(8)).maps, rtol=1e-4, atol=1e-6)


class Functional(nn.Module):
    """A net that keeps no submodule but a ReLU that it uses everywhere, also after flattening."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = (nn.Parameter(torch.randn(6, inputs, 3, 3) * 0.3) for inputs in (3, 6))
        self.linear = nn.Parameter(torch.randn(5, 6))
        self.relu = nn.ReLU()

    def features(self, x: Tensor) -> Tensor:
        x = self.relu(F.conv2d(x, self.first, padding=1))
        return self.relu(F.conv2d(x, self.second, padding=1) + x)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.features(x).clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3) @ self.linear.T)


def test_convolutions_that_are_functions_are_found_by_their_count() -> None:
    net, x = Functional(), images(8)
    assert find_layer(net, x) == "clamp#1"
    found = pair(net, x, torch.zeros(8, 1, dtype=torch.int64), "relu#2")
    torch.testing.assert_close(found.activations, net.features(x))


# What comes in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"classes": [1, 2]}, "one row of classes for each of 20 images, got 2"),
        ({"classes": torch.zeros(20, 0, dtype=torch.int64)}, "one row of classes"),
        ({"classes": torch.zeros(20)}, "class indices"),
        ({"classes": [5] * 20}, "classes from 0 to 4 .* got 5"),
        ({"classes": [0] * 19 + [-1]}, "classes from 0 to 4 .* got -1"),
        ({"images": images() * 3}, r"images in \[0, 1\], got min=.* normalisation belongs inside"),
        ({"images": images() * torch.nan}, r"images in \[0, 1\]"),
        ({"images": images()[0]}, r"\(b, c, h, w\)"),
        ({"images": (images() * 255).to(torch.uint8)}, "float images"),
        ({"images": images()[:0]}, "at least one image"),
        ({"batch": 0}, "batch >= 1"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(bad: dict, message: str) -> None:
    call = {"images": images(), "classes": [0] * 20} | bad
    for explainer in (gradient(), grad_cam()):
        with pytest.raises(InputError, match=message):
            explain(explainer, residual_net(), **call)


def test_a_layer_that_is_mistyped_gets_a_near_match() -> None:
    with pytest.raises(InputError, match=r"got '1\.conv3'; did you mean '1\.conv[12]'\?"):
        explain(grad_cam(layer="1.conv3"), residual_net(), images())


def test_a_layer_without_positions_is_refused() -> None:
    with pytest.raises(InputError, match="choose a layer before the image is flattened"):
        explain(grad_cam(layer="4"), residual_net(), images())


def test_a_layer_that_does_not_run_is_refused() -> None:
    net = residual_net()
    net.add_module("unused", nn.Conv2d(3, 3, 1))
    net.forward = lambda x: nn.Sequential(*list(net)[:5])(x)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="expected layer 'unused' to run"):
        explain(grad_cam(layer="unused"), net, images())


def test_a_model_that_returns_no_logits_is_refused() -> None:
    with pytest.raises(InputError, match=r"logits \(b, classes\), got \(\d+, 6, 12, 12\)"):
        explain(gradient(), residual_net()[:1], images())


# Undefined -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [None, "1.conv2"])
def test_a_net_without_convolutions_has_no_cam_and_fails_nothing(layer: str | None) -> None:
    found = explain(grad_cam(layer=layer), mlp(), images())
    assert found.undefined is not None
    assert found.undefined.startswith("no convolution")
    assert len(found.maps) == len(found.flat) == len(found.classes) == 0
    assert grad_cam(layer=layer).undefined(mlp(), images()) == found.undefined
    assert grad_cam().undefined(residual_net(), images()) is None


def test_asked_for_by_hand_it_is_an_error() -> None:
    with pytest.raises(InputError, match="grad_cam is not defined for this model: no convolution"):
        explain(grad_cam(), mlp(), images(), strict=True)


def test_a_model_that_detaches_its_input_has_no_gradient() -> None:
    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1)

    assert "no gradient" in str(explain(gradient(), Detached(), images()).undefined)


def test_maps_that_overflow_are_not_maps() -> None:
    net = mlp()
    net[1].weight.data[3, 0] = torch.inf
    found = explain(gradient(), net, images(), [3] * 20)
    assert found.undefined == "20 of 20 maps are not finite: the model's outputs or gradients overflow"


# Shapes, batches, classes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("explainer", [gradient(), grad_cam()], ids=["gradient", "grad_cam"])
def test_maps_do_not_depend_on_number_or_order_of_the_images(explainer: Explainer) -> None:
    net, x = residual_net(), images(67)
    whole = explain(explainer, net, x)
    order = torch.randperm(67, generator=torch.Generator().manual_seed(0))
    assert torch.equal(explain(explainer, net, x[order]).maps, whole.maps[order])
    assert torch.equal(explain(explainer, net, x[60:61]).maps, whole.maps[60:61])
    assert torch.equal(explain(explainer, net, x, batch=512).maps, whole.maps)
    for batch in (1, 7, 32):  # other kernels, other last bits
        part = explain(explainer, net, x, whole.classes, batch=batch)
        torch.testing.assert_close(part.maps, whole.maps, rtol=1e-5, atol=1e-6 * float(whole.maps.abs().max()))


@pytest.mark.parametrize(("batch", "rows"), [(1, 8), (8, 8), (9, 16), (64, 64), (512, 64)])
def test_batch_bounds_the_rows_of_a_forward(batch: int, rows: int) -> None:
    seen = []

    class Counting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return x

    explain(gradient(), nn.Sequential(Counting(), residual_net()), images(67), batch=batch)
    assert set(seen) == {rows}


@pytest.mark.parametrize("explainer", [gradient(), grad_cam()], ids=["gradient", "grad_cam"])
def test_many_classes_at_once_are_the_classes_one_by_one(explainer: Explainer) -> None:
    net, x = residual_net(), images()
    classes = torch.arange(5).expand(20, 5)
    together = explain(explainer, net, x, classes)
    assert together.maps.shape == (20, 5, 12, 12)
    assert together.flat.shape == together.classes.shape == (20, 5)
    for index in range(5):
        one = explain(explainer, net, x, classes[:, index])
        assert one.maps.shape == (20, 12, 12)
        torch.testing.assert_close(together.maps[:, index], one.maps, rtol=1e-5, atol=1e-7)


def test_without_classes_the_predicted_one_is_explained() -> None:
    net, x = residual_net(), images()
    found = explain(gradient(), net, x)
    assert torch.equal(found.classes, net(x).argmax(dim=1))
    assert torch.equal(found.maps, explain(gradient(), net, x, found.classes).maps)


def test_coarse_maps_are_kept_at_the_layers_resolution() -> None:
    found = explain(grad_cam(), residual_net(), images())
    assert found.coarse is not None
    assert found.coarse.shape == (20, 6, 6)
    resized = F.interpolate(found.coarse[:, None], (12, 12), mode="bilinear", align_corners=False)[:, 0]
    assert torch.equal(found.maps, resized)


def test_flat_maps_are_flagged() -> None:
    def combine(activations: Tensor, gradients: Tensor) -> Tensor:
        coarse = torch.full((len(activations), gradients.shape[1], 5, 5), 0.1)
        coarse[1] = 0.0
        coarse[2, :, 0, 0] = 0.2
        return coarse

    found = explain(cam("constant", combine), residual_net(), images(3))
    assert found.flat.tolist() == [True, True, False]
    assert float(found.maps[1].abs().max()) == 0.0


def test_a_dead_net_gives_flagged_zeros_not_noise() -> None:
    net = residual_net()
    net[4].weight.data.zero_()
    for explainer in (gradient(), grad_cam()):
        found = explain(explainer, net, images())
        assert found.flat.all()
        assert not found.maps.any()


def test_grey_images_and_odd_sizes_work() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    x = torch.rand(3, 1, 9, 13)
    assert explain(gradient(), net, x).maps.shape == explain(grad_cam(), net, x).maps.shape == (3, 9, 13)


# What is left behind -------------------------------------------------------------------------------------------------


def _state(net: nn.Module) -> tuple:
    return (
        [part.training for part in net.modules()],
        [(parameter.requires_grad, parameter.grad) for parameter in net.parameters()],
        [len(part._forward_hooks) for part in net.modules()],
        {key: value.clone() for key, value in net.state_dict().items()},
        [sorted(vars(part)) for part in net.modules()],
    )


def _same(one: tuple, other: tuple) -> bool:
    weights, others = one[3], other[3]
    same_weights = all(torch.equal(weights[key], others[key]) for key in weights)
    return same_weights and one[:3] + one[4:] == other[:3] + other[4:]


@pytest.mark.parametrize("explainer", [gradient(), grad_cam()], ids=["gradient", "grad_cam"])
def test_module_and_images_are_untouched_also_in_training_mode(explainer: Explainer) -> None:
    net, x = plain_net(), images()
    expected = explain(explainer, net, x).maps
    net.train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    before, kept = _state(net), x.clone()
    assert torch.equal(explain(explainer, net, x).maps, expected)
    assert _same(before, _state(net))
    assert torch.equal(x, kept)
    assert x.grad is None


def test_module_is_untouched_when_it_raises() -> None:
    class Fragile(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                raise RuntimeError("broken inside")
            return x

    net = nn.Sequential(nn.Conv2d(3, 4, 3), Fragile(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    before = _state(net)
    for explainer in (gradient(), grad_cam()):
        with pytest.raises(RuntimeError, match="broken inside"):
            explain(explainer, net, images())
    with pytest.raises(InputError):
        explain(grad_cam(), net[:1], images())
    assert _same(before, _state(net))


def test_it_works_inside_no_grad_and_inference_mode() -> None:
    net, x = residual_net(), images()
    expected = explain(grad_cam(), net, x).maps
    with torch.no_grad():
        assert torch.equal(explain(grad_cam(), net, x).maps, expected)
    with torch.inference_mode():
        assert torch.equal(explain(grad_cam(), net, images()).maps, expected)


def test_images_with_history_are_explained_and_get_no_gradient() -> None:
    net, x = residual_net(), images().requires_grad_()
    found = explain(gradient(), net, x * 0.5)
    assert not found.maps.requires_grad
    assert x.grad is None


def test_an_explainer_that_only_looks_at_outputs_needs_no_help() -> None:
    """What a later method such as occlusion needs: a quiet module, padded tiles, any number of forwards."""

    def half(module: nn.Module, x: Tensor, classes: Tensor, _layer: str | None) -> Heat:
        assert not module.training
        covered = x.clone()
        covered[..., :6] = 0.5
        drop = (module(x) - module(covered)).gather(1, classes)[:, :, None, None]
        return Heat(drop * (torch.arange(12) < 6).expand(12, 12))

    found = explain(Explainer("half", half), residual_net().train(), images())
    assert found.maps.shape == (20, 12, 12)
    assert not found.maps.requires_grad


def test_input_gradient_is_the_mean_change_of_the_score() -> None:
    net, x = residual_net(), images(8).double()
    net.double()
    step, classes = 1e-6, torch.full((8, 1), 2)
    found = input_gradient(net, x, classes)[:, 0, 1, 4, 5]
    moved = x.clone()
    moved[:, 1, 4, 5] += step
    with torch.no_grad():
        torch.testing.assert_close(found, (net(moved) - net(x))[:, 2] / step, rtol=1e-3, atol=1e-6)
