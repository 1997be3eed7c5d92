"""Where verdicts come from: which part of a protocol broke what, and what that cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Cell, Chart, Group, Panel, Prose, Table
from bantamweight.reports._charts import stack
from bantamweight.reports._run import Context
from bantamweight.reports._tables import Asked, measured

__all__ = ["cascade"]

STAGES = {"audit": "audit", "escalated": "escalated"}
STANDS, WRONG = "stands", "wrong before"
QUIET = {STANDS: "@good-wash", WRONG: "@rule"}
FIRST = "transferred"
"""The part that comes before all others, where there is a parent."""
METRICS = ("given", "broken", "kills", "forwards", "backwards", "share", "seconds")


def cascade(context: Context) -> Panel | None:
    """Per protocol, threat and target: images by the part that broke them, queries by the part that made them; None
    without protocols."""
    cells: dict[Asked, list[Fact]] = {}
    for fact in context.find("cascade_given"):
        cells.setdefault(Asked.of(fact), []).append(fact)
    if not cells:
        return None
    blocks: list[Block] = []
    for asked, facts in sorted(cells.items(), key=lambda cell: cell[0].place):
        where, said = asked._asdict(), asked.said(cells)
        parts = sorted(dict.fromkeys(_stage(fact.item) for fact in facts), key=lambda name: name != FIRST)
        drawn = _images(context, facts, where, parts), _queries(context, facts, where, parts)
        charts = [chart for chart in drawn if chart]
        table = _table(context, facts, where, f"Part by part, {said}")
        blocks.append(Group(said, [Group("", charts, side=True), table]))
    note = measured(context.find("cascade_seconds"))
    blocks += [Prose(note, "note")] if note else []
    lead = (
        "Parts run in order, each on what those before left standing; an image leaves at its first success. A query "
        'share counts a backward as two forwards. "transferred" tries the parent\'s adversarial images as they are.'
    )
    return Panel("Where verdicts come from", 94, blocks, lead)


def _stage(item: str) -> str:
    """What a chart calls a part: one of the protocol by its name, whatever the target; later stages as a whole."""
    stage, _, name = item.rpartition("/")
    return STAGES.get(stage.partition("/")[0], name)


def _names(facts: Sequence[Fact]) -> list[str]:
    return list(dict.fromkeys(fact.variant for fact in facts))


def _images(context: Context, facts: Sequence[Fact], where: dict[str, Any], parts: Sequence[str]) -> Chart | None:
    rows, body = [], []
    for name in _names(facts):
        before, after = (context.one(metric, variant=name, **where) for metric in ("right_before", "robust_accuracy"))
        counted: dict[str, int] = {}
        for fact in context.find("cascade_broken", variant=name, **where):
            counted[_stage(fact.item)] = counted.get(_stage(fact.item), 0) + (fact.k or 0)
        if before and after and before.n is not None and before.k is not None and after.k is not None:
            counted |= {STANDS: before.k - sum(counted.values()), WRONG: before.n - before.k}
        said = ", ".join(f"{part} {_words.whole(count)}" for part, count in counted.items())
        body.append([name, said, _words.said(after)])
        rows += [{"name": context.label(name), "part": part, "value": count} for part, count in counted.items()]
    if not any(row["value"] for row in rows):
        return None
    title = "Images, by the part that broke them"
    spec = stack(rows, x="images", y="variant", colour="what became of them", parts=parts, quiet=QUIET)
    return Chart(title, spec, Table(title, ["variant", "images", "still right"], body))


def _queries(context: Context, facts: Sequence[Fact], where: dict[str, Any], parts: Sequence[str]) -> Chart | None:
    rows: list[dict[str, Any]] = []
    body = []
    for name in _names(facts):
        shares: dict[str, float] = {}
        for fact in context.find("cascade_share", variant=name, **where):
            shares[_stage(fact.item)] = shares.get(_stage(fact.item), 0.0) + (fact.value or 0.0)
        body.append([name, ", ".join(f"{part} {_words.percent(share)}" for part, share in shares.items())])
        rows += [{"name": context.label(name), "part": part, "value": share} for part, share in shares.items()]
    if not rows:
        return None
    title = "Queries, by the part that made them"
    spec = stack(rows, x="share of F + 2B", y="variant", colour="part", parts=parts, quiet={}, percent_x=True)
    return Chart(title, spec, Table(title, ["variant", "share of F + 2B"], body))


def _table(context: Context, facts: Sequence[Fact], where: dict[str, Any], caption: str) -> Table:
    rows: list[Sequence[str | Cell]] = []
    for fact in sorted(facts, key=lambda one: (context.place(one.variant), one.step or 0.0)):
        cell = {**where, "variant": fact.variant, "item": fact.item, "step": fact.step}
        found = {metric: context.one(f"cascade_{metric}", **cell) for metric in METRICS}
        share, kills = found["share"], found["kills"]
        rows.append(
            [
                fact.variant,
                fact.item,
                _words.whole(fact.value),
                _words.said(found["broken"]),
                _words.percent(kills.value) if kills else _words.NONE,
                *(_words.whole(one.value) if (one := found[key]) else _words.NONE for key in ("forwards", "backwards")),
                _words.percent(share.value) if share else _words.NONE,
                _words.figure(one.value or 0.0) if (one := found["seconds"]) else _words.NONE,
            ]
        )
    heads = ["variant", "part", "given", "broken, of those given", "of all broken", "forwards", "backwards"]
    return Table(caption, [*heads, "share of F + 2B", "seconds (measured)"], rows, folded=True)
