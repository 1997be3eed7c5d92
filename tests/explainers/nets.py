"""Small nets whose answers can be worked out by hand, or by another library."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["images", "linear_net", "plain_net", "pooled_net", "smooth_net", "unit"]


def images(count: int = 4, size: int = 12, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def linear_net(classes: int = 4, size: int = 12) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes)).eval()


def pooled_net(classes: int = 4) -> nn.Module:
    """Global average pooling and one linear layer: the nets for which CAM is defined. Block at "4"."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, classes),
    ).eval()


def plain_net(classes: int = 4, *, inplace: bool = False) -> nn.Module:
    """Two convolutions and a hidden layer, for images of 12x12: gradients differ from place to place. Block at "4"."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(inplace=inplace),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(inplace=inplace),
        nn.Flatten(),
        nn.Linear(8 * 36, 16),
        nn.ReLU(inplace=inplace),
        nn.Linear(16, classes),
    ).eval()


def smooth_net(classes: int = 4) -> nn.Module:
    """Without kinks, so that two quadratures meet."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.Softplus(), nn.Conv2d(6, 6, 3, stride=2), nn.Tanh(), nn.Flatten(),
        nn.Linear(150, classes),
    ).eval()  # fmt: skip


def unit(maps: Tensor) -> Tensor:
    """Each map over its largest magnitude: the equal normalisation both sides get."""
    return maps / maps.abs().amax(dim=(-2, -1), keepdim=True).clamp_min(1e-30)
