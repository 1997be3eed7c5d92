"""Folding changes speed, never an answer, and never the caller's module."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bantamweight.models import folded
from bantamweight.parts import configure


def settled(net: nn.Module) -> nn.Module:
    """With batch norm whose numbers are not the ones it starts with."""
    draws = torch.Generator().manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean.copy_(torch.randn(layer.running_mean.shape, generator=draws) * 0.2)
            layer.running_var.copy_(torch.rand(layer.running_var.shape, generator=draws) + 0.5)
            if layer.affine:
                layer.weight.data.copy_(torch.randn(layer.weight.shape, generator=draws))
                layer.bias.data.copy_(torch.randn(layer.bias.shape, generator=draws) * 0.1)
    return net


def norms(net: nn.Module) -> int:
    return sum(isinstance(layer, _BatchNorm) for layer in net.modules())


LEFT = {"densenet121": 62, "preact_resnet56": 27, "wrn_16_4": 6}
"""Batch norms that follow a sum or a concatenation, so no layer can take them in: they come before the convolution."""


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize(
    "name",
    [*LEFT, "googlenet", "mlp", "mobilenet_v2", "resnet20", "resnet50", "resnet_small", "simple_cnn", "vgg11"],
)
def test_a_model_of_every_family_folds_whole(name: str, size: int) -> None:
    if size == 32 and name in ("densenet121", "googlenet", "mobilenet_v2", "preact_resnet56", "resnet50", "wrn_16_4"):
        return  # a small image tells as much about these, sooner
    net = settled(configure("models", {"use": name, "size": size, "channels": 1}).make())
    before = copy.deepcopy(net.state_dict())
    light = folded(net)
    assert norms(light) == LEFT.get(name, 0)
    assert norms(net) > norms(light)
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    images = torch.rand(4, 1, size, size)
    with torch.no_grad():
        wanted = copy.deepcopy(net).eval()(images)
        torch.testing.assert_close(light(images), wanted, rtol=1e-4, atol=1e-4)


class Branches(nn.Module):
    """Control flow that can't be traced, a convolution read twice, a batch norm used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.two, self.norm2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.three, self.norm3 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.norm4 = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = self.norm1(self.one(images))
        if float(images.sum()) > -1:
            inner = torch.relu(inner)
        twice = self.two(inner)
        inner = self.norm2(twice) + twice
        inner = self.norm3(self.norm3(self.three(inner)))
        return self.head(self.norm4(inner.mean((2, 3))))


def test_what_cannot_be_traced_is_folded_where_it_changes_nothing() -> None:
    net = settled(Branches()).eval()
    light = folded(net)
    kinds = {name for name, layer in light.named_modules() if isinstance(layer, _BatchNorm)}
    assert kinds == {"norm2", "norm3"}
    images = torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(light(images), net(images), rtol=1e-4, atol=1e-4)


class Random(nn.Module):
    """Another answer every time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (self.norm(self.conv(images)) + torch.randn(1)).mean((2, 3))


class Unusual(nn.Module):
    """Takes images of a shape nobody would guess."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 9 * 11, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(images)).flatten(1))


def test_without_evidence_nothing_is_folded() -> None:
    assert norms(folded(settled(Random()))) == 1
    assert norms(folded(settled(Unusual()))) == 1
    assert norms(folded(settled(Unusual()), example=torch.rand(2, 3, 11, 13))) == 0


def test_batch_norm_without_statistics_or_with_other_layers_stays() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten())
    assert norms(folded(plain)) == 1
    relu = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten())
    assert norms(folded(settled(relu))) == 1


def test_gradients_to_the_images_are_the_same() -> None:
    net = settled(configure("models", {"use": "simple_cnn", "size": 8}).make()).eval()
    images = torch.rand(3, 3, 8, 8, requires_grad=True)
    (wanted,) = torch.autograd.grad(net(images).square().sum(), images)
    (got,) = torch.autograd.grad(folded(net)(images).square().sum(), images)
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-5)
