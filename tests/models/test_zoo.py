"""Exact sizes, any image from 8 pixels up, and pixels in [0, 1] normalised inside."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bantamweight.errors import InputError
from bantamweight.models import ALSO
from bantamweight.models._normalize import Normalize
from bantamweight.parts import configure, names

COUNTS = {
    "simple_cnn": 620_810,
    "resnet_small": 2_777_674,
    "mlp": 1_723_466,
    "average": 2 * 1_723_466,
    "small_cnn": 141_610,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "alexnet": 35_905_418,
    "alexnet_ungrouped": 37_318_538,
    "plain20": 269_722,
    "plain32": 464_154,
    "plain44": 658_586,
    "plain56": 853_018,
    "plain110": 1_727_962,
    "resnet110": 1_727_962,
    "densenet121": 6_956_298,
    "googlenet": 6_166_250,
    "googlenet_bn": 5_490_986,
    "mobilenet_v2": 2_236_682,
    "preact_resnet18": 11_172_170,
    "preact_resnet34": 21_280_330,
    "preact_resnet50": 23_513_162,
    "preact_resnet56": 855_578,
    "preact_resnet110": 1_730_522,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet101": 42_512_970,
    "resnet152": 58_156_618,
    "vgg11": 9_231_114,
    "vgg13": 9_416_010,
    "vgg16": 14_728_266,
    "vgg19": 20_040_522,
    "wrn_16_4": 2_748_890,
    "wrn_28_4": 5_849_050,
    "wrn_28_10": 36_479_194,
    "wrn_34_10": 46_160_474,
    "wrn_40_2": 2_243_546,
}
LIGHT = [name for name in COUNTS if COUNTS[name] < 3_000_000 and "110" not in name]
"""Those that a test may run; the others are counted and shaped on the meta device, which computes nothing."""


def shaped(name: str, **settings: object) -> nn.Module:
    with torch.device("meta"):
        return configure("models", {"use": name, **settings}).make().eval()


def test_every_model_has_its_count_here() -> None:
    assert names("models") == sorted(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_exact(name: str) -> None:
    assert sum(weight.numel() for weight in shaped(name).parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("size", "channels", "classes"), [(8, 1, 10), (16, 3, 4), (17, 3, 2), (64, 1, 3)])
def test_any_size_channels_and_classes(name: str, size: int, channels: int, classes: int) -> None:
    if name in ALSO and size != 8:
        return  # its family is tested at this size
    net = shaped(name, size=size, channels=channels, classes=classes)
    with torch.no_grad():
        assert net(torch.rand(2, channels, size, size, device="meta")).shape == (2, classes)


@pytest.mark.parametrize("name", LIGHT)
def test_normalisation_comes_first_and_is_no_parameter(name: str) -> None:
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.2, 0.1]
    net = configure("models", {"use": name, "mean": mean, "std": std}).make().eval()
    first = next(net.children())
    assert isinstance(first, Normalize)
    assert not list(first.parameters())
    images = torch.rand(2, 3, 32, 32)
    plain = configure("models", name).make().eval()
    plain.load_state_dict({**net.state_dict(), "normalize.mean": torch.zeros(3), "normalize.std": torch.ones(3)})
    with torch.no_grad():
        by_hand = plain(
            (images - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.2, 0.1]).view(3, 1, 1)
        )
        assert torch.equal(net(images), by_hand)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": 7}, "8 to 1024 pixels"),
        ({"size": 4096}, "8 to 1024 pixels"),
        ({"channels": 0}, "1 to 64 channels"),
        ({"classes": 1}, "2 to 100,000 classes"),
        ({"mean": [0.5]}, "one finite mean per channel"),
        ({"std": [0.1, 0.0, 0.1]}, "positive std"),
        ({"clases": 3}, "did you mean 'classes'"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        configure("models", {"use": "simple_cnn", **settings}).make()


def test_an_mlp_of_a_huge_image_is_refused() -> None:
    with pytest.raises(InputError, match="use a CNN"):
        configure("models", {"use": "mlp", "size": 1024}).make()


def test_gradients_reach_the_pixels() -> None:
    for name in LIGHT:
        images = torch.rand(2, 3, 16, 16, requires_grad=True)
        configure("models", {"use": name, "size": 16}).make().eval()(images).square().sum().backward()
        assert images.grad is not None
        assert float(images.grad.abs().sum()) > 0
