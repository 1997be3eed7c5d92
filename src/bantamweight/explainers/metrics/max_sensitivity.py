"""Max-sensitivity: Yeh et al. 2019, "On the (In)fidelity and Sensitivity of Explanations", definition 3.2."""

from __future__ import annotations

import numpy as np

from bantamweight.explainers.metrics._core import Metric, Scene, Scores
from bantamweight.explainers.metrics._neighbours import neighbours

__all__ = ["max_sensitivity"]


def max_sensitivity(*, radius: float = 0.02, draws: int = 10) -> Metric:
    """The largest relative change of the map, ||P(x+d) - P(x)|| / ||P(x)||, over small changes of the image.

    Choose it to ask whether a map could be believed on an image that looks the same. The maximum over
    ||d||inf <= `radius` is sought by `draws` random points, hence from below: more draws give more. A map of zeros is
    left out.

    >>> max_sensitivity().better
    'lower'
    """

    def score(seen: Scene) -> Scores:
        own = seen.maps.flatten(1).double()
        size = own.norm(dim=1)
        most = np.full(len(own), -np.inf)
        for _, maps in neighbours(seen, radius, draws):
            moved = (maps.flatten(1).double() - own).norm(dim=1) / size
            most = np.maximum(most, moved.numpy())
        most[(size == 0).numpy()] = np.nan
        return Scores(most, "the map is zero everywhere")

    return Metric("max_sensitivity", score, "lower")
