"""Nets that no zoo has: what export must refuse in a sentence. Named as `tests.runtimes.nets:FUNCTION`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 8 * 8, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1))


class _Lacking(_Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(torch.special.i1(images))


class _Branching(_Net):
    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits if images.sum() > 0 else -logits


class _Fixed(_Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).reshape(2, -1)[:, :10]


class _Pair(_Net):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(images), images


class _Chance(_Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(images, 0.5, training=True))


class _Failing(_Net):
    def forward(self, images: Tensor) -> Tensor:
        raise ValueError(f"boom went the layer of {len(images)}")


def lacking() -> nn.Module:
    """Uses an operation that ONNX lacks."""
    return _Lacking()


def branching() -> nn.Module:
    """Branches on the values of its input."""
    return _Branching()


def fixed() -> nn.Module:
    """Works for two images only."""
    return _Fixed()


def pair() -> nn.Module:
    """Returns two tensors."""
    return _Pair()


def chance() -> nn.Module:
    """Answers differently each time."""
    return _Chance()


def failing() -> nn.Module:
    """Raises."""
    return _Failing()


class _Bent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8 * 8 * 8, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.second(torch.erf(self.first(images))).flatten(1))


def bent() -> nn.Module:
    """Between its convolutions is a function that has no integer kernel."""
    return _Bent()


def plain() -> nn.Module:
    """One matrix product, whose int8 form a person can work out."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))
