"""Bytes of every file format against sparsity, and what the nets consist of."""

from __future__ import annotations

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Group, Panel, Table
from bantamweight.reports._charts import dots, lines
from bantamweight.reports._run import Context
from bantamweight.reports._tables import pivot

__all__ = ["size"]


def size(context: Context) -> Panel | None:
    """A chart per net, the table of files, the table of counts; None without such facts."""
    blocks: list[Block] = []
    charts = [chart for family in context.families if (chart := _chart(context, family))]
    if charts:
        blocks.append(Group("", charts, side=len(charts) > 1))
    counts = {
        "parameters": "parameters",
        "nonzeros": "of them not zero",
        "macs": "multiply-accumulates",
        "sparsity_asked": "zeros asked",
        "sparsity": "zeros achieved",
    }
    say = {"sparsity_asked", "sparsity"}
    table = pivot(
        context,
        "What each variant consists of",
        {"variant": "variant"},
        counts,
        say=lambda fact: (
            _words.NONE if fact is None else _words.percent(fact.value) if fact.metric in say else _words.bare(fact)
        ),
    )
    blocks += [table] if table else []
    if not blocks:
        return None
    lead = "Exact counts, so they carry no interval. 1 MB is 1,000,000 bytes."
    return Panel("Size", 60, blocks, lead)


def _chart(context: Context, family: str) -> Chart | None:
    facts = [
        fact for fact in context.find("size_bytes") if context.variety(fact.variant).family == family and fact.value
    ]
    if not facts:
        return None
    forms = list(dict.fromkeys(fact.item for fact in facts))
    cells = {(fact.variant, fact.item): fact for fact in reversed(facts)}
    names = list(dict.fromkeys(fact.variant for fact in facts))
    caption = f"File size, {family}"
    table = Table(
        caption, ["variant", *forms], [[name, *(_bytes(cells.get((name, form))) for form in forms)] for name in names]
    )
    zeros = {fact.variant: fact.value for fact in context.find("sparsity")}
    kept: dict[tuple[str, float], dict[str, object]] = {}
    for fact in facts:
        share = zeros.get(fact.variant) or 0.0
        place = (fact.item, share)
        # Where both are there, the tuned one: it is what ships.
        if place not in kept or context.variety(fact.variant).tuned:
            kept[place] = {"x": share, "y": (fact.value or 0.0) / 1e6, "format": fact.item}
    rows = sorted(kept.values(), key=lambda row: (str(row["format"]), str(row["x"])))
    if len({row["x"] for row in rows}) == 1:
        flat = [
            {"x": row["y"], "low": row["y"], "high": row["y"], "format": row["format"], "net": family} for row in rows
        ]
        return Chart(caption, dots(flat, x="MB", y="format", colour="net", from_zero=True), table)
    spec = lines(rows, x="share of zeros", y="MB", colour="format", percent_x=True, from_zero=True)
    return Chart(f"File size against sparsity, {family}", spec, table)


def _bytes(fact: Fact | None) -> str:
    return _words.NONE if fact is None else _words.size(fact.value)
