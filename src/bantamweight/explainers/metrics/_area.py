"""What deletion and insertion share: a walk from one image to another, and the area under the curve."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bantamweight.explainers.metrics._core import Scene, Scores, importance, path, stops
from bantamweight.types import Images

__all__ = ["area", "walk"]


def walk(seen: Scene, start: Images, end: Images, steps: int | None) -> Scores:
    """The curve from `start` to `end` and the area under it, per image."""
    h, w = seen.images.shape[2:]
    at = stops(h * w, steps, max(h, w))
    places = importance(seen.evidence, seen.images, seen.seed)
    curve = path(seen, places, start, end, at)
    return Scores(area(curve), stops=tuple(count / (h * w) for count in at), curve=curve)


def area(curve: Float[np.ndarray, "b s"]) -> Float[np.ndarray, " b"]:
    """(sum of s - (s_0 + s_n) / 2) / n over n steps: the trapezoid rule on [0, 1].

    >>> area(np.array([[1.0, 0.5, 0.0]])).tolist()
    [0.5]
    """
    inner: Float[np.ndarray, " b"] = curve.sum(axis=1) - (curve[:, 0] + curve[:, -1]) / 2
    return inner / (curve.shape[1] - 1)
