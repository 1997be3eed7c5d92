"""Facts -> which variants no other beats in every figure, and for each of the rest which one does.

Accuracy, accuracy under attack, latency and bytes, as `judging.recommend` reads them. A variant is dominated when
another is at least as good in every figure that is known and better in one; where the intervals of a figure lie apart
too, that is said, since point figures alone may trade places in the next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bantamweight.facts import Fact
from bantamweight.judging._evidence import Cell, Point, gather
from bantamweight.judging._words import megabytes, percent
from bantamweight.judging.recommend import pareto

__all__ = ["front_facts"]

FIGURES = {
    "accuracy": ("accuracy", True),
    "robust": ("accuracy under attack", True),
    "latency": ("latency", False),
    "size": ("bytes", False),
}


def front_facts(
    facts: Sequence[Fact], *, variants: Iterable[str] | None = None, threat: str = "", attack: str = "", **columns: Any
) -> list[Fact]:
    """A flag `pareto` for each variant with an accuracy: 1 on the front, 0 with the variant that dominates it (other).

    The note lists its figures with intervals. Flags are measured where a latency entered, else computed.
    """
    evidence = gather(facts, None if variants is None else set(variants), threat, attack)
    front = pareto(evidence.points)
    timed = any(point.latency is not None for point in evidence.points)
    found = []
    for point in evidence.points:
        # The one that beats it in most figures beyond the intervals; among equals the first.
        rivals = [] if point in front else [other for other in front if _dominates(other, point)]
        rival = max(rivals, key=lambda other: len(_apart(other, point)), default=None)
        found.append(
            Fact(
                metric="pareto",
                kind="flag",
                value=float(rival is None),
                variant=point.variant,
                other="" if rival is None else rival.variant,
                note=_said(point) + ("" if rival is None else f"; {_beaten(rival, point)}"),
                origin="measured" if timed else "computed",
                **columns,
            )
        )
    return found


def _dominates(other: Point, point: Point) -> bool:
    pairs = list(zip(other.scores(), point.scores(), strict=True))
    return all(first >= second for first, second in pairs) and any(first > second for first, second in pairs)


def _apart(other: Point, point: Point) -> list[str]:
    """The figures in which the first is better with intervals that lie apart."""
    names = []
    for field, (name, higher) in FIGURES.items():
        first, second = getattr(other, field), getattr(point, field)
        if first is not None and second is not None:
            better = first.low > second.high if higher else first.high < second.low
            names += [name] if better else []
    return names


def _beaten(rival: Point, point: Point) -> str:
    apart = _apart(rival, point)
    beyond = f"beyond its interval in {', '.join(apart)}" if apart else "in no figure beyond its interval"
    return f"{rival.variant} is at least as good in every figure, {beyond}"


def _said(point: Point) -> str:
    said = []
    for field, (name, _) in FIGURES.items():
        cell: Cell | None = getattr(point, field)
        if cell is None:
            continue
        form = percent if field in ("accuracy", "robust") else megabytes if field == "size" else _milliseconds
        ends = "" if cell.low == cell.high else f" ({form(cell.low)} to {form(cell.high)})"
        said.append(f"{name} {form(cell.value)}{ends}")
    return ", ".join(said)


def _milliseconds(value: float) -> str:
    return f"{value:.3g} ms"
