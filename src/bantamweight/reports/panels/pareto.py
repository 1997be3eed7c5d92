"""Which variants no other beats in every figure, and which one beats each of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Cell, Chart, Panel, Table
from bantamweight.reports._run import Context
from bantamweight.reports._scatter import scatter

__all__ = ["pareto"]

ON, OFF = "on the front", "dominated"


def pareto(context: Context) -> Panel | None:
    """The table of all variants, front first, and accuracy against bytes and latency; None without such flags."""
    flags = context.find("pareto")
    if not flags:
        return None
    ordered = sorted(flags, key=lambda fact: (-(fact.value or 0.0), context.place(fact.variant)))
    rows: list[Sequence[str | Cell]] = [
        [fact.variant, Cell(ON, kind="good") if fact.value else Cell(f"{OFF} by {fact.other}", kind="quiet"), fact.note]
        for fact in ordered
    ]
    table = Table("Every variant and who beats it", ["variant", "it is", "figures"], rows)
    blocks: list[Block] = []
    sizes = _least(context.find("size_bytes"))
    speeds = _least(context.find("latency_ms", batch=1))
    for title, found, unit, scale in (
        ("Accuracy against the smallest file", sizes, "MB", 1e-6),
        ("Accuracy against latency, one image, fastest runtime", speeds, "milliseconds", 1.0),
    ):
        points = _points(context, flags, found, scale)
        if len({point.x for point in points}) > 1:
            head = ["variant", unit, "accuracy", "it is"]
            body = [[point.name, _words.number(point.x), _words.percent(point.y), point.front] for point in points]
            spec = scatter([point._asdict() for point in points], x=unit, y="accuracy", colour="front", percent_y=True)
            blocks.append(Chart(title, spec, Table(title, head, body)))
    lead = (
        "A variant is dominated when another is at least as good in every known figure and better in one. Where "
        "intervals overlap, another run may order them otherwise; the table says where they lie apart."
    )
    return Panel("Pareto front", 65, [*blocks, table], lead)


def _least(facts: list[Fact]) -> dict[str, float]:
    found: dict[str, float] = {}
    for fact in facts:
        if fact.value is not None:
            found[fact.variant] = min(fact.value, found.get(fact.variant, float("inf")))
    return found


class _Point(NamedTuple):
    name: str
    x: float
    y: float | None
    low: float | None
    high: float | None
    n: int | None
    front: str


def _points(context: Context, flags: list[Fact], found: dict[str, float], scale: float) -> list[_Point]:
    points = []
    for flag in flags:
        right = context.one("accuracy", variant=flag.variant, split=context.split, item="")
        if right is not None and flag.variant in found:
            at, front = found[flag.variant] * scale, ON if flag.value else OFF
            points.append(_Point(flag.variant, at, right.value, right.low, right.high, right.n, front))
    return points
