"""Score, allocate, cut: a criterion scores weights, an allocation turns scores into masks, a cut makes a new variant.

Every file without an underscore is a criterion that a study can name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

if TYPE_CHECKING:
    from bantamweight.compression._allocations import allocate, by_sensitivity, global_masks, per_layer_masks
    from bantamweight.compression._bitmap import load_bitmap, save_bitmap, sizes
    from bantamweight.compression._channels import (
        AchievedChannels,
        compress_channels,
        coupled,
        cut_channels,
        score_channels,
    )
    from bantamweight.compression._coded import save_coded
    from bantamweight.compression._core import (
        Achieved,
        ChannelCriterion,
        Criterion,
        compress,
        cut,
        measure,
        prunable,
        score,
        select,
    )
    from bantamweight.compression._decoded import load_coded
    from bantamweight.compression._evidence import gather
    from bantamweight.compression._groups import Group
    from bantamweight.compression._ranks import AchievedRanks, Factorisation, compress_ranks
    from bantamweight.compression._recalibrate import recalibrate
    from bantamweight.compression._rounded import rounded
    from bantamweight.compression._sensitivity import Reading, sensitivity

_HOMES = {
    "Achieved": "_core",
    "AchievedChannels": "_channels",
    "AchievedRanks": "_ranks",
    "ChannelCriterion": "_core",
    "Criterion": "_core",
    "Factorisation": "_ranks",
    "Group": "_groups",
    "Reading": "_sensitivity",
    "allocate": "_allocations",
    "by_sensitivity": "_allocations",
    "compress": "_core",
    "compress_channels": "_channels",
    "compress_ranks": "_ranks",
    "coupled": "_channels",
    "cut": "_core",
    "cut_channels": "_channels",
    "gather": "_evidence",
    "global_masks": "_allocations",
    "load_bitmap": "_bitmap",
    "load_coded": "_decoded",
    "measure": "_core",
    "per_layer_masks": "_allocations",
    "prunable": "_core",
    "recalibrate": "_recalibrate",
    "rounded": "_rounded",
    "save_bitmap": "_bitmap",
    "save_coded": "_coded",
    "score": "_core",
    "score_channels": "_channels",
    "select": "_core",
    "sensitivity": "_sensitivity",
    "sizes": "_bitmap",
}

__all__ = [
    "Achieved",
    "AchievedChannels",
    "AchievedRanks",
    "ChannelCriterion",
    "Criterion",
    "Factorisation",
    "Group",
    "Reading",
    "allocate",
    "by_sensitivity",
    "compress",
    "compress_channels",
    "compress_ranks",
    "coupled",
    "cut",
    "cut_channels",
    "gather",
    "global_masks",
    "load_bitmap",
    "load_coded",
    "measure",
    "per_layer_masks",
    "prunable",
    "recalibrate",
    "rounded",
    "save_bitmap",
    "save_coded",
    "score",
    "score_channels",
    "select",
    "sensitivity",
    "sizes",
]

ALSO = {"irregular": "magnitude", "two_four": "n_m"}
"""Criteria that share a file: name -> the file."""

__getattr__, __dir__ = lazy(__name__, _HOMES)
