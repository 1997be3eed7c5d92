"""Precision, recall and F1 class by class."""

from __future__ import annotations

from bantamweight.reports._blocks import Block, Group, Panel
from bantamweight.reports._run import Context
from bantamweight.reports._tables import pivot

__all__ = ["classes"]

HEADS = {"precision": "precision", "recall": "recall", "f1": "F1"}


def classes(context: Context) -> Panel | None:
    """One table per dense net, the others folded; None without per-class facts."""
    blocks: list[Block] = []
    for one in context.varieties:
        table = pivot(
            context,
            f"{one.name}, {context.split}",
            {"item": "class"},
            HEADS,
            where=lambda fact, name=one.name: fact.variant == name and fact.split == context.split,  # type: ignore[misc]
            folded=not one.dense,
        )
        if table:
            blocks.append(table)
    return Panel("Classes", 26, [Group("", blocks)]) if blocks else None
