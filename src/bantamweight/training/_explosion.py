"""When a training has gone where it won't come back from, and how that is said."""

from __future__ import annotations

import math

import torch
from torch import nn

from bantamweight.training._settings import Settings

__all__ = ["Exploded", "check_loss", "check_weights"]

EXPLODED = 10.0
"""A mean loss of so many times that of guessing has exploded.

That is for a loss that weighs one cross-entropy. Others are measured by what they weigh (`Loss.scale`), for one that
multiplies a divergence by 1000 is far above guessing on its way down; and not by where they began, for the loss of an
adversary whose eps grows begins low and rises.
"""


class Exploded(Exception):
    """Training won't come back from here."""


def check_loss(loss: float, said: str, epoch: int, rate: float, settings: Settings, guessing: float) -> None:
    """Raise Exploded for a loss that is no number, or, where an epoch may be begun again, is far above guessing."""
    if not math.isfinite(loss) or (settings.setbacks and loss > EXPLODED * guessing):
        raise _exploded(f"the {said} loss became {loss:.3g}", epoch, rate, settings)


@torch.no_grad()
def check_weights(module: nn.Module, epoch: int, rate: float, settings: Settings) -> None:
    """Raise Exploded for weights whose length is no number: what is trained on from here has no way back."""
    if not all(bool(weight.norm().isfinite()) for weight in module.parameters() if weight.requires_grad):
        raise _exploded("the weights became NaN or infinite", epoch, rate, settings)


def _exploded(said: str, epoch: int, rate: float, settings: Settings) -> Exploded:
    more = ", or use precision='fp32'" if settings.precision == "bf16" else ""
    return Exploded(f"{said} in epoch {epoch} at rate {rate:g}; lower the rate (try {rate / 10:g}){more}")
