"""Fields, saved bytes and memory against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bantamweight.errors import InputError
from bantamweight.loading import untrained
from bantamweight.models import profile
from bantamweight.models._anatomy import Anatomy, LayerAnatomy, anatomy
from bantamweight.models._memory import training_memory
from bantamweight.parts import configure
from bantamweight.variants import build


def of(name: str, size: int, classes: int) -> Anatomy:
    with torch.device("meta"):
        net = configure("models", {"use": name, "size": size, "classes": classes}).make()
    return anatomy(net, (3, size, size))


def rows(found: Anatomy) -> dict[str, LayerAnatomy]:
    return {layer.name: layer for layer in found.layers}


def test_fields_of_alexnet() -> None:
    found = of("alexnet", 224, 1000)
    fields = {name: row.field for name, row in rows(found).items()}
    by_hand = {
        "conv1": 11,
        "pool1": 19,
        "conv2": 51,
        "pool2": 67,
        "conv3": 99,
        "conv4": 131,
        "conv5": 163,
        "pool5": 195,
    }
    assert {name: fields[name] for name in by_hand} == {name: (field, field) for name, field in by_hand.items()}
    assert found.field == (163, 163)
    assert rows(found)["conv5"].stride == (16, 16)
    assert rows(found)["fc6"].field == (195 + 5 * 32,) * 2


@pytest.mark.parametrize(
    ("name", "depth", "field"),
    [("vgg16", 16, 196), ("googlenet", 22, None), ("resnet50", 50, 427), ("densenet121", 121, None)],
)
def test_depths_are_those_in_the_names_and_fields_the_published_ones(name: str, depth: int, field: int | None) -> None:
    found = of(name, 224, 1000)
    assert found.depth == depth
    assert field is None or found.field == (field, field)
    assert found.macs == sum(row.macs for row in found.layers)
    assert not any(row.kind == "functional" for row in found.layers)


def test_two_3x3_see_what_one_5x5_sees() -> None:
    two = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    assert anatomy(two, (3, 16, 16)).field == anatomy(nn.Conv2d(3, 4, 5), (3, 16, 16)).field == (5, 5)


class Odd(nn.Module):
    """Every way a field can change outside a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 4, (3, 5), stride=(2, 1), dilation=(2, 1))
        self.narrow = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(8, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.wide(F.pad(images, (1, 1, 1, 1)))[:, :, ::2, ::3]
        features = torch.cat([features, self.narrow(features)], 1)
        return self.head(F.avg_pool2d(features, 2).mean((2, 3)))


def test_fields_across_functions_strides_and_dilation() -> None:
    found = rows(anatomy(Odd(), (3, 32, 32)))
    assert (found["wide"].field, found["wide"].stride) == ((5, 5), (2, 1))
    assert (found["narrow"].field, found["narrow"].stride) == ((5, 5), (4, 3))
    # Pooled by 2: 5 + 4 and 5 + 3; maps of 8 and 10 rows and columns shrink to 3 and 5, all of which the mean reads.
    height, width = ((32 + 2 - 5) // 2 + 1 + 1) // 2 // 2, ((32 + 2 - 5 + 1) + 2) // 3 // 2
    assert found["head"].field == (9 + (height - 1) * 8, 8 + (width - 1) * 6)
    assert found["head"].depth == 3


def test_a_field_without_a_rule_is_unknown_and_not_guessed() -> None:
    net = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 3))
    assert [row.field for row in anatomy(net, (3, 8, 8)).layers] == [None, None]


