"""Adam: Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import Adam, Optimizer

__all__ = ["adam"]


def adam(
    parameters: Iterable[nn.Parameter],
    rate: float,
    weight_decay: float,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Optimizer:
    """Adam with weight decay added to the gradient (L2); choose `adamw` unless a recipe asks for this one."""
    return Adam(parameters, lr=rate, betas=betas, weight_decay=weight_decay, fused=True)
