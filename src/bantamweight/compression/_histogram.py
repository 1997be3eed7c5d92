"""How a model's weights are spread: counts of those that are not zero, over bins of one width."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bantamweight.compression._core import prunable

__all__ = ["weight_histogram"]


def weight_histogram(module: nn.Module, *, bins: int = 41, tail: float = 0.001) -> tuple[np.ndarray, np.ndarray]:
    """Centres and counts of the prunable weights that are not zero; an odd number of bins has one around zero.

    The range is symmetric and leaves out the share `tail` of the largest, which are counted in the outermost bins.

    >>> layer = nn.Linear(4, 1)
    >>> layer.weight.data = torch.tensor([[-1.0, 0.0, 0.1, 1.0]])
    >>> weight_histogram(layer, bins=3, tail=0.0)[1].tolist()
    [1, 1, 1]
    """
    together = torch.cat([weight.reshape(-1) for weight in prunable(module).values()])
    alive = together[together != 0].cpu().double().numpy()
    most = float(np.quantile(np.abs(alive), 1 - tail)) if alive.size else 1.0
    edges = np.linspace(-(most or 1.0), most or 1.0, bins + 1)
    counts, _ = np.histogram(np.clip(alive, edges[0], edges[-1]), edges)
    return (edges[:-1] + edges[1:]) / 2, counts
