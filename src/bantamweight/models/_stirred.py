"""A net with other weights: what holds for it, holds for the architecture."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["stirred"]


def stirred(module: nn.Module) -> nn.Module:
    """A copy with random weights of a fair size, always the same ones, so that no dead channel hides a wrong wiring."""
    probe = copy.deepcopy(module)
    draws = torch.Generator().manual_seed(0)
    for layer in probe.modules():
        for name, tensor in [*layer._parameters.items(), *layer._buffers.items()]:
            if tensor is None or not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=draws).to(tensor)
            if isinstance(layer, _BatchNorm):
                base = 1.0 if name in ("weight", "running_var") else 0.0
                tensor.data = base + 0.1 * noise.clamp(-3, 3)
            elif name in layer._parameters:
                # Gain 1 and not 2: sums of many branches would overflow in deep nets without batch norm.
                tensor.data = noise / math.sqrt(tensor[0].numel()) if tensor.dim() > 1 else 0.1 * noise
    return probe
