"""An exponential moving average of the weights: Polyak averaging, as robust training uses it against overfitting.

Izmailov et al. 2018 average along the path; Gowal et al. 2020, "Uncovering the limits of adversarial training", section
3.3.3, exponentially, which is what is done here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]

EARLY = 10
"""The share of the new weights is at least about this over the number of steps, so that the beginning is forgotten."""


class Average:
    """Running averages of all of a module's tensors (numbers that are no floats are copied), updated step by step."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.tensors: dict[str, Tensor] = {key: tensor.detach().clone() for key, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After step number `step` (from 0)."""
        share = 1 - min(self.decay, (1 + step) / (EARLY + step))
        for key, tensor in self.module.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[key].lerp_(tensor, share)
            else:
                self.tensors[key].copy_(tensor)

    @torch.no_grad()
    def bury(self, dead: Mapping[str, Tensor]) -> None:
        """What is cut is zero in the average too, at once."""
        for name, gone in dead.items():
            self.tensors[name].masked_fill_(gone, 0.0)

    @torch.no_grad()
    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what a checkpoint kept."""
        for key, tensor in self.tensors.items():
            tensor.copy_(tensors[key])

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The module with the average in place of its weights; these come back."""
        own = {key: tensor.detach().clone() for key, tensor in self.module.state_dict().items()}
        self._put(self.tensors)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        for key, tensor in self.module.state_dict().items():
            tensor.copy_(tensors[key])
