"""What was asked of each cut and what it reached, what was left alone, and what fine-tuning gave back."""

from __future__ import annotations

from typing import Any

from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Panel, Table
from bantamweight.reports._charts import lines
from bantamweight.reports._run import Context

__all__ = ["targets"]


def targets(context: Context) -> Panel | None:
    """Asked against achieved, with MACs; before and after fine-tuning; None where no cut had a target."""
    asked = {fact.variant: fact for fact in context.find("target_asked")}
    if not asked:
        return None
    blocks: list[Block] = [*_reached(context), *_tuned(context)]
    uncut = [[fact.variant, fact.item, fact.note] for fact in context.find("uncut")]
    if uncut:
        blocks.append(Table("Left alone by a cut", ["variant", "group", "why"], uncut, folded=True))
    lead = "A target is met by the largest cut at or below it; what the nearest other cuts would have given is noted."
    return Panel("Asked and achieved", 42, blocks, lead)


def _reached(context: Context) -> list[Block]:
    rows: list[dict[str, Any]] = []
    body = []
    for fact in context.find("target_asked"):
        got = context.one("target_reached", variant=fact.variant, item=fact.item)
        share = context.one("macs_share", variant=fact.variant)
        one = context.variety(fact.variant)
        if got is None:
            continue
        ask, reach = _said(fact.item, fact.value), _said(fact.item, got.value)
        left = _words.NONE if share is None else _words.percent(share.value)
        body.append([fact.variant, f"{fact.item} {ask}", reach, left, got.note or _words.NONE])
        if fact.item in ("sparsity", "macs", "parameters") and one.criterion:
            way = {"net": f"{one.family}, {one.criterion}", "state": fact.item}
            rows.append({"x": fact.value, "y": got.value, **way})
    table = Table("What was asked and what was reached", ["variant", "asked", "reached", "MACs left", "note"], body)
    drawn = [row for row in rows if (row["x"] or 0) <= 1 and (row["y"] or 0) <= 1]
    if len({row["x"] for row in drawn}) < 2:
        return [table]
    drawn.sort(key=lambda row: (str(row["net"]), str(row["state"]), row["x"] or 0.0))
    spec = lines(drawn, x="asked", y="achieved", colour="net", dash="state", percent_x=True, percent_y=True)
    return [Chart("Asked against achieved", spec, table)]


def _said(kind: str, value: float | None) -> str:
    if kind in ("sparsity",) or (kind in ("macs", "parameters") and (value or 0.0) <= 1):
        return _words.percent(value)
    return _words.size(value) if kind == "size_bytes" else _words.number(value)


def _tuned(context: Context) -> list[Block]:
    """Accuracy of each cut before and after its training."""
    accuracy = {fact.variant: fact for fact in context.find("accuracy", split=context.split) if not fact.item}
    body = []
    for one in context.varieties:
        if one.tuned and one.name in accuracy and one.parent in accuracy and not context.variety(one.parent).dense:
            before, after = accuracy[one.parent], accuracy[one.name]
            gain = (after.value or 0.0) - (before.value or 0.0)
            cells = [_words.said(accuracy[one.family]) if one.family in accuracy else _words.NONE]
            body.append([one.parent, *cells, _words.said(before), _words.said(after), f"{100 * gain:+.1f} points"])
    if not body:
        return []
    head = ["cut", "dense", "as cut", "fine-tuned", "given back"]
    return [Table(f"Accuracy before and after fine-tuning, {context.split} images", head, body, folded=True)]
