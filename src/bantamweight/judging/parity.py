"""How an exported file answers beside torch -> facts."""

from __future__ import annotations

from typing import Any, Protocol

from bantamweight.facts import Fact, proportion

__all__ = ["parity_facts"]


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
