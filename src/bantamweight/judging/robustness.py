"""Verdict columns -> facts: what one attack did to one variant, each rate with the n it stands on.

Columns are those of `attacks.Verdicts`, as arrays (`verdicts.columns`, or verdicts.parquet read back): one row per
image. An attack is tried on the images that were right before and, when targeted, whose label is not the target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bantamweight import stats
from bantamweight.errors import InputError
from bantamweight.facts import Fact, proportion

__all__ = ["half_fact", "robustness_facts", "stays_right"]

Columns = Mapping[str, np.ndarray]
NEEDED = (
    *("label", "target", "adversarial", "right", "attacked", "success", "query", "near", "forwards", "backwards"),
    *("confidence", "confidence_target", "size_linf", "size_l2", "size_l1", "size_l0"),
)
NORMS = {"linf": "of [0, 1]", "l2": "of [0, 1]", "l1": "of [0, 1]", "l0": "pixels"}


def robustness_facts(verdicts: Columns, *, minimum_norm: bool = False, **columns: Any) -> list[Fact]:
    """The facts of one cell (variant, threat, attack, target); `columns` go on every one of them.

    right_before, robust_accuracy and fooled_overall are over all n; attack_success over the images attacked,
    targeted_success likewise but counting only the target; sizes and confidence_wrong over successes. With
    `minimum_norm` the sizes are over all n instead: a misclassified image needs 0 (with targets it is left out), one
    that withstood needs more than was tried. A rate over nothing (no image was right before) is left out. Raises
    InputError for missing or ragged columns.
    """
    _check(verdicts)
    n, attacked, fooled = len(verdicts["label"]), verdicts["attacked"], _fooled(verdicts)
    robust = stays_right(verdicts)
    near = int(verdicts["near"][attacked].sum())
    note = f"{near} within 1e-4 of the boundary: may differ on another machine" if near else ""
    facts = [
        proportion("right_before", int(verdicts["right"].sum()), n, **columns),
        proportion("robust_accuracy", int(robust.sum()), n, note=note, **columns),
        proportion("fooled_overall", n - int(robust.sum()), n, **columns),
    ]
    if attacked.any():
        tried = int(attacked.sum())
        facts.append(proportion("attack_success", int(fooled.sum()), tried, **columns))
        if (verdicts["target"] >= 0).any():
            facts.append(proportion("targeted_success", int(verdicts["success"].sum()), tried, **columns))
            facts.append(_mean("confidence_target", verdicts["confidence_target"][attacked], 1.0, **columns))
        facts += _effort(verdicts, **columns)
    if fooled.any():
        facts.append(_mean("confidence_wrong", verdicts["confidence"][fooled], 1.0, **columns))
    facts += _sizes(verdicts, minimum_norm, **columns)
    return facts


def stays_right(verdicts: Columns) -> np.ndarray:
    """Which images the variant still gets right under attack, bool (n,): pair two variants with `paired_facts`."""
    return np.asarray(verdicts["right"] & ~_fooled(verdicts), dtype=bool)


def half_fact(metric: str, needed: np.ndarray, **columns: Any) -> Fact:
    """At which `needed` (eps, queries) half of the images are broken; infinity for an image that was not.

    The smallest value by which at least half succeeded, None when under half did; the interval's ends are order
    statistics, None where they are infinite. Read from each image's own number, never interpolated between runs.

    >>> half_fact("iterations_for_half", np.array([3.0, 1.0, 2.0, math.inf])).value
    2.0
    """
    needed = np.sort(np.asarray(needed, dtype=float))
    interval = stats.median_interval(needed)
    low, high = (None, None) if interval is None else interval
    return Fact(
        metric=metric,
        kind="median",
        value=_finite(needed[math.ceil(needed.size / 2) - 1]),
        low=_finite(low),
        high=_finite(high),
        k=int(np.isfinite(needed).sum()),
        n=needed.size,
        **columns,
    )


def _fooled(verdicts: Columns) -> np.ndarray:
    """Attacked and no longer given its label; a targeted attack may fool without reaching its target."""
    targeted = verdicts["target"] >= 0
    moved = np.where(targeted, verdicts["adversarial"] != verdicts["label"], verdicts["success"])
    return np.asarray(verdicts["attacked"] & moved, dtype=bool)


def _effort(verdicts: Columns, **columns: Any) -> list[Fact]:
    attacked, success = verdicts["attacked"], verdicts["success"]
    queries = np.where(success, verdicts["query"], math.inf)[attacked]
    facts = [half_fact("iterations_for_half", queries, unit="queries", **columns)]
    if success.any():
        facts.append(_mean("iterations_to_success", verdicts["query"][success], unit="queries", **columns))
        if "survives_8bit" in verdicts:
            survivors = int(verdicts["survives_8bit"][success].sum())
            facts.append(proportion("survives_8bit", survivors, int(success.sum()), **columns))
    for ledger in ("forwards", "backwards"):
        facts.append(_mean(ledger, verdicts[ledger][attacked], unit="per attacked image", **columns))
    return facts


def _sizes(verdicts: Columns, minimum_norm: bool, **columns: Any) -> list[Fact]:
    success, right, counted = verdicts["success"], verdicts["right"], verdicts["attacked"]
    if not (verdicts["target"] >= 0).any():  # an answer that was wrong before is not the one that was aimed for
        counted = counted | ~right
    facts = []
    for norm, unit in NORMS.items():
        size = verdicts[f"size_{norm}"].astype(float)
        if minimum_norm:
            sample = np.where(success, size, np.where(right, math.inf, 0.0))[counted]
        else:
            sample = size[success]
        if sample.size:
            low, high = stats.median_interval(sample) or (None, None)
            facts.append(
                Fact(
                    metric=f"perturbation_{norm}",
                    kind="median",
                    value=_finite(np.median(sample)),
                    low=_finite(low),
                    high=_finite(high),
                    n=sample.size,
                    unit=unit,
                    **columns,
                )
            )
    return facts


def _mean(metric: str, values: np.ndarray, most: float = math.inf, **columns: Any) -> Fact:
    """A mean of what is never below zero, nor above `most`, as Student's interval of few uneven values may be."""
    low, high = stats.mean_interval(values) or (None, None)
    low, high = None if low is None else max(low, 0.0), None if high is None else min(high, most)
    return Fact(metric=metric, kind="mean", value=float(np.mean(values)), low=low, high=high, n=len(values), **columns)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _check(verdicts: Columns) -> None:
    missing = [name for name in NEEDED if name not in verdicts]
    if missing:
        raise InputError(f"expected the columns of a verdict table, and {', '.join(missing)} are missing")
    lengths = {len(verdicts[name]) for name in NEEDED}
    if lengths == {0} or len(lengths) > 1:
        raise InputError(f"expected verdict columns of one length above 0, got lengths {sorted(lengths)}")
