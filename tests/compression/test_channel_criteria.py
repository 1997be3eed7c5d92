"""Criteria of channels against numbers worked out by hand, and the evidence they are shown."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bantamweight import parts, variants
from bantamweight.compression import ChannelCriterion, compress_channels, gather, recalibrate
from bantamweight.compression._groups import Group, Part, groups
from bantamweight.compression.bn_scale import bn_scale
from bantamweight.compression.fpgm import fpgm
from bantamweight.compression.group_norm import group_norm
from bantamweight.compression.l1_channels import l1_channels
from bantamweight.compression.l2_channels import l2_channels
from bantamweight.compression.lamp_channels import lamp_channels
from bantamweight.compression.random_channels import random_channels
from bantamweight.compression.taylor import taylor
from bantamweight.errors import InputError
from bantamweight.loading import untrained
from bantamweight.types import Images
from bantamweight.variants import Variant


def one_group(*layers: str, channels: int) -> Group:
    each = tuple((number,) for number in range(channels))
    return Group(layers[0], channels, tuple(Part(layer, "out", each) for layer in layers))


def linear(rows: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows))
    layer.weight.data = torch.tensor(rows)
    return layer


def scores(criterion: ChannelCriterion, module: nn.Module, group: Group, evidence: object = None) -> list[float]:
    return criterion.score(module, evidence or {}, group).tolist()  # type: ignore[arg-type]


def test_norms_of_filters_are_as_on_paper() -> None:
    net = nn.Sequential(linear([[3.0, -4.0], [1.0, 1.0]]), linear([[0.0, 2.0], [6.0, 8.0]]))
    assert scores(l1_channels(), net, one_group("0", channels=2)) == [7.0, 2.0]
    assert scores(l2_channels(), net, one_group("0", channels=2)) == pytest.approx([5.0, 2**0.5])
    # Two layers make the channel: the mean.
    assert scores(l1_channels(), net, one_group("0", "1", channels=2)) == [4.5, 8.0]
    assert scores(l2_channels(), net, one_group("0", "1", channels=2)) == pytest.approx([3.5, (2**0.5 + 10) / 2])


def test_the_norm_of_a_group_has_makers_norms_and_readers() -> None:
    """Squares 25 and 2 of the makers, 4 and 9 of the batch norm, 1 and 4 of the reader's columns: means of three."""
    net = nn.Sequential(linear([[3.0, -4.0], [1.0, 1.0]]), nn.BatchNorm1d(2), linear([[1.0, 2.0], [0.0, 0.0]]))
    net[1].weight.data = torch.tensor([2.0, 3.0])
    each = ((0,), (1,))
    group = Group("0", 2, (Part("0", "out", each), Part("1", "out", each), Part("2", "in", each)))
    assert scores(group_norm(), net, group) == pytest.approx([30 / 3, 15 / 3])


def test_the_norm_of_a_group_is_torch_prunings() -> None:
    tp = pytest.importorskip("torch_pruning")
    net = untrained("resnet_small", size=8)
    module = variants.build(net).requires_grad_(True)
    example = torch.rand(2, 3, 8, 8)
    graph = tp.DependencyGraph().build_dependency(module, example)
    rule = tp.importance.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer=None, bias=False)
    for group in groups(variants.build(net), example):
        if not group.reason:
            root = module.get_submodule(group.name)
            whole = graph.get_pruning_group(root, tp.prune_conv_out_channels, list(range(group.size)))
            assert torch.allclose(group_norm().score(module, {}, group).float(), rule(whole), rtol=1e-4)


def test_lamp_is_a_square_over_what_is_no_smaller() -> None:
    """Squares 9, 1, 4: sorted 1 4 9 over 14 13 9."""
    net = nn.Sequential(linear([[3.0], [-1.0], [2.0]]))
    assert scores(lamp_channels(), net, one_group("0", channels=3)) == pytest.approx([1.0, 1 / 14, 4 / 13])
    ties = nn.Sequential(linear([[1.0], [1.0], [0.0]]))
    assert scores(lamp_channels(), ties, one_group("0", channels=3)) == pytest.approx([0.5, 1.0, 0.0])
    nothing = nn.Sequential(linear([[0.0], [0.0]]))
    assert scores(lamp_channels(), nothing, one_group("0", channels=2)) == [0.0, 0.0]


