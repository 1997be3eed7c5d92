"""Channel groups: whole channels go, from every layer that makes or reads them, those of the smallest norm first.

Fang, Ma, Song, Mi, Wang, "DepGraph: towards any structural pruning" (CVPR 2023), section 3.3, as zeros in place: for
trainings that cut while they go on. What such a training leaves can be made narrower without changing an answer.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bantamweight.compression._allocations import global_masks
from bantamweight.compression._core import Criterion, prunable
from bantamweight.compression._filters import filters
from bantamweight.compression._groups import Group, groups
from bantamweight.errors import InputError

__all__ = ["channel_groups"]

SAFE = 1e6
"""The score of a group's largest channel, in means of its group: every group keeps one."""
OWN = 1e-9
"""How much of a weight's own size is in its score: too little to pass another channel's."""


def channel_groups() -> Criterion:
    """Scores every weight by the lesser of the channels it reads and makes; a residual stream goes as one.

    A channel's worth is the mean magnitude of the filters that make it, over that of its group. Every group keeps its
    largest channel, and one channel of every cut may go in part, so that the zeros are those asked for. To have
    narrower layers in the end, compress what comes out with `l1_channels`, which takes the empty channels first.
    """
    return Criterion("channel_groups", "none", _score, allocation=global_masks)


def _score(module: nn.Module, _evidence: Mapping[str, Tensor]) -> dict[str, Tensor]:
    from bantamweight.models._fold import example_images

    weights = prunable(module)
    example = example_images(copy.deepcopy(module).eval(), rows=2)
    if example is None and len(weights) > 1:
        raise InputError("channel_groups follows channels through a model of images, got one that takes none")
    scores = {name: torch.full_like(weight, SAFE, dtype=torch.float64) for name, weight in weights.items()}
    for group in () if example is None else groups(module, example):  # a lone layer has no channels but its answers
        if not group.reason:
            _lower(scores, module, group)
    return {name: least * (1.0 + OWN * _size(weights[name])) for name, least in scores.items()}


def _lower(scores: dict[str, Tensor], module: nn.Module, group: Group) -> None:
    """No weight of a channel is worth more than the channel."""
    found = [rows.abs().mean(dim=1) for rows in filters(module, group)]
    worth = sum(found[1:], found[0]) / len(found)
    worth = worth / worth.mean().clamp_min(1e-30)
    worth[worth.argmax()] = SAFE
    for part in group.parts:
        name, layer = f"{part.layer}.weight".removeprefix("."), module.get_submodule(part.layer)
        # Where convolutions work in groups, a weight's column is not the number of the channel it reads.
        if name not in scores or (part.side == "in" and getattr(layer, "groups", 1) > 1):
            continue
        least, side = scores[name], 0 if part.side == "out" else 1
        each = torch.full((least.shape[side],), SAFE, dtype=least.dtype, device=least.device)
        each[torch.tensor(part.positions, device=each.device)] = worth[:, None].to(each.device)
        scores[name] = torch.minimum(least, each.reshape(-1, *[1] * (least.ndim - 1 - side)))


def _size(weight: Tensor) -> Tensor:
    sizes = weight.abs().double()
    return sizes / sizes.max().clamp_min(1e-30)
