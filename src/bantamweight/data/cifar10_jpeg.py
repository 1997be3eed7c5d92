"""CIFAR-10 re-encoded as JPEG: 50,000 train and 8,000 test images in the Hugging Face parquet layout.

The encoding is lossy, so a model trained on the original loses several points here: say "CIFAR-10 (JPEG)" wherever a
number from it is quoted.
"""

from __future__ import annotations

from dataclasses import replace

from bantamweight.data._core import Data, Resize
from bantamweight.data._shared import shared
from bantamweight.data.parquet import parquet

__all__ = ["cifar10_jpeg"]


def cifar10_jpeg(
    *,
    size: int | tuple[int, int] = 32,
    channels: int = 3,
    resize: Resize = "crop",
    seed: int = 0,
    val: float = 0.1,
    divide: bool = True,
) -> Data:
    """CIFAR-10 (JPEG) from the folder `cifar10` in `BANTAM_DATA`; `val` is the fraction of train kept for validation.

    Raises InputError when the folder is not there.
    """
    data = parquet(
        path=str(shared("cifar10")), size=size, channels=channels, resize=resize, seed=seed, val=val, divide=divide
    )
    return replace(data, name="CIFAR-10 (JPEG)")
