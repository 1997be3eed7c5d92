"""Pointing game: Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop", section 4.1."""

from __future__ import annotations

import numpy as np

from bantamweight.explainers.metrics._boxes import NO_OBJECT, masks, tops
from bantamweight.explainers.metrics._core import Metric, Scene, Scores

__all__ = ["pointing_game"]


def pointing_game(*, tolerance: float = 15 / 224) -> Metric:
    """Whether the largest value of the map lies on the object, or close to it; the mean of per-class accuracies.

    Choose it to ask whether a map finds the object at all, not how much of it. `tolerance` is a share of the shorter
    side (15 pixels at 224). Where the largest value is there several times, all of them must hit; a flat map misses,
    and an image without the object is left out.

    >>> pointing_game().share
    True
    """

    def score(seen: Scene) -> Scores:
        objects = masks(seen, "pointing_game")
        reach = tolerance * min(objects.shape[1:])
        values = [
            _hit(evidence, mask, reach) if not flat else (0.0 if mask.any() else np.nan)
            for evidence, mask, flat in zip(seen.evidence.numpy(), objects, seen.flat.tolist(), strict=True)
        ]
        return Scores(np.array(values), NO_OBJECT)

    return Metric("pointing_game", score, "higher", objects=True, share=True)


def _hit(evidence: np.ndarray, mask: np.ndarray, reach: float) -> float:
    if not mask.any():
        return np.nan
    rows, columns = np.nonzero(mask)
    return float(
        all(
            ((rows - row) ** 2 + (columns - column) ** 2).min() <= reach**2
            for row, column in zip(*tops(evidence), strict=True)
        )
    )
