"""Sparseness: the Gini index of a map's magnitudes; Chalasani et al. 2020, "Concise Explanations", section 4.

The index is that of Hurley and Rickard 2009, "Comparing Measures of Sparsity", table I.
"""

from __future__ import annotations

import numpy as np

from bantamweight.explainers.metrics._core import Metric, Scene, Scores

__all__ = ["sparseness"]


def sparseness() -> Metric:
    """How few pixels carry the map: 0 where all are equal, towards 1 where one pixel has everything.

    Choose it to describe a map, not to judge it: a sparse map may be sparse in the wrong place. A map of zeros is
    left out.

    >>> sparseness().better
    'neither'
    """
    return Metric("sparseness", _score, "neither")


def _score(seen: Scene) -> Scores:
    sizes = np.sort(seen.maps.flatten(1).abs().double().numpy(), axis=1)
    n = sizes.shape[1]
    weights = (n - np.arange(1, n + 1) + 0.5) / n
    total = sizes.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return Scores(1.0 - 2.0 * (sizes @ weights) / total, "the map is zero everywhere")
