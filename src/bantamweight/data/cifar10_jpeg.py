"""CIFAR-10 re-encoded as JPEG: 50,000 train and 8,000 test images in the Hugging Face parquet layout.

The encoding is lossy, so a model trained on the original loses several points here: say "CIFAR-10 (JPEG)" wherever a
number from it is quoted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from bantamweight.data._core import Data, Resize
from bantamweight.data._shared import shared
from bantamweight.data.parquet import parquet
from bantamweight.errors import InputError
from bantamweight.rng import generator

__all__ = ["cifar10_jpeg"]


def cifar10_jpeg(
    *,
    size: int | tuple[int, int] = 32,
    channels: int = 3,
    resize: Resize = "crop",
    seed: int = 0,
    val: float = 0.1,
    divide: bool = True,
    train: Annotated[int, Field(ge=10)] | None = None,
) -> Data:
    """CIFAR-10 (JPEG) from the folder `cifar10` in `BANTAM_DATA`; `val` is the fraction of train kept for validation.

    `train` keeps that many of the training images, drawn by `seed` after the division, and as large a share of the
    validation images: for nets that have an hour. Raises InputError when the folder is not there, or has fewer.
    """
    data = parquet(
        path=str(shared("cifar10")), size=size, channels=channels, resize=resize, seed=seed, val=val, divide=divide
    )
    splits = dict(data.splits)
    if train is not None:
        there = len(splits.get("train", ()))
        if train > there:
            raise InputError(f"expected at most {there:,} training images of CIFAR-10 (JPEG), got train={train:,}")
        for name in ("train", "val"):
            if name in splits:
                keep = len(splits[name]) * train // there
                drawn = np.sort(generator(seed, "fewer", name).permutation(len(splits[name]))[:keep])
                splits[name] = splits[name].take(torch.from_numpy(drawn))
    return replace(data, name="CIFAR-10 (JPEG)", splits=splits)
