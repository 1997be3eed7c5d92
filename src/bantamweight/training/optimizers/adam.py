"""Adam: Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from torch import nn
from torch.optim import Adam, Optimizer

__all__ = ["adam"]

Beta = Annotated[float, Field(ge=0, lt=1)]


def adam(
    parameters: Iterable[nn.Parameter],
    rate: float,
    weight_decay: float,
    *,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
) -> Optimizer:
    """Adam with weight decay added to the gradient (L2); choose `adamw` unless a recipe asks for this one."""
    return Adam(parameters, lr=rate, betas=betas, weight_decay=weight_decay, fused=True)
