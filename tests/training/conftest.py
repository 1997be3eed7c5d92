"""A small net with everything that makes resuming hard (dropout, batch norm), and few enough digits to train on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bantamweight.data import Data, load
from bantamweight.training import seeded


def small_net() -> nn.Module:
    with seeded(0):
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(8 * 64, 10),
        )


def few(data: Data, train: int, val: int) -> Data:
    splits = {"train": data.splits["train"].take(slice(0, train)), "val": data.splits["val"].take(slice(0, val))}
    return Data("few digits", splits, data.classes, data.preprocessing)


@pytest.fixture(scope="session")
def digits() -> Data:
    return few(load("digits"), 256, 64)


@pytest.fixture
def net() -> Callable[[], nn.Module]:
    return small_net


def bits(weights: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {key: tensor.contiguous().numpy().tobytes() for key, tensor in weights.items()}
