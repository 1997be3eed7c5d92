"""What max-sensitivity and stability share: maps of images a little beside the ones explained."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.explainers._core import explain
from bantamweight.explainers.metrics._core import Scene
from bantamweight.types import Images

__all__ = ["neighbours"]


def neighbours(seen: Scene, radius: float, draws: int) -> Iterator[tuple[Images, Tensor]]:
    """Images drawn uniformly from the box of that radius, cut to [0, 1], and their maps, draw by draw."""
    if not radius > 0 or draws < 1:
        raise InputError(f"expected a radius above 0 and at least 1 draw, got {radius} and {draws}")
    keys = rng.image_keys(seen.images)
    for draw in range(draws):
        lots = rng.uniform(keys, tuple(seen.images.shape[1:]), "neighbours", seen.seed, draw)
        near = (seen.images + radius * (2.0 * lots - 1.0)).clamp(0.0, 1.0)
        found = explain(seen.explainer, seen.module, near, seen.classes, batch=seen.batch, strict=True)
        yield near, found.maps
