"""Bytes on disk against sparsity, format by format."""

from __future__ import annotations

from bantamweight.reports import _charts, _words
from bantamweight.reports._blocks import Block, Chart, Panel, Table
from bantamweight.reports._run import Context
from bantamweight.reports._tables import pivot

__all__ = ["size"]


def size(context: Context) -> Panel | None:
    """Size in every format; None without sizes."""
    facts = context.find("size_bytes")
    if not facts:
        return None
    blocks: list[Block] = []
    for family in context.families:
        rows = []
        for fact in facts:
            one = context.variety(fact.variant)
            if one.family == family and fact.value is not None and (one.dense or one.tuned or not _tuned(context)):
                rows.append({"x": one.sparsity or 0.0, "y": fact.value / 1e6, "format": fact.item, "name": one.name})
        if len({row["x"] for row in rows}) < 2:
            continue
        spec = _charts.lines(rows, x="sparsity", y="megabytes", colour="format", percent_x=True, from_zero=True)
        cells = [[str(row["name"]), str(row["format"]), f"{row['y']:.3f} MB"] for row in rows]
        title = f"Size of {family} on disk against sparsity"
        blocks.append(
            Chart(title, spec, Table(title, ["variant", "format", "size"], cells), "1 MB is 1,000,000 bytes.")
        )
    cells = [[fact.variant, fact.item, _words.bare(fact)] for fact in facts]
    blocks.append(Table("Every size", ["variant", "format", "size"], cells, folded=True))
    counts = {"parameters": "parameters", "nonzeros": "not zero", "macs": "multiply-accumulates for one image"}
    if table := pivot(context, "Parameters and work", {"variant": "variant"}, counts):
        blocks.append(table)
    return Panel("Size", 32, blocks)


def _tuned(context: Context) -> bool:
    return any(one.tuned for one in context.varieties)