def test_bytes_of_a_small_net_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 5, bias=False),
    )
    found = rows(anatomy(net, (3, 8, 8)))
    image, maps, pooled = 3 * 64, 4 * 64, 64
    assert [row.activation_bytes for row in found.values()] == [4 * maps, 4 * maps, 4 * pooled, 0, 4 * 5]
    # Convolution and linear keep their inputs, ReLU its answer, pooling its (already kept) input and 8-byte indices.
    assert [row.saved_bytes for row in found.values()] == [4 * image, 4 * maps, 8 * pooled, 0, 4 * pooled]
    assert [row.moved_bytes for row in found.values()] == [
        4 * (image + 108 + maps),
        4 * 2 * maps,
        4 * (maps + pooled),
        0,
        4 * (64 + 320 + 5),
    ]
    assert [row.flops for row in found.values()] == [2 * 27 * maps, 0, 0, 0, 2 * 320]
    assert found["0"].intensity == 2 * 27 * maps / (4 * (image + 108 + maps))


class Branching(nn.Module):
    """Looks at the numbers, so the meta device can't run it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.weight = nn.Conv2d(3, 2, 3), nn.Parameter(torch.rand(2, 5))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.conv(images).mean((2, 3))
        return features @ self.weight if float(images.sum()) < 1e9 else features


def test_a_net_that_looks_at_its_numbers_is_measured_as_well() -> None:
    net = Branching()
    found = anatomy(net, (3, 8, 8))
    assert (found.parameters, found.macs) == (54 + 2 + 10, 54 * 36 + 10)
    assert found.layers[-1].kind == "functional"
    assert net.training
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in net.modules())
    with pytest.raises(InputError, match="expected a model that trains on batches of 1"):
        training_memory(net, (3, 8, 8))


def test_a_variant_of_a_program_has_an_anatomy(shared) -> None:
    from bantamweight.loading import load_model

    found = anatomy(build(load_model(shared / "models" / "resnet20.pt2")), (3, 32, 32))
    assert (found.depth, found.parameters, found.macs) == (20, 269_722, 40_551_040)


def test_anatomy_agrees_with_the_profile() -> None:
    net = configure("models", "mobilenet_v2").make()
    found, counted = anatomy(net, (3, 32, 32)), profile(net, (3, 32, 32))
    assert (found.parameters, found.macs, found.flops) == (counted.parameters, counted.macs, 2 * counted.macs)


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"take images of \(3, 8, 8\)"):
        anatomy(configure("models", "mlp").make(), (3, 8, 8))


def test_training_memory_by_hand() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(1000, 500, bias=False), nn.ReLU(), nn.Linear(500, 10, bias=False))
    found = training_memory(net, (10, 10, 10), batch=8, optimizer="momentum")
    weights = 4 * (1000 * 500 + 500 * 10)
    assert (found.weights, found.gradients, found.optimizer) == (weights, weights, weights)
    # ReLU's answer (also the input of the last layer), log-probabilities, and one mean's total weight.
    assert found.activations == pytest.approx(4 * 8 * 500 + 4 * 8 * 10, abs=64)
    assert sum(found.at_peak.values()) == found.peak
    assert found.peak >= weights * 3
    assert found.sum == 3 * weights + found.activations


def test_an_optimizers_state_is_its_own() -> None:
    net = build(untrained("small_cnn"))
    sgd, adam = (training_memory(net, (3, 32, 32), batch=4, optimizer=name) for name in ("sgd", "adamw"))
    assert sgd.optimizer == 0
    assert adam.optimizer == pytest.approx(2 * adam.gradients, abs=4 * 64)
    assert adam.activations == sgd.activations
    for wrong in ({"batch": 0}, {"optimizer": "adam"}):
        with pytest.raises(InputError, match="a batch of 1 or more"):
            training_memory(net, (3, 32, 32), **wrong)


def test_activations_grow_with_the_batch_and_nothing_else_does() -> None:
    with torch.device("meta"):
        net = configure("models", "resnet18").make()
    one, two = (training_memory(net, (3, 32, 32), batch=batch) for batch in (16, 32))
    assert (one.weights, one.gradients) == (two.weights, two.gradients)
    assert two.activations == pytest.approx(2 * one.activations, rel=0.01)
    assert one.activations == pytest.approx(16 * anatomy(net, (3, 32, 32)).saved_bytes, rel=0.01)
