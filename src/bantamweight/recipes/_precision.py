"""In which precision gradients are computed where nobody says."""

from __future__ import annotations

import torch

from bantamweight.machine import describe
from bantamweight.oracle import Precision

__all__ = ["gradient_precision"]


def gradient_precision(asked: Precision | None, home: torch.device) -> Precision:
    """What was asked; where nothing was, bf16 if the device computes in it, else fp32."""
    if asked is not None:
        return asked
    if home.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if home.type == "cpu" and "BF16" in str(describe()) else "fp32"
