"""Accuracy against sparsity, before and after fine-tuning."""

from __future__ import annotations

from typing import Any

from bantamweight.reports import _charts, _words
from bantamweight.reports._blocks import Block, Chart, Panel, Table
from bantamweight.reports._run import Context
from bantamweight.reports._tables import pivot

__all__ = ["sparsity"]


def sparsity(context: Context) -> Panel | None:
    """What cutting costs in accuracy and what fine-tuning gives back; None without a cut."""
    if not any(not one.dense for one in context.varieties):
        return None
    rows = _rows(context)
    blocks: list[Block] = []
    if rows:
        spec = _charts.lines(
            rows, x="sparsity", y="accuracy", colour="net", dash="tuning", percent_x=True, percent_y=True
        )
        cells = [[row["net"], f"{row['x']:.0%}", row["tuning"], row["said"]] for row in rows]
        table = Table("Accuracy against sparsity", ["net", "sparsity", "tuning", "accuracy"], cells)
        title = f"Accuracy on {context.split} against the share of weights that are zero"
        blocks.append(Chart(title, spec, table, "Bars are 95% Wilson intervals."))
    paired = {
        "accuracy_difference": "difference (paired)",
        "recovery_rate": "recovered share of the dense accuracy",
    }
    keys = {"variant": "variant", "other": "against", "split": "split"}
    if table_paired := pivot(context, "Paired with the dense net, image by image", keys, paired):
        blocks.append(table_paired)
    asked = {"sparsity_asked": "asked", "sparsity": "achieved", "nonzeros": "weights left"}
    if table_asked := pivot(context, "Asked and achieved", {"variant": "variant"}, asked):
        blocks.append(table_asked)
    return Panel("Sparsity", 30, blocks)


def _rows(context: Context) -> list[dict[str, Any]]:
    rows = []
    for one in context.varieties:
        fact = context.one("accuracy", variant=one.name, split=context.split, item="")
        if fact is None:
            continue
        kinds = ["as cut", "fine-tuned"] if one.dense else ["fine-tuned" if one.tuned else "as cut"]
        for kind in kinds:
            rows.append(
                {
                    "x": one.sparsity or 0.0,
                    "y": fact.value,
                    "low": fact.low,
                    "high": fact.high,
                    "n": fact.n,
                    "net": one.family,
                    "tuning": kind,
                    "said": _words.said(fact),
                }
            )
    return rows
