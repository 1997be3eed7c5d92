"""Adversarial images made on one variant and shown to another."""

from __future__ import annotations

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Group, Panel, Table
from bantamweight.reports._charts import heat
from bantamweight.reports._run import Context

__all__ = ["transfer"]

TITLES = {
    "transfer_success": "of the images the judged one had right",
    "transfer_given_source": "of those that also fooled the source",
}
Cell = tuple[str, str, str]


def transfer(context: Context) -> Panel | None:
    """A heat map per cell, over all and conditional on success at the source; None without transfers."""
    facts = [fact for metric in TITLES for fact in context.find(metric) if fact.value is not None]
    if not facts:
        return None
    blocks: list[Block] = []
    for cell in dict.fromkeys((fact.attack, fact.threat, fact.target) for fact in facts):
        charts = [_chart(context, metric, cell) for metric in TITLES]
        attack, threat, target = cell
        aimed = f", towards {target}" if target not in ("", "none") else ""
        blocks.append(Group(f"{attack}, {threat}{aimed}", [chart for chart in charts if chart], side=True))
    lead = (
        "Columns made the images, rows judge them. The second map leaves out images that failed at home, so a weak "
        "attack is not taken for one that does not carry over. A form judged by itself is the white-box attack."
    )
    return Panel("Transfer", 110, blocks, lead)


def _chart(context: Context, metric: str, cell: Cell) -> Chart | None:
    attack, threat, target = cell
    facts = [
        fact for fact in context.find(metric, attack=attack, threat=threat, target=target) if fact.value is not None
    ]
    if not facts:
        return None
    facts = sorted(facts, key=lambda fact: (context.place(fact.source), context.place(fact.variant)))
    sources = list(dict.fromkeys(fact.source for fact in facts))
    judged = sorted(dict.fromkeys(fact.variant for fact in facts), key=context.place)
    cells = {(fact.source, fact.variant): fact for fact in facts}
    # Few sources are judged by many variants: the many go down, where a phone has room.
    rows = [
        {
            "x": context.label(fact.source),
            "y": context.label(fact.variant),
            "value": fact.value,
            "said": _words.said(fact),
            "n": fact.n,
        }
        for name in judged
        for fact in facts
        if fact.variant == name
    ]
    caption = f"Fooled, {TITLES[metric]}"
    return Chart(
        caption, heat(rows, x="made on", y="judged by", value="fooled"), _table(caption, judged, sources, cells)
    )


def _table(caption: str, judged: list[str], sources: list[str], cells: dict[tuple[str, str], Fact]) -> Table:
    rows = [[name, *(_words.said(cells.get((source, name))) for source in sources)] for name in judged]
    return Table(caption, ["judged by", *(f"made on {source}" for source in sources)], rows)
