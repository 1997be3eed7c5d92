"""Exact sizes, any image from 8 pixels up, and pixels in [0, 1] normalised inside."""

from __future__ import annotations

import pytest
import torch

from bantamweight.errors import InputError
from bantamweight.models._normalize import Normalize
from bantamweight.parts import configure, names

COUNTS = {
    "simple_cnn": 620_810,
    "resnet_small": 2_777_674,
    "mlp": 1_723_466,
    "small_cnn": 141_610,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
}


def test_every_model_has_its_count_here() -> None:
    assert names("models") == sorted(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_exact(name: str) -> None:
    net = configure("models", name).make()
    assert sum(weight.numel() for weight in net.parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("size", "channels", "classes"), [(8, 1, 10), (16, 3, 4), (17, 3, 2), (64, 1, 3)])
def test_any_size_channels_and_classes(name: str, size: int, channels: int, classes: int) -> None:
    net = configure("models", {"use": name, "size": size, "channels": channels, "classes": classes}).make().eval()
    with torch.no_grad():
        assert net(torch.rand(2, channels, size, size)).shape == (2, classes)


@pytest.mark.parametrize("name", COUNTS)
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
    for name in COUNTS:
        images = torch.rand(2, 3, 16, 16, requires_grad=True)
        configure("models", {"use": name, "size": 16}).make().eval()(images).square().sum().backward()
        assert images.grad is not None
        assert float(images.grad.abs().sum()) > 0
