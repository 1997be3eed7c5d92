"""The layers and weights that make the channels of a group, as criteria read them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from bantamweight.compression._groups import Group, Part
from bantamweight.types import Float

__all__ = ["filters", "gathered", "makers", "norms"]

Maker = nn.Linear | _ConvNd


def makers(module: nn.Module, group: Group) -> list[tuple[Part, Maker]]:
    """The convolutions and linear layers whose outputs the group's channels are."""
    found = [(part, module.get_submodule(part.layer)) for part in group.of("out")]
    return [(part, layer) for part, layer in found if isinstance(layer, (_ConvNd, nn.Linear))]


def norms(module: nn.Module, group: Group) -> list[tuple[Part, _BatchNorm]]:
    """The batch norms that the group's channels pass."""
    found = [(part, module.get_submodule(part.layer)) for part in group.of("out")]
    return [(part, layer) for part, layer in found if isinstance(layer, _BatchNorm)]


def filters(module: nn.Module, group: Group) -> list[Float[Tensor, "channels n"]]:
    """For each layer that makes the channels, the weights of each channel in a row, in float64."""
    return [
        gathered(part, layer.weight.detach().double().flatten(1)).flatten(1) for part, layer in makers(module, group)
    ]


def gathered(part: Part, rows: Float[Tensor, "outputs ..."]) -> Float[Tensor, "channels k ..."]:
    """What a layer has for each of its outputs, put together for each channel of the group.

    k is how many outputs one channel is, more than one where convolutions work in groups.
    """
    return rows[torch.tensor(part.positions, device=rows.device)]
