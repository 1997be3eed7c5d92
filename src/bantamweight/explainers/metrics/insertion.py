"""Insertion: Petsiuk, Das, Saenko 2018, "RISE: Randomized Input Sampling for Explanation", section 4.1."""

from __future__ import annotations

from bantamweight.explainers._blank import Baseline, blank
from bantamweight.explainers.metrics._area import walk
from bantamweight.explainers.metrics._core import Metric, Scene, Scores

__all__ = ["insertion"]


def insertion(*, steps: int | None = None, baseline: Baseline = "blurred") -> Metric:
    """Area under the class's probability while the most important pixels are put into a blurred image; high is good.

    Choose it to ask whether the pixels a map names suffice. Settings as for `deletion`, whose masks are the
    complements of these.

    >>> insertion().better
    'higher'
    """

    def score(seen: Scene) -> Scores:
        return walk(seen, blank(seen.images, baseline), seen.images, steps)

    return Metric("insertion", score, "higher")
