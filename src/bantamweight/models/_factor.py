"""Layers replaced by two thinner ones in a row: how a low-rank edit is made, and how it is replayed.

A convolution of rank r becomes one with r output channels and the same kernel, then a 1 x 1 convolution that brings
the channels back; a linear layer becomes two. What an edit holds is the rank of each layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from bantamweight.errors import InputError

__all__ = ["factor", "full_rank"]

Factorable = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def full_rank(layer: nn.Module) -> int | None:
    """The largest rank that the layer's matrix (outputs x everything an output sums over) can have; None if grouped.

    >>> full_rank(nn.Conv2d(3, 64, 3))
    27
    """
    if isinstance(layer, nn.Linear) or (isinstance(layer, Factorable) and layer.groups == 1):
        return min(layer.weight.shape[0], layer.weight[0].numel())
    return None


def factor(module: nn.Module, ranks: Mapping[str, int]) -> None:
    """Put two thin layers in the place of each named one, in place; their weights are those of a fresh layer.

    Raises InputError, before anything is changed, for a rank that a layer can't have.
    """
    layers = dict(module.named_modules())
    for name, rank in ranks.items():
        most = full_rank(layers[name]) if name in layers else None
        if not name or most is None or type(rank) is not int or not 1 <= rank <= most:
            raise InputError(f"an edit factors {str(name)[:80]!r}, which it can't be; save the variant again")
    for name, rank in ranks.items():
        module.set_submodule(name, _two(layers[name], rank))


def _two(layer: Any, rank: int) -> nn.Sequential:
    at = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    bias = layer.bias is not None
    if not isinstance(layer, _ConvNd):
        return nn.Sequential(
            nn.Linear(layer.in_features, rank, bias=False, **at), nn.Linear(rank, layer.out_features, bias=bias, **at)
        )
    kind: Any = next(kind for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(layer, kind))
    first = kind(
        layer.in_channels,
        rank,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        padding_mode=layer.padding_mode,
        bias=False,
        **at,
    )
    return nn.Sequential(first, kind(rank, layer.out_channels, 1, bias=bias, **at))