def test_fpgm_prefers_the_filter_in_the_middle() -> None:
    """On a line at 0, 1, 5: distances 1 + 5, 1 + 4, 5 + 4 with mean 20 / 3."""
    net = nn.Sequential(linear([[0.0], [1.0], [5.0]]))
    assert scores(fpgm(), net, one_group("0", channels=3)) == pytest.approx([0.9, 0.75, 1.35])
    # Large norms don't save twins: both are at distance 0 from each other.
    twins = nn.Sequential(linear([[9.0], [9.0], [1.0]]))
    assert scores(fpgm(), twins, one_group("0", channels=3)) == pytest.approx([0.75, 0.75, 1.5])


def test_bn_scale_is_the_mean_of_absolute_gammas() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.BatchNorm1d(2, affine=False))
    net[0].weight.data, net[1].weight.data = torch.tensor([-2.0, 0.5]), torch.tensor([1.0, 0.1])
    assert scores(bn_scale(), net, one_group("0", "1", "2", channels=2)) == pytest.approx([1.5, 0.3])
    with pytest.raises(InputError, match="needs a batch norm that scales the channels of '2'"):
        scores(bn_scale(), net, one_group("2", channels=2))


def test_taylor_adds_before_it_squares() -> None:
    """Two layers whose effects cancel: the channel is worth nothing, though each layer alone is."""
    net = nn.Sequential(linear([[1.0], [1.0]]), linear([[1.0], [1.0]]))
    shown = {"0": torch.tensor([[3.0, 1.0], [3.0, 1.0]]), "1": torch.tensor([[-3.0, 1.0], [-3.0, 0.0]])}
    assert scores(taylor(), net, one_group("0", "1", channels=2), shown) == [0.0, 2.5]
    with pytest.raises(InputError, match="was not shown the contributions of '1'"):
        scores(taylor(), net, one_group("1", channels=2), {"0": shown["0"]})
    with pytest.raises(InputError, match="taylor scores from contributions, and none were given"):
        compress_channels(untrained("simple_cnn", size=8), taylor(), target={"ratio": 0.5})


def test_random_depends_on_seed_and_group_alone() -> None:
    net = nn.Sequential(linear([[1.0]] * 50))
    group, other = one_group("0", channels=50), Group("other", 50, one_group("0", channels=50).parts)
    assert scores(random_channels(seed=1), net, group) == scores(random_channels(seed=1), net, group)
    assert scores(random_channels(seed=1), net, group) != scores(random_channels(seed=2), net, group)
    assert scores(random_channels(seed=1), net, group) != scores(random_channels(seed=1), net, other)


CRITERIA = [
    name
    for name in parts.names("compression")
    if isinstance(parts.configure("compression", name).make(), ChannelCriterion)
]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3, groups=2), nn.BatchNorm2d(4), nn.Flatten(),
        nn.Linear(64, 3),
    )  # fmt: skip


def some(rows: int = 12) -> tuple[Images, Tensor]:
    draws = torch.Generator().manual_seed(4)
    return torch.rand((rows, 1, 8, 8), generator=draws), torch.randint(0, 3, (rows,), generator=draws)


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_owes_one_finite_number_a_channel_and_touches_nothing(name: str, net: nn.Module) -> None:
    criterion = parts.configure("compression", name).make()
    images, labels = some()
    net = net.train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    shown = gather(net, criterion.needs, images, labels)
    for group in groups(net, images[:2]):
        if not group.reason:
            given = criterion.score(net, shown, group)
            assert given.shape == (group.size,)
            assert torch.isfinite(given).all()
            assert torch.equal(given, criterion.score(net, shown, group))
    assert net.training
    assert all(part.training for part in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in net.parameters())


def test_gradients_are_those_of_the_mean_loss_whatever_the_batch(net: nn.Module) -> None:
    images, labels = some()
    net = net.eval().requires_grad_(False)
    with torch.no_grad():
        found = gather(net, "gradients", (images * 255).to(torch.uint8), labels, batch=5)
    assert not any(weight.requires_grad for weight in net.parameters())
    net.requires_grad_(True)
    F.cross_entropy(net((images * 255).to(torch.uint8) / 255.0), labels).backward()
    assert set(found) == {"0.weight", "3.weight", "6.weight"}
    for name, gradient in found.items():
        assert torch.allclose(gradient, net.get_parameter(name).grad, atol=1e-6)  # type: ignore[arg-type]
    net.zero_grad()


