"""AdamW: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW, Optimizer

__all__ = ["adamw"]


def adamw(
    parameters: Iterable[nn.Parameter],
    rate: float,
    weight_decay: float,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Optimizer:
    """Adam with weight decay taken from the weights directly (times the rate); the default, it needs little tuning."""
    return AdamW(parameters, lr=rate, betas=betas, weight_decay=weight_decay, fused=True)
