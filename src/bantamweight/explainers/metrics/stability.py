"""Stability: Alvarez-Melis and Jaakkola 2018, "On the Robustness of Interpretability Methods", equation 2.

The local Lipschitz constant of the map, over the directions of maps: the paper's methods share a scale, ours do not, so
each map is divided by its length first.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from bantamweight.explainers.metrics._core import Metric, Scene, Scores
from bantamweight.explainers.metrics._neighbours import neighbours

__all__ = ["stability"]


def stability(*, radius: float = 0.02, draws: int = 10) -> Metric:
    """How fast the map's direction turns: max ||u(x') - u(x)|| / ||x' - x|| with u = P / ||P||, over images nearby.

    Choose it beside max-sensitivity: it grows with what a *small* change does, not with the largest allowed. Sought by
    `draws` random points within `radius` of each pixel, hence from below. A map of zeros is left out.

    >>> stability().better
    'lower'
    """

    def score(seen: Scene) -> Scores:
        own = seen.maps.flatten(1).double()
        still = (own.norm(dim=1) == 0).numpy()
        most = np.full(len(own), -np.inf)
        for near, maps in neighbours(seen, radius, draws):
            turned = (_unit(maps.flatten(1).double()) - _unit(own)).norm(dim=1)
            away = (near - seen.images).flatten(1).double().norm(dim=1)
            most = np.maximum(most, (turned / away.clamp(min=1e-12)).numpy())
        most[still] = np.nan
        return Scores(most, "the map is zero everywhere")

    return Metric("stability", score, "lower")


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-300)
