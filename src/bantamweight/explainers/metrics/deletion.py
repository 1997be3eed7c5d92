"""Deletion: Petsiuk, Das, Saenko 2018, "RISE: Randomized Input Sampling for Explanation", section 4.1."""

from __future__ import annotations

from bantamweight.explainers._blank import Baseline, blank
from bantamweight.explainers.metrics._area import walk
from bantamweight.explainers.metrics._core import Metric, Scene, Scores

__all__ = ["deletion"]


def deletion(*, steps: int | None = None, baseline: Baseline = "mean") -> Metric:
    """Area under the class's probability while the most important pixels are removed first; low is good.

    Choose it to ask whether the pixels a map names are needed. Images with pixels removed are no natural images, so a
    fall may come from that alone: read it beside the random map. `steps` is the number of steps (None: as many pixels
    as the side is long, as published), `baseline` what removed pixels become; the published constant is the data's
    mean, here it is the image's own.

    >>> deletion().better
    'lower'
    """

    def score(seen: Scene) -> Scores:
        return walk(seen, seen.images, blank(seen.images, baseline), steps)

    return Metric("deletion", score, "lower")
