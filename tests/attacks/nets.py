"""Small models with known answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.attacks._problem import Rows


class Linear(nn.Module):
    """Logits w_k . x + b_k over flattened pixels: every attack on it has a closed form."""

    def __init__(self, weights: Tensor, biases: Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(weights.shape[1], weights.shape[0])
        self.layer.weight.data, self.layer.bias.data = weights.clone(), biases.clone()
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.flatten(1))


def linear(classes: int = 2, pixels: int = 48, seed: int = 0) -> Linear:
    draw = torch.Generator().manual_seed(seed)
    return Linear(torch.randn(classes, pixels, generator=draw), 0.1 * torch.randn(classes, generator=draw))


class Convolutional(nn.Module):
    """Two convolutions with batch norm, pooling and a linear layer; random but fixed weights."""

    def __init__(self, seed: int = 0, classes: int = 5) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
            )  # fmt: skip
            self.head = nn.Linear(64, classes)
            nn.init.normal_(self.head.weight, std=0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).flatten(1))


def grey_images(count: int, shape: tuple[int, int, int] = (3, 4, 4), seed: int = 0) -> Tensor:
    """Images well inside the box, so that only the norm binds."""
    return 0.4 + 0.2 * torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def images_in_box(count: int, shape: tuple[int, int, int] = (3, 8, 8), seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def rows_of(images: Tensor, labels: Tensor | None = None, step: int = 0, eps: float = 0.1) -> Rows:
    """Untargeted rows in play, all at one step."""
    zero = torch.zeros(len(images), dtype=torch.int64)
    labels = zero if labels is None else labels
    budgets = torch.full((len(images),), eps)
    return Rows(images, labels, zero - 1, zero - 1, images, rng.image_keys(images), budgets, zero + step, zero)
