"""Where published documents are wrong, a computation says what is right.

Each test names the document (two reports on sports pictures, an exam on architectures, a thesis on over-pruning) and
the question, and holds both: what is printed there, and what comes out.
"""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bantamweight.models._anatomy import Anatomy, anatomy
from bantamweight.models._published import PUBLISHED
from bantamweight.models.preact_resnet18 import Basic
from bantamweight.parts import configure

MB, MIB = 10**6, 2**20


def made(name: str, size: int = 224, classes: int = 1000, **settings: object) -> nn.Module:
    with torch.device("meta"):
        return configure("models", {"use": name, "size": size, "classes": classes, **settings}).make().eval()


def taken_apart(name: str, **settings: object) -> Anatomy:
    return anatomy(made(name, **settings), (3, 224, 224))


def parameters(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def conv_macs(*layers: nn.Module, channels: int) -> int:
    return anatomy(nn.Sequential(*layers), (channels, 16, 16)).macs // 256


# the exam, question 1


def test_cam_takes_k_minus_one_additions_per_pixel() -> None:
    additions = 512 * 512 * (512 - 1)
    assert additions == 133_955_584
    assert additions != 133_693_440


def test_global_pooling_discards_layout_and_a_linear_layer_does_not() -> None:
    features = torch.randn(1, 3, 4, 4)
    mixed = features.flatten(2)[:, :, torch.randperm(16)].view_as(features)
    linear = nn.Linear(48, 2)
    pooled = [maps.mean((2, 3)) for maps in (features, mixed)]
    torch.testing.assert_close(*pooled)
    assert not torch.allclose(linear(features.flatten(1)), linear(mixed.flatten(1)))


def test_grad_cam_of_a_pooled_linear_net_is_the_rectified_cam_over_z() -> None:
    maps, weight = torch.randn(5, 6, 7).requires_grad_(), torch.randn(5)
    (weight @ maps.mean((1, 2))).backward()
    grad_cam = torch.relu((maps.grad.mean((1, 2))[:, None, None] * maps).sum(0))
    cam = (weight[:, None, None] * maps).sum(0)
    torch.testing.assert_close(grad_cam, torch.relu(cam) / 42)


# the exam, question 2


@pytest.mark.parametrize(("size", "padding", "side"), [(224, 0, 54), (227, 0, 55), (224, 2, 55)])
def test_alexnets_first_convolution(size: int, padding: int, side: int) -> None:
    assert nn.Conv2d(3, 1, 11, stride=4, padding=padding)(torch.zeros(1, 3, size, size)).shape[-1] == side


def test_alexnets_counts_and_whose_macs_are_quoted() -> None:
    grouped, ungrouped = taken_apart("alexnet"), taken_apart("alexnet_ungrouped")
    assert (grouped.parameters, ungrouped.parameters) == (60_965_224, 62_378_344)
    assert round(grouped.macs / 1e9, 1) == 0.7
    assert round(ungrouped.macs / 1e9, 1) == 1.1
    assert round(4 * ungrouped.parameters / MB, 1) == 249.5  # quoted beside the other net's 0.7 G
    fc6 = next(row for row in ungrouped.layers if row.name == "fc6")
    assert round(fc6.parameters / ungrouped.parameters, 3) == 0.605


def test_alexnets_static_memory_is_nearly_all_parameters() -> None:
    net = taken_apart("alexnet_ungrouped")
    outputs = sum(row.activation_bytes for row in net.layers if row.kind in ("Conv2d", "Linear"))
    share = 4 * net.parameters / (4 * net.parameters + outputs)
    assert round(share, 4) == 0.9895
    assert round(1 - share, 4) == 0.0105
    # The gigabyte is weights, gradients and Adam's two moments, whatever the number of images.
    assert round(4 * 4 * net.parameters / 1e9, 2) == 1.0
    assert outputs < 0.003 * 1e9


def test_which_convolutions_of_alexnet_stay_on_their_gpu() -> None:
    groups = {name: layer.groups for name, layer in made("alexnet").named_modules() if isinstance(layer, nn.Conv2d)}
    assert [name for name, count in groups.items() if count == 2] == ["conv2", "conv4", "conv5"]


def test_the_dropout_formula_keeps_with_probability_p() -> None:
    keep = Fraction(7, 10)
    assert keep * (1 / keep) + (1 - keep) * 0 == 1  # E[y] = x as written, when p is the chance to keep
    kept = F.dropout(torch.ones(1000), p=0.3, training=True)
    torch.testing.assert_close(kept[kept > 0].unique(), torch.tensor([1 / 0.7]))  # torch's p is the chance to drop


def test_quoted_errors_are_those_of_ensembles() -> None:
    quoted = {"alexnet": 15.3, "vgg16": 7.3, "googlenet": 6.67, "resnet152": 3.57}
    assert {name: PUBLISHED[name].ensemble for name in quoted} == quoted
    assert all((PUBLISHED[name].nets or 1) > 1 for name in quoted)
    assert all(PUBLISHED[name].single > quoted[name] for name in quoted if name != "vgg16")


# the exam, question 3


def test_growth_of_naive_modules() -> None:
    assert 128 + 192 + 96 + 256 == 672  # the pool keeps its channels
    assert 128 + 192 + 96 + 64 == 480  # what is drawn: a projection behind the pool
    assert round(256 * 1.875**6) == 11_124


def test_savings_of_a_bottleneck() -> None:
    direct = conv_macs(nn.Conv2d(64, 16, 5, padding=2), channels=64)
    reduced = conv_macs(nn.Conv2d(64, 16, 1), nn.Conv2d(16, 16, 5, padding=2), channels=64)
    assert Fraction(direct, 64**2) == Fraction(25, 4)  # 6.25 H W C^2, not a quarter of it
    assert Fraction(reduced, 64**2) == Fraction(29, 16)
    assert round(direct / reduced, 2) == 3.45


# the exam, question 4


def test_a_residual_block_can_stop_the_gradient() -> None:
    def block(features: torch.Tensor) -> torch.Tensor:
        return features + -features

    jacobian = torch.autograd.functional.jacobian(block, torch.randn(4))
    assert float(torch.linalg.matrix_norm(jacobian, 2)) == 0.0


def test_resnet50_is_larger_than_resnet34_and_has_a_linear_layer() -> None:
    assert parameters(made("resnet50")) == 25_557_032 > 21_797_672 == parameters(made("resnet34"))
    assert parameters(made("resnet50").fc) == 2_049_000


def test_quoted_flops_are_macs() -> None:
    for name, quoted in (("vgg16", 15.5), ("resnet50", 4.1)):
        net = taken_apart(name)
        assert round(net.macs / 1e9, 1) == quoted
        assert net.flops == 2 * net.macs


def test_share_of_linear_layers_in_vgg16() -> None:
    net = taken_apart("vgg16")
    assert round(net.linear_parameters / net.parameters, 3) == 0.894


def test_the_printed_block_formula_is_the_preactivation_one() -> None:
    block = Basic(4, 4, 1, first=False).eval()
    features = torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        inner = block.conv1(torch.relu(block.bn1(features)))
        torch.testing.assert_close(block(features), features + block.conv2(torch.relu(block.bn2(inner))))


# the exam, question 5


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_the_sign_of_fgsm_for_a_logistic_model(label: float) -> None:
    images, weight = torch.tensor([0.3, -0.2]).requires_grad_(), torch.tensor([1.0, -2.0])
    probability = torch.sigmoid(weight @ images)
    gradient_of_f = torch.autograd.grad(probability, images, retain_graph=True)[0]
    F.binary_cross_entropy(probability, torch.tensor(label)).backward()
    agrees = torch.equal(images.grad.sign(), gradient_of_f.sign())
    assert agrees == (label == 0.0)  # f - y = f > 0 for y = 0: the step follows the gradient of f


def test_a_kernel_density_needs_the_width_to_integrate_to_one() -> None:
    points, width = torch.tensor([-1.0, 0.5, 2.0]), 0.25
    grid = torch.linspace(-10, 10, 20_001, dtype=torch.float64)
    kernel = torch.exp(-(((grid[:, None] - points) / width) ** 2) / 2) / math.sqrt(2 * math.pi)
    printed = float(torch.trapezoid(kernel.mean(1), grid))
    assert printed == pytest.approx(width)
    assert printed / width == pytest.approx(1.0)


def test_distillations_gradient_shrinks_with_the_square_of_the_temperature() -> None:
    teacher, norms = torch.randn(1, 5, dtype=torch.float64), []
    start = torch.randn(1, 5, dtype=torch.float64)
    for temperature in (100.0, 200.0):
        student = start.clone().requires_grad_()
        log = F.log_softmax(student / temperature, 1)
        F.kl_div(log, F.softmax(teacher / temperature, 1), reduction="batchmean").backward()
        norms.append(float(student.grad.norm()))
    assert norms[0] / norms[1] == pytest.approx(4.0, rel=0.05)


# the exam, question 6


def test_the_arithmetic_of_the_comparison() -> None:
    assert round(15.3 - 7.3, 1) == 8.0
    assert parameters(made("googlenet")) == 6_998_552
    assert parameters(made("googlenet", auxiliaries=True)) == 13_378_280
    assert parameters(made("googlenet_bn")) == 6_624_904
    sizes = {name: 4 * parameters(made(name)) for name in ("alexnet_ungrouped", "vgg16", "resnet152")}
    assert round(sizes["alexnet_ungrouped"] / MB, 1) == 249.5  # one column, two units
    assert round(sizes["vgg16"] / MIB) == 528
    assert round(sizes["resnet152"] / MIB) == 230


def test_two_small_kernels_are_cheaper_and_a_longer_path() -> None:
    two = anatomy(nn.Sequential(nn.Conv2d(8, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False)), (8, 16, 16))
    one = anatomy(nn.Conv2d(8, 8, 5, bias=False), (8, 16, 16))
    assert two.field == one.field
    assert Fraction(two.parameters, one.parameters) == Fraction(18, 25)
    assert (two.depth, one.depth) == (2, 1)


# the exam, question 7


def test_receptive_fields_of_alexnet() -> None:
    fields = {row.name: row.field for row in taken_apart("alexnet").layers}
    assert [fields[f"conv{number}"] for number in (2, 3, 5)] == [(51, 51), (99, 99), (163, 163)]
    assert fields["conv5"][0] < 224  # not yet the entire image


def total_variation(image: torch.Tensor, beta: float) -> torch.Tensor:
    """Mahendran & Vedaldi 2015, with forward differences that end at the border."""
    return squares(image).pow(beta / 2).sum()


def squares(image: torch.Tensor) -> torch.Tensor:
    down = F.pad(image[1:] - image[:-1], (0, 0, 0, 1))
    right = F.pad(image[:, 1:] - image[:, :-1], (0, 1))
    return down**2 + right**2


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0])
def test_the_gradient_of_total_variation(beta: float) -> None:
    image = torch.rand(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    total_variation(image, beta).backward()
    with torch.no_grad():
        power = squares(image) ** (beta / 2 - 1)
        i, j = 3, 2
        right = beta * (
            power[i - 1, j] * (image[i, j] - image[i - 1, j])
            + power[i, j - 1] * (image[i, j] - image[i, j - 1])
            - power[i, j] * (image[i + 1, j] + image[i, j + 1] - 2 * image[i, j])
        )
        printed = beta * power[i, j] * (image[i + 1, j] - image[i, j] + image[i, j + 1] - image[i, j])
    assert float(image.grad[i, j]) == pytest.approx(float(right))
    assert float(image.grad[i, j]) != pytest.approx(float(printed), rel=0.01)


def test_the_square_norm_shrinks_and_only_the_absolute_one_makes_zeros() -> None:
    wanted, strength = torch.tensor([0.05, -0.3, 2.0]), 0.2
    squared = wanted / (1 + 2 * strength)  # argmin (x - w)^2 / 2 + strength x^2
    absolute = wanted.sign() * torch.relu(wanted.abs() - strength)  # argmin (x - w)^2 / 2 + strength |x|
    assert bool((squared != 0).all())
    assert int((absolute == 0).sum()) == 1


def test_information_about_the_class_cannot_rise_with_depth() -> None:
    draws = torch.Generator().manual_seed(0)
    joint = torch.rand(3, 6, generator=draws, dtype=torch.float64)
    joint /= joint.sum()
    last = mutual_information(joint)
    for width in (6, 5, 4):
        layer = torch.rand(joint.shape[1], width, generator=draws, dtype=torch.float64)
        joint = joint @ (layer / layer.sum(1, keepdim=True))
        assert mutual_information(joint) <= last + 1e-12
        last = mutual_information(joint)


def mutual_information(joint: torch.Tensor) -> float:
    product = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float((joint * (joint / product).log()).sum())


def test_integrated_gradients_depend_on_the_baseline() -> None:
    def attributions(baseline: tuple[float, float]) -> list[float]:
        # Of f(a, b) = a b at (1, 1); the integrand is linear, so its mean over the path is its value in the middle.
        start = torch.tensor(baseline)
        middle = (start + 1) / 2
        return ((1 - start) * middle.flip(0)).tolist()

    assert attributions((0.0, 0.0)) == [0.5, 0.5]
    assert attributions((1.0, 0.0)) == [0.0, 1.0]


def test_masks_of_deletion_and_insertion_are_complements() -> None:
    image, top = torch.rand(20) + 0.1, torch.zeros(20)
    top[torch.topk(torch.rand(20), 6).indices] = 1
    inserted = 0 * (1 - top) + image * top
    assert torch.equal(top * image, inserted)  # the printed deletion is an insertion on a black baseline
    torch.testing.assert_close((1 - top) * image + inserted, image)


def test_correlating_a_gradient_map_with_the_gradient_is_circular() -> None:
    gradient = torch.randn(50).abs()
    assert float(torch.corrcoef(torch.stack([gradient, gradient]))[0, 1]) == pytest.approx(1.0)


# the reports on sports pictures

RECALLS = {
    "simple_cnn": (60, 80, 60, 80, 60, 80, 80, 60, 80, 60),
    "resnet_small": (80, 100, 80, 60, 80, 60, 80, 60, 60, 100),
}
RIGHT = {"mlp": (2, 4, 0, 2, 5, 2, 5, 3, 2, 3), "small_cnn": (4, 3, 4, 4, 5, 5, 5, 5, 1, 5)}


@pytest.mark.parametrize(("name", "mean", "claimed"), [("simple_cnn", 70, 68), ("resnet_small", 76, 72)])
def test_recalls_of_equally_many_images_average_to_the_accuracy(name: str, mean: int, claimed: int) -> None:
    assert sum(RECALLS[name]) / 10 == mean != claimed


@pytest.mark.parametrize(("name", "right", "claimed"), [("mlp", 28, 58), ("small_cnn", 41, 86)])
def test_counts_per_class_add_up_to_another_accuracy(name: str, right: int, claimed: int) -> None:
    assert sum(RIGHT[name]) == right
    assert 100 * right / 50 != claimed


@pytest.mark.parametrize(
    ("name", "sparsities", "whole"),
    [
        (
            "simple_cnn",
            {"features.0": 65, "features.4": 78, "features.8": 85, "classifier.2": 82, "classifier.5": 45},
            82.1,
        ),
        ("resnet_small", {"stem": 60, "stage1": 72, "stage2": 80, "stage3": 88, "linear": 40}, 85.6),
    ],
)
def test_sparsities_of_layers_recombine_to_another_whole(name: str, sparsities: dict[str, int], whole: float) -> None:
    layers = dict(made(name, 32, 10).named_modules())
    counts = {part: sum(one.numel() for one in layers[part].parameters() if one.dim() > 1) for part in sparsities}
    assert sum(counts.values()) == sum(one.numel() for one in layers[""].parameters() if one.dim() > 1)
    recombined = sum(counts[part] * share for part, share in sparsities.items()) / sum(counts.values())
    assert round(recombined, 1) == whole != 80.0


def test_the_last_maps_of_resnet_small_are_8x8() -> None:
    found = anatomy(made("resnet_small", 32, 10), (3, 32, 32))
    assert next(row.output for row in reversed(found.layers) if row.kind == "Conv2d") == (256, 8, 8)


def test_a_quarter_less_and_the_images_that_were_there() -> None:
    assert round(100 * (0.04 - 0.03) / 0.04) == 25 != 29
    assert 1_593 + 50 == 1_643


# the thesis


def test_cifar10_has_no_third_split_of_ten_thousand() -> None:
    assert 50_000 + 10_000 + 10_000 > 60_000
