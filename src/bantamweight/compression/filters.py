"""Filters: whole output channels of each layer go, those of the smallest norm first.

Li, Kadav, Durdanovic, Samet, Graf, "Pruning filters for efficient ConvNets" (2016), as zeros in place: for trainings
that cut while they go on. To have narrower layers in the end, compress what comes out with `l1_channels`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from bantamweight.compression._allocations import per_layer_masks
from bantamweight.compression._core import Criterion, prunable

__all__ = ["filters"]


def filters() -> Criterion:
    """Scores every weight of a filter by the filter's mean magnitude over its layer's; rows that go, go whole.

    Of the last layer, whose rows are classes, the columns are scored. One filter of every cut may go in part, so that
    the zeros are those asked for.

    >>> layer = nn.Linear(2, 2)
    >>> layer.weight.data.copy_(Tensor([[3.0, 1.0], [0.5, -0.5]])).shape
    torch.Size([2, 2])
    >>> filters().score(layer, {})["weight"].gt(1).tolist()
    [[True, True], [False, False]]
    """
    return Criterion("filters", "none", _score, allocation=per_layer_masks)


def _score(module: nn.Module, _evidence: Mapping[str, Tensor]) -> dict[str, Tensor]:
    weights = prunable(module)
    last, lone = next(reversed(weights), ""), len(weights) == 1
    return {
        name: _scored(weight, 0) if name != last or lone else _scored(weight, 1) for name, weight in weights.items()
    }


def _scored(weight: Tensor, along: int) -> Tensor:
    """Each weight's score is its slice's mean magnitude, plus too little of its own to pass another slice."""
    sizes = weight.abs().double()
    rest = [side for side in range(weight.ndim) if side != along]
    means = sizes.mean(dim=rest, keepdim=True) / sizes.mean().clamp_min(1e-30)
    return means * (1 + 1e-9 * sizes / sizes.max().clamp_min(1e-30))
