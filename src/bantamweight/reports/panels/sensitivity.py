"""Accuracy when one layer alone is cut, and how sparse each layer became."""

from __future__ import annotations

from bantamweight.reports import _charts, _words
from bantamweight.reports._blocks import Block, Chart, Panel, Table
from bantamweight.reports._run import Context

__all__ = ["sensitivity"]


def sensitivity(context: Context) -> Panel | None:
    """Which layers bear cutting; None without such facts."""
    blocks: list[Block] = []
    for name in dict.fromkeys(fact.variant for fact in context.find("sensitivity_accuracy")):
        facts = context.find("sensitivity_accuracy", variant=name)
        rows = [
            {"x": f.value, "low": f.low, "high": f.high, "n": f.n, "layer": f.item, "cut": f"{f.step or 0:.0%} cut"}
            for f in facts
        ]
        spec = _charts.dots(rows, x="accuracy", y="layer", colour="cut", percent_x=True)
        cells = [[f.item, f"{f.step or 0:.0%}", _words.said(f)] for f in facts]
        title = f"{name}: accuracy when one layer alone is cut ({facts[0].split})"
        blocks.append(Chart(title, spec, Table(title, ["layer", "sparsity", "accuracy"], cells)))
    sparse = context.find("layer_sparsity")
    if sparse:
        cells = [[f.variant, f.item, f"{100 * (f.value or 0):.1f}%"] for f in sparse]
        blocks.append(Table("Achieved sparsity, layer by layer", ["variant", "layer", "zeros"], cells, folded=True))
    return Panel("Layers", 36, blocks) if blocks else None
