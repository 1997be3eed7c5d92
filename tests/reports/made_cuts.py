"""Facts of cuts to targets, made up: what was asked and reached, what is left, and who beats whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bantamweight.facts import Fact
from bantamweight.judging.compression import histogram_facts, share_facts, target_facts
from bantamweight.judging.front import front_facts
from bantamweight.judging.steps import Cut, accuracy_steps, verdict_fact

__all__ = ["cuts"]


def cuts(
    variants: Sequence[tuple[str, str, float | None, bool]],
    right: dict[str, np.ndarray],
    hostile: str,
    known: list[Fact],
) -> list[Fact]:
    """For each (name, parent, share, tuned) what its job said, and what follows; `known` are figures."""
    found: list[Fact] = []
    lines: dict[bool, list[Cut]] = {False: [], True: []}
    draw = np.random.default_rng(0)
    for name, _, share, tuned in variants:
        columns: dict[str, Any] = {"variant": name}
        middles, counts = np.linspace(-1, 1, 5), draw.integers(0, 100, 5)
        found += histogram_facts(middles, counts, **columns)
        if share is None:
            continue
        macs = round(1000 * (1 - share))
        found += share_facts({"macs": macs, "parameters": macs}, {"macs": 1000, "parameters": 1000}, **columns)
        lines[tuned].append(Cut(name, share, macs / 1000))
        if not tuned:
            left = {hostile: f"it is {hostile}"}
            found += target_facts("sparsity", share, share - 0.01, below=share - 0.02, uncut=left, **columns)
    for tuned, line in lines.items():
        steps = accuracy_steps(line, right, split="test")
        how = "magnitude, fine-tuned" if tuned else "magnitude"
        found += [*steps, verdict_fact(line, steps, "accuracy", variant="net", against=how, split="test")]
    return found + front_facts(known)
