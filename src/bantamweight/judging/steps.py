"""A line of ever deeper cuts, step by step: does anything get better again where less is left?

Over-pruning, as curves against an asked sparsity show it, has three readings that can be told apart once achieved MACs
are on the axis: more was asked and more MACs came out; accuracy rose although MACs fell; the perturbation that an
attack needs grew although MACs fell. Each is a comparison of neighbours on the same images, and neighbours are one
family for Holm's correction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from bantamweight import stats
from bantamweight.errors import InputError
from bantamweight.facts import Fact, paired
from bantamweight.judging.accuracy import paired_facts

__all__ = ["Cut", "accuracy_steps", "distance_steps", "verdict_fact"]


class Cut(NamedTuple):
    """A point of a line: the variant, how much was asked to go, and the MACs left as a share of the dense net's."""

    variant: str
    asked: float
    macs: float


def accuracy_steps(line: Sequence[Cut], right: Mapping[str, np.ndarray], **columns: Any) -> list[Fact]:
    """accuracy_step: each cut against the one before it in the line, on the same images, Holm over the line."""
    pairs = [(cut.variant, before.variant) for before, cut in _neighbours(line)]
    return paired_facts(right, pairs, metric="accuracy_step", **columns) if pairs else []


def distance_steps(line: Sequence[Cut], needed: Mapping[str, Float[np.ndarray, " n"]], **columns: Any) -> list[Fact]:
    """distance_step: on how many images the perturbation needed grew and on how many it shrank (exact sign test).

    `needed[variant]` is each image's smallest budget, infinite where nothing was found; images where it is the same
    count as neither. The value is (grew - shrank) / n with Tango's interval, p_adjusted Holm's over the line.
    """
    counts = []
    for before, cut in _neighbours(line):
        first, second = needed[before.variant], needed[cut.variant]
        if first.shape != second.shape:
            raise InputError(f"expected {cut.variant} and {before.variant} attacked on the same images")
        counts.append((cut, before, int((second > first).sum()), int((second < first).sum()), first.size))
    tests = [stats.mcnemar(grew, shrank) for _, _, grew, shrank, _ in counts]
    found = []
    for (cut, before, grew, shrank, n), adjusted in zip(counts, stats.holm(tests), strict=True):
        found.append(
            paired(
                "distance_step",
                grew,
                shrank,
                n,
                variant=cut.variant,
                other=before.variant,
                p_adjusted=adjusted,
                note=f"exact sign test, Holm over {len(counts)} steps",
                **columns,
            )
        )
    return found


def verdict_fact(line: Sequence[Cut], steps: Sequence[Fact], what: str, **columns: Any) -> Fact:
    """over_pruning: 1 where MACs rose with what was asked, or a step with no more MACs was shown better.

    `steps` are `accuracy_steps` or `distance_steps` of the line; `what` says in words what would have risen. `p` is the
    least of the steps shown better, after Holm over the line: 1 where there is none.
    """
    risen = [cut for before, cut in _neighbours(line) if cut.macs > before.macs * (1 + 1e-9)]
    macs = {cut.variant: cut.macs for cut in line}
    better = [
        step
        for step in steps
        if (step.value or 0) > 0
        and (step.p_adjusted if step.p_adjusted is not None else 1.0) < 0.05
        and macs[step.variant] <= macs[step.other]
    ]
    largest = max(steps, key=lambda step: step.value or 0.0, default=None)
    if risen:
        said = f"MACs rose at {risen[0].variant} although more was asked"
    elif better:
        first = better[0]
        # Zeros among weights leave the MACs of a dense layer as they are.
        fell = "MACs fell" if macs[first.variant] < macs[first.other] else "more was cut, MACs the same"
        said = f"{what} rose at {first.variant} although {fell} (p = {first.p_adjusted:.2g} after Holm)"
    else:
        said = f"MACs never rise with what is asked, and no step is shown where {what} rises as they fall"
        if largest is not None and (largest.value or 0) > 0:
            points = 100 * (largest.value or 0)
            said += f"; the largest rise is {points:.1f} points, p = {largest.p_adjusted:.2g} after Holm"
    flag = float(bool(risen or better))
    least = min((step.p_adjusted or 0.0 for step in better), default=1.0)
    return Fact(metric="over_pruning", kind="flag", value=flag, p=least, note=said, item=what, **columns)


def _neighbours(line: Sequence[Cut]) -> list[tuple[Cut, Cut]]:
    ordered = sorted(line, key=lambda cut: cut.asked)
    return list(pairwise(ordered))
