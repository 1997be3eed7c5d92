"""The eager torch module itself, as training left it: the baseline that every speed-up is against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import channels_last as nhwc
from torch import from_numpy, inference_mode, nn

from bantamweight.errors import InputError
from bantamweight.runtimes._core import Session, pinned
from bantamweight.variants import Variant

__all__ = ["torch"]


def torch(
    variant: Variant,
    module: nn.Module,
    folder: Path,  # noqa: ARG001 (part of what a runtime is given; nothing is exported here)
    threads: int,
    images: np.ndarray | None = None,  # noqa: ARG001 (for runtimes of integers)
    *,
    channels_last: bool = False,
) -> Session:
    """Eager torch on the CPU in float32, batch norm unfolded; choose it as the reference, not to ship.

    `channels_last` lays weights and images out as oneDNN likes them best; off, as most code runs.
    """
    if channels_last:
        module = module.to(memory_format=nhwc)  # type: ignore[call-overload]

    def call(images: np.ndarray) -> np.ndarray:
        with pinned(threads), inference_mode():
            rows = from_numpy(images)
            if channels_last:
                rows = rows.contiguous(memory_format=nhwc)
            logits = module(rows)
        if logits.ndim != 2 or len(logits) != len(images):
            raise InputError(
                f"expected logits (images, classes) from {variant.name!r}, got shape {tuple(logits.shape)} for "
                f"{len(images)} images; a classifier answers each image by itself"
            )
        return logits.numpy()

    layout = "channels last" if channels_last else "channels first"
    return Session(call, runtime="torch", threads=threads, shape=variant.input_shape, note=f"eager float32, {layout}")
