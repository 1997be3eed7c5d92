"""Noisy linear imputation: Rong et al. 2022, "A Consistent and Efficient Evaluation Strategy for Attribution Methods",
section 4: a removed pixel is the weighted mean of its neighbours (direct 1/6, diagonal 1/12), plus a little noise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import splu

__all__ = ["DIAGONAL", "DIRECT", "imputed"]

DIRECT, DIAGONAL = 1 / 6, 1 / 12
_AROUND = [
    (dy, dx, DIRECT if 0 in (dy, dx) else DIAGONAL) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)
]


def imputed(image: Float[np.ndarray, "c h w"], removed: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "c h w"]:
    """The image with its removed pixels solved from the others, without noise; at least one pixel has to stay.

    The equations of all removed pixels are solved together, so large holes are filled smoothly. At the border the
    weights of the neighbours that there are count alone.
    """
    filled = image.astype(np.float64).copy()
    rows, columns = np.nonzero(removed)
    if not rows.size:
        return filled
    number = np.full(removed.shape, -1)
    number[rows, columns] = np.arange(rows.size)
    h, w = removed.shape
    known = np.zeros((rows.size, len(image)))
    total = np.zeros(rows.size)
    entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for dy, dx, weight in _AROUND:
        y, x = rows + dy, columns + dx
        there = np.flatnonzero((y >= 0) & (y < h) & (x >= 0) & (x < w))
        total[there] += weight
        near = number[y[there], x[there]]
        given = there[near < 0]
        known[given] += weight * filled[:, y[given], x[given]].T
        inner = near >= 0
        entries.append((there[inner], near[inner], np.full(int(inner.sum()), -weight)))
    entries.append((np.arange(rows.size), np.arange(rows.size), total))
    at, to, value = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    matrix = csr_matrix((value, (at, to)), shape=(rows.size, rows.size)).tocsc()
    filled[:, rows, columns] = splu(matrix).solve(known).T
    return filled
