"""Adversarial images made on one variant and judged by another."""

from __future__ import annotations

from bantamweight.facts import Fact
from bantamweight.reports import _charts, _words
from bantamweight.reports._blocks import Block, Chart, Panel, Table
from bantamweight.reports._run import Context

__all__ = ["transfer"]


def transfer(context: Context) -> Panel | None:
    """One heat map per attack, threat and target; None without transfers."""
    groups: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in context.find("transfer_success"):
        groups.setdefault((fact.attack, fact.threat, fact.target), []).append(fact)
    blocks: list[Block] = []
    for (attack, threat, target), facts in groups.items():
        rows = [{"x": f.variant, "y": f.source, "value": f.value, "said": _words.said(f), "n": f.n} for f in facts]
        spec = _charts.heat(rows, x="judged by", y="made on", value="success")
        cells = [[f.source, f.variant, _words.said(f), _given(context, f)] for f in facts]
        head = ["made on", "judged by", "success", "of those that succeeded where they were made"]
        aimed = f", aimed at {target}" if target else ""
        title = f"{attack}, {threat}{aimed}: success on the judge, of its images right before"
        blocks.append(Chart(title, spec, Table(title, head, cells)))
    return Panel("Transfers", 44, blocks) if blocks else None


def _given(context: Context, fact: Fact) -> str:
    keys = ("source", "variant", "attack", "threat", "target")
    return _words.said(context.one("transfer_given_source", **{key: getattr(fact, key) for key in keys}))
