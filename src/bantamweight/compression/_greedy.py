"""Greedy selection: each layer's filters are judged without the kernels that read what earlier layers have lost.

Li, Kadav, Durdanovic, Samet, Graf, "Pruning filters for efficient ConvNets" (2016), section 3.3: independent selection
looks at every filter as it was, greedy selection goes from the first layer to the last. The share that goes is the same
in every group, since only then is the order of the layers all that differs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Literal

import torch

from bantamweight import variants
from bantamweight.compression._channels import AchievedChannels, _able, _example, cut_channels, score_channels
from bantamweight.compression._core import ChannelCriterion, check_sparsity
from bantamweight.compression._groups import _silence, groups, removal
from bantamweight.compression._path import path
from bantamweight.errors import InputError
from bantamweight.models._profile import profile
from bantamweight.variants import Variant

__all__ = ["compress_greedily"]


def compress_greedily(
    variant: Variant,
    criterion: ChannelCriterion,
    *,
    ratio: float,
    round_to: int = 1,
    layers: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    uncut: Literal["refuse", "say"] = "refuse",
    name: str | None = None,
    trust: bool = False,
) -> tuple[Variant, AchievedChannels]:
    """Cut `ratio` of every group's channels, group by group in the order of their layers, scored anew each time.

    Raises InputError as `compress_channels` does, and for a criterion that scores from evidence, which would have to be
    gathered again at every step.
    """
    check_sparsity(ratio)
    if criterion.needs != "none":
        raise InputError(f"greedy selection scores weights anew after each layer, and {criterion.name} needs more")
    module = variants.build(variant, trust=trust)
    able, left = _able(groups(module, _example(variant)), layers, skip, uncut, round_to)
    probe, gone = copy.deepcopy(module), []
    for group in able:
        scores = score_channels(probe, criterion, [group])
        along = path([group], scores, allocate="local", round_to=round_to, comparable=criterion.comparable)
        (channels,) = along.channels(along.widths[along.point(ratio)])
        gone.append(channels)
        with torch.no_grad():
            _silence(probe, removal([group], [channels]))  # a kernel of zeros adds nothing to a sum
    label = name or f"{variant.name}/{criterion.name}-greedy-ratio-{ratio:g}"
    result = cut_channels(variant, removal(able, gone), name=label, trust=trust)
    before, after = (profile(net, variant.input_shape) for net in (module, variants.build(result, trust=trust)))
    share = sum(map(len, gone)) / sum(group.size for group in able)
    return result, AchievedChannels(
        asked={"ratio": ratio},
        reached=share,
        below=None,
        above=None,
        ratio=share,
        macs=after.macs,
        dense_macs=before.macs,
        parameters=after.parameters,
        dense_parameters=before.parameters,
        size_bytes=after.size_bytes,
        dense_size_bytes=before.size_bytes,
        widths={group.name: (group.size - len(lost), group.size) for group, lost in zip(able, gone, strict=True)},
        uncut=dict(left),
    )
