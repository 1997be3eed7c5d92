"""Exports are slow, so the files are made once, when needed, and shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import nn

from bantamweight.loading import untrained
from bantamweight.runtimes import Session, prepare
from bantamweight.variants import Variant, build


@dataclass(frozen=True)
class Shipped:
    """A variant, its module and its exported file, loaded."""

    variant: Variant
    module: nn.Module
    session: Session


def lively(name: str, size: int, channels: int) -> Variant:
    """An untrained net whose every tensor (statistics of batch norm, normalisation) is off its default."""
    variant = untrained(name, classes=10, size=size, channels=channels)
    draw = torch.Generator().manual_seed(1)
    weights = {
        key: value * (1 + noise) + (0.1 * noise if value.ndim == 1 else 0)
        for key, value in variant.weights.items()
        if value.is_floating_point()
        for noise in [0.4 * torch.rand(value.shape, generator=draw) - 0.2]
    }
    weights = {**variant.weights, **weights}
    return replace(variant, weights=weights, classes=tuple(f"class <{index}>" for index in range(10)))


NETS = [
    ("simple_cnn", 8, 1),
    ("simple_cnn", 32, 3),
    ("small_cnn", 8, 1),
    ("small_cnn", 32, 3),
    ("mlp", 8, 1),
    ("resnet20", 16, 3),
    ("resnet_small", 16, 3),
]
"""The families of ImageNet are exported in the slow suite (test_families.py)."""


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, int, int]], Shipped]:
    """A net of NETS as an ONNX file, loaded; made when first asked for."""

    @cache
    def made(net: tuple[str, int, int]) -> Shipped:
        variant = lively(*net)
        folder = tmp_path_factory.mktemp(net[0])
        return Shipped(variant, build(variant), prepare("onnxruntime", variant, threads=1, folder=folder))

    return made
