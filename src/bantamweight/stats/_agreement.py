"""Whether raters agree beyond chance: Krippendorff's alpha and Fleiss' kappa."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from bantamweight.errors import InputError

__all__ = ["fleiss_kappa", "krippendorff_alpha"]

Level = Literal["nominal", "ordinal", "interval"]


def krippendorff_alpha(ratings: Sequence[Sequence[float | None]], *, level: Level = "nominal") -> float | None:
    """Agreement of raters (rows) on units (columns), None where a rater did not answer; 1 perfect, 0 chance.

    `level` says what a difference means: any difference, a distance in ranks, or a squared distance. None where no
    unit has two ratings or all ratings are equal: then nothing can be said. Source: Krippendorff 2011, "Computing
    Krippendorff's Alpha-Reliability".

    >>> round(krippendorff_alpha([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]), 3)
    0.095
    """
    table = np.array([[np.nan if one is None else float(one) for one in row] for row in ratings], dtype=float)
    if table.ndim != 2 or not table.size:
        raise InputError(f"expected one row of ratings per rater, all of one length, got {len(ratings)} rows")
    values = np.unique(table[~np.isnan(table)])
    coincidences = np.zeros((len(values), len(values)))
    for unit in table.T:
        found = np.searchsorted(values, unit[~np.isnan(unit)])
        if len(found) < 2:
            continue
        counts = np.bincount(found, minlength=len(values)).astype(float)
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(found) - 1)
    totals = coincidences.sum(axis=1)
    n = totals.sum()
    distances = _DISTANCES[level](values, totals)
    expected = float((np.outer(totals, totals) * distances).sum())
    if n < 2 or expected == 0:
        return None
    return 1.0 - float((n - 1) * (coincidences * distances).sum()) / expected


def _nominal(values: np.ndarray, _totals: np.ndarray) -> np.ndarray:
    return (values[:, None] != values[None]).astype(float)


def _ordinal(_values: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """(Ratings between two values, each end counted half) squared."""
    middle = np.cumsum(totals) - totals / 2
    found: np.ndarray = (middle[:, None] - middle[None]) ** 2
    return found


def _interval(values: np.ndarray, _totals: np.ndarray) -> np.ndarray:
    found: np.ndarray = (values[:, None] - values[None]) ** 2
    return found


_DISTANCES: dict[Level, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "nominal": _nominal,
    "ordinal": _ordinal,
    "interval": _interval,
}


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> float | None:
    """Agreement on units (rows) from how many raters chose each category (columns); 1 perfect, 0 chance.

    Every unit needs the same number of ratings; with gaps use `krippendorff_alpha`. None where only one category was
    ever chosen. Source: Fleiss 1971, Psychological Bulletin 76:378.

    >>> fleiss_kappa([[3, 0], [0, 3]])
    1.0
    """
    table = np.array(counts, dtype=float)
    if table.ndim != 2 or not table.size or (table < 0).any():
        raise InputError(f"expected one row of counts per unit, got shape {table.shape}")
    raters = table.sum(axis=1)
    if (raters != raters[0]).any() or raters[0] < 2:
        raise InputError("expected the same number of ratings, at least 2, for every unit")
    m = raters[0]
    observed = ((table**2).sum(axis=1) - m) / (m * (m - 1))
    chance = float(((table.sum(axis=0) / table.sum()) ** 2).sum())
    return None if chance == 1 else float((observed.mean() - chance) / (1 - chance))