def test_contributions_are_slopes_of_the_loss_along_a_gate(net: nn.Module) -> None:
    """d loss / d gate of each image and channel, by central differences in float64."""
    images, labels = some(9)
    net = net.eval().requires_grad_(False)
    found = gather(net, "contributions", images, labels, batch=4)
    assert {name: tuple(rows.shape) for name, rows in found.items()} == {
        "0": (9, 6), "1": (9, 6), "3": (9, 4), "4": (9, 4), "6": (9, 3)
    }  # fmt: skip
    exact = torch.nn.Sequential(*list(net)).double()  # the same layers, in more digits
    for layer, channel in ((1, 2), (3, 1), (4, 3)):
        losses = []
        for gate in (1 + 1e-4, 1 - 1e-4):

            def scaled(_m: nn.Module, _i: object, output: Tensor, gate: float = gate, channel: int = channel) -> Tensor:
                output = output.clone()
                output[:, channel] *= gate
                return output

            hook = exact[layer].register_forward_hook(scaled)
            losses.append(F.cross_entropy(exact(images.double()), labels, reduction="none"))
            hook.remove()
        slope = (losses[0] - losses[1]) / 2e-4
        assert torch.allclose(found[str(layer)][:, channel].double(), slope, rtol=1e-3, atol=1e-5)
    net.float()


def test_evidence_of_too_few_images_or_unknown_kind_is_refused(net: nn.Module) -> None:
    images, labels = some()
    with pytest.raises(InputError, match="at least 8 images with a label each to gather gradients from, got 2 images"):
        gather(net, "gradients", images[:2], labels[:2])
    with pytest.raises(InputError, match="'adversarial gradients' can't be gathered from images alone"):
        gather(net, "adversarial gradients", images, labels)
    with pytest.raises(InputError, match="labels below 3, the number of logits, got 7"):
        gather(net, "contributions", images, labels.fill_(7))
    assert gather(net, "none", images[:0], labels[:0]) == {}


def test_taylor_cuts_what_the_logits_do_not_need() -> None:
    """A classifier that reads half of the channels: 40% can go, and on the images shown no answer changes."""
    variant = untrained("simple_cnn", size=8)
    weights = {key: value.clone() for key, value in variant.weights.items()}
    weights["classifier.5.weight"][:, ::2] = 0
    half = Variant("half", variant.factory, variant.arguments, weights, (), variant.preprocessing)
    draws = torch.Generator().manual_seed(0)
    images, labels = torch.rand((16, 3, 8, 8), generator=draws), torch.randint(0, 10, (16,), generator=draws)
    shown = gather(variants.build(half), "contributions", images, labels)
    cut, _ = compress_channels(half, taylor(), target={"ratio": 0.4}, layers=["classifier.2"], evidence=shown)
    assert len(cut.edits[-1]["removed"]["classifier.2"]["out"]) == round(0.4 * 256)
    assert torch.allclose(variants.build(cut)(images), variants.build(half)(images), atol=1e-5)
    blind, _ = compress_channels(half, random_channels(), target={"ratio": 0.4}, layers=["classifier.2"])
    assert not torch.allclose(variants.build(blind)(images), variants.build(half)(images), atol=1e-3)


def test_recalibrated_statistics_are_those_of_the_images() -> None:
    """One batch: the first batch norm's mean and unbiased variance are those of its input, whatever was there."""
    variant = untrained("simple_cnn", size=8)
    draws = torch.Generator().manual_seed(0)
    images = (torch.rand((40, 3, 8, 8), generator=draws) * 255).to(torch.uint8)
    before = variant.hash
    found = recalibrate(variant, images, batch=40)
    with torch.no_grad():
        seen = variants.build(variant).features[0](images / 255.0)
    assert torch.allclose(found.weights["features.1.running_mean"], seen.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(found.weights["features.1.running_var"], seen.var((0, 2, 3)), atol=1e-5)
    changed = {key for key, value in found.weights.items() if not torch.equal(value, variant.weights[key])}
    assert all(key.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked") for key in changed)
    assert (found.name, found.lineage) == ("simple_cnn/recalibrated", (before,))
    assert Variant(
        variant.name, variant.factory, variant.arguments, variant.weights, (), variant.preprocessing
    ).hash == (before)
    several = [recalibrate(variant, images, batch=8, seed=seed) for seed in (0, 0, 1)]
    assert several[0].hash == several[1].hash != several[2].hash
    with pytest.raises(InputError, match="at least 2 images a batch"):
        recalibrate(variant, images[:1])
