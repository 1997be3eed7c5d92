"""Weights that stay zero while a net is trained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bantamweight.compression._core import prunable

__all__ = ["Zeros"]


class Zeros:
    """`dead` marks them, by parameter name; optimizers with momentum move them, so they are zeroed after each step."""

    def __init__(self, module: nn.Module, dead: Mapping[str, Tensor]) -> None:
        self.module, self.dead = module, dict(dead)
        self.apply()

    @torch.no_grad()
    def apply(self) -> None:
        """Zero what is dead."""
        for name, gone in self.dead.items():
            self.module.get_parameter(name).masked_fill_(gone, 0.0)

    def add(self, kept: Mapping[str, Tensor]) -> None:
        """More of them: what is not kept, by name."""
        for name, alive in kept.items():
            self.dead[name] = ~alive | self.dead.get(name, torch.zeros_like(alive))
        self.apply()

    def read(self) -> None:
        """What was cut in earlier epochs, off the weights: the same whether training was interrupted or not."""
        for name, weight in prunable(self.module).items():
            self.dead[name] = weight == 0
