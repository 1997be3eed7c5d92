"""Attributions to facts: did compression or an attack move the gaze, and where is a map without meaning.

Maps are compared by rank: their scale means nothing, and a rank correlation needs no normalisation. They keep their
sign, so a pixel that changes from speaking for the class to speaking against it counts as moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bantamweight.errors import InputError
from bantamweight.explainers._core import Attributions
from bantamweight.explainers.metrics._core import correlations
from bantamweight.facts import Fact, proportion
from bantamweight.stats import mean_interval

__all__ = ["correlations", "map_correlation", "map_facts"]


def map_facts(maps: Attributions, **columns: Any) -> list[Fact]:
    """What a set of maps says of itself: `explainer_undefined` with the reason, or the share of flat maps.

    `flat_maps` is a proportion over maps and names the layer in its note. `columns` are further columns of Fact
    (variant, attack, threat, split, job, ...).
    """
    if maps.undefined is not None:
        return [_undefined(maps, columns)]
    flat = maps.flat.flatten()
    note = "" if maps.layer is None else f"layer {maps.layer}"
    return [proportion("flat_maps", int(flat.sum()), len(flat), item=maps.explainer, note=note, **columns)]


def map_correlation(first: Attributions, second: Attributions, **columns: Any) -> list[Fact]:
    """How alike two sets of maps of the same images are: the mean rank correlation with its interval over images.

    For a variant against its parent, or the attacked images against the clean ones. Pairs with a flat map have no
    correlation: they are left out, and counted in the note. Interval: Student's, 95%, kept within [-1, 1]. If the
    method is undefined on either side, the fact says that instead.
    """
    if first.explainer != second.explainer:
        raise InputError(f"expected maps of one explainer, got {first.explainer} and {second.explainer}")
    for side in (first, second):
        if side.undefined is not None:
            return [_undefined(side, columns)]
    flat = (first.flat | second.flat).numpy()
    kept = correlations(first.maps, second.maps)[~flat]
    kept = kept[np.isfinite(kept)]
    left_out = flat.size - kept.size
    note = f"{left_out} of {flat.size} pairs left out: a flat map has no ranks" if left_out else ""
    interval = mean_interval(kept) if kept.size > 1 else None
    return [
        Fact(
            metric="map_correlation",
            kind="mean",
            value=float(kept.mean()) if kept.size else None,
            low=max(-1.0, interval.low) if interval else None,
            high=min(1.0, interval.high) if interval else None,
            n=int(kept.size),
            item=first.explainer,
            note=note,
            **columns,
        )
    ]


def _undefined(maps: Attributions, columns: dict[str, Any]) -> Fact:
    return Fact(
        metric="explainer_undefined", kind="flag", value=1.0, item=maps.explainer, note=maps.undefined or "", **columns
    )
