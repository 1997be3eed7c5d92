"""How an exported file answers beside torch, and what a rounded one is right about -> facts."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from bantamweight.facts import Fact, paired, proportion
from bantamweight.types import Bool

__all__ = ["MOST_LOST", "kept_facts", "parity_facts"]

MOST_LOST = 0.01
"""The share of images that a rounded file may lose and still be a choice."""


class Compared(Protocol):
    """What `runtimes.compare` says."""

    @property
    def n(self) -> int:
        """Images compared."""
        ...

    @property
    def max_abs(self) -> float:
        """Largest difference of a logit."""
        ...

    @property
    def same(self) -> int:
        """Images with the same first choice."""
        ...

    @property
    def holds(self) -> bool:
        """Whether the largest difference is within the tolerance."""
        ...


def parity_facts(parity: Compared, *, runtime: str, **columns: Any) -> list[Fact]:
    """parity_max_abs (in logits), parity_top1 (equal first choices of n) and parity_holds (1 or 0)."""
    shared = {**columns, "runtime": runtime}
    return [
        Fact(metric="parity_max_abs", kind="score", value=parity.max_abs, n=parity.n, unit="logits", **shared),
        proportion("parity_top1", parity.same, parity.n, **shared),
        Fact(metric="parity_holds", kind="flag", value=float(parity.holds), n=parity.n, **shared),
    ]


def kept_facts(
    before: Bool[np.ndarray, " n"], after: Bool[np.ndarray, " n"], *, most_lost: float = MOST_LOST, **columns: Any
) -> list[Fact]:
    """Who is right on which image, the net in float32 and the file that answers otherwise -> facts of the file.

    runtime_accuracy, its paired difference from the net's (Tango's interval, McNemar's test), and runtime_keeps: 1
    where it loses no more than `most_lost`. Without that a file is nobody's choice, however fast or small it is.
    """
    gained, lost, n = int((after & ~before).sum()), int((before & ~after).sum()), len(before)
    return [
        proportion("runtime_accuracy", int(after.sum()), n, **columns),
        paired("runtime_accuracy_difference", gained, lost, n, **columns),
        Fact(metric="runtime_keeps", kind="flag", value=float(lost - gained <= most_lost * n), n=n, **columns),
    ]
