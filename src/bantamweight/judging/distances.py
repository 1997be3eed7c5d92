"""The smallest perturbation found for each image -> facts: median distances, and accuracy as the budget grows.

One run of a minimum-norm attack answers for every budget at once: an image falls within eps where its distance is at
most eps. A misclassified image needs 0; one that was never broken needs more than was found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from bantamweight import stats
from bantamweight.errors import InputError
from bantamweight.facts import Fact, proportion
from bantamweight.judging.robustness import NORMS, half_fact, robustness_facts

__all__ = ["distance_facts", "needed_eps"]

POINTS = 24
"""Budgets at which the curve is read, at even steps of the share that has fallen."""

KEPT = ("right_before", "iterations_for_half", "iterations_to_success", "survives_8bit", "forwards", "backwards")
"""What verdicts say without a budget; the rates over all images are those of one."""


def needed_eps(verdicts: Mapping[str, np.ndarray], norm: str) -> Float[np.ndarray, " n"]:
    """The budget in `norm` that each image needs: 0 where it was wrong before, infinity where nothing broke it."""
    size = verdicts[f"size_{norm}"].astype(float)
    return np.where(verdicts["success"], size, np.where(verdicts["right"], math.inf, 0.0))


def distance_facts(verdicts: Mapping[str, np.ndarray], norm: str, classes: int, **columns: Any) -> list[Fact]:
    """Facts of a run that sought the smallest perturbation in `norm`, over all n images.

    distance_linf, _l2, _l1, _l0 (medians, of the same images); eps_for_half; accuracy_at_eps, the share still right
    at budget `step`, down to the first that is below 1 / `classes`, and eps_for_chance, that budget; queries until
    half of the attacked are broken, and how many successes survive 8 bits. Raises InputError for an unknown norm.
    """
    if norm not in NORMS:
        raise InputError(f"expected one of the norms {', '.join(NORMS)}, got {norm!r}")
    attacked = robustness_facts(verdicts, **columns)
    facts = [_median(verdicts, name, unit, **columns) for name, unit in NORMS.items()]
    needed = needed_eps(verdicts, norm)
    facts.append(half_fact("eps_for_half", needed, unit=NORMS[norm], **columns))
    return [*facts, *_curve(needed, classes, NORMS[norm], **columns), *(f for f in attacked if f.metric in KEPT)]


def _median(verdicts: Mapping[str, np.ndarray], norm: str, unit: str, **columns: Any) -> Fact:
    sample = needed_eps(verdicts, norm)
    ends = stats.median_interval(sample) or (math.inf, math.inf)
    value, low, high = (float(end) if np.isfinite(end) else None for end in (np.median(sample), *ends))
    found = int(np.isfinite(sample).sum())
    where = {"k": found, "n": sample.size, "unit": unit, **columns}
    return Fact(metric=f"distance_{norm}", kind="median", value=value, low=low, high=high, **where)


def _curve(needed: Float[np.ndarray, " n"], classes: int, unit: str, **columns: Any) -> list[Fact]:
    """Algorithm of growing budgets: accuracy at each, until it is below what guessing gives."""
    n, facts = len(needed), []
    reached = np.sort(needed[np.isfinite(needed)])
    levels = np.linspace(0.0, 1.0, POINTS)
    grid = np.unique(np.quantile(reached, levels, method="lower")) if len(reached) else np.empty(0)
    for eps in np.unique(np.append(grid, 0.0)):
        left = int((needed > eps).sum())
        facts.append(proportion("accuracy_at_eps", left, n, step=float(eps), **columns))
        if left * classes < n:
            break
    # The number of images that must fall until fewer than n / classes are left.
    must = n - math.ceil(n / classes) + 1
    chance = float(reached[must - 1]) if len(reached) >= must else None
    note = f"below 1 in {classes}, which guessing gives"
    facts.append(Fact(metric="eps_for_chance", kind="score", value=chance, n=n, unit=unit, note=note, **columns))
    return facts
