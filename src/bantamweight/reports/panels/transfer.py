"""Adversarial images made on one variant and shown to another."""

from __future__ import annotations

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Group, Panel, Table
from bantamweight.reports._charts import heat
from bantamweight.reports._run import Context
from bantamweight.reports._tables import pivot

__all__ = ["transfer"]

TITLES = {
    "transfer_success": "of the images the judged one had right",
    "transfer_given_source": "of those that also fooled the source",
}
Cell = tuple[str, str, str]


def transfer(context: Context) -> Panel | None:
    """A heat map per cell, over all and conditional on success at the source, and what warm starts broke; None
    without any of it."""
    facts = [fact for metric in TITLES for fact in context.find(metric) if fact.value is not None]
    warm = _warm(context)
    if not facts and warm is None:
        return None
    blocks: list[Block] = []
    for cell in dict.fromkeys((fact.attack, fact.threat, fact.target) for fact in facts):
        charts = [_chart(context, metric, cell) for metric in TITLES]
        attack, threat, target = cell
        aimed = f", towards {target}" if target not in ("", "none") else ""
        blocks.append(Group(f"{attack}, {threat}{aimed}", [chart for chart in charts if chart], side=True))
    blocks += [warm] if warm else []
    lead = (
        "Columns made the images, rows judge them. The second map leaves out images that failed at home, so a weak "
        "attack is not taken for one that does not carry over. A form judged by itself is the white-box attack. "
        "Under each share stands its 95% Wilson interval."
    )
    return Panel("Transfer", 110, blocks, lead)


def _chart(context: Context, metric: str, cell: Cell) -> Chart | None:
    attack, threat, target = cell
    facts = [
        fact for fact in context.find(metric, attack=attack, threat=threat, target=target) if fact.value is not None
    ]
    if not facts:
        return None
    if metric == "transfer_success":
        facts += _home(context, cell, {fact.source for fact in facts})
    facts = sorted(facts, key=lambda fact: (context.place(fact.source), context.place(fact.variant)))
    sources = list(dict.fromkeys(fact.source for fact in facts))
    judged = sorted(dict.fromkeys(fact.variant for fact in facts), key=context.place)
    cells = {(fact.source, fact.variant): fact for fact in facts}
    # Few sources are judged by many variants: the many go down, where a phone has room.
    order = {"across": [context.label(name) for name in sources], "down": [context.label(name) for name in judged]}
    rows = [
        {
            "x": context.label(fact.source),
            "y": context.label(fact.variant),
            "value": fact.value,
            "said": _words.said(fact),
            "interval": _ends(fact),
        }
        for name in judged
        for fact in facts
        if fact.variant == name
    ]
    caption = f"Fooled, {TITLES[metric]}"
    return Chart(
        caption,
        heat(rows, x="made on", y="judged by", value="fooled", **order),
        _table(caption, judged, sources, cells),
    )


def _home(context: Context, cell: Cell, sources: set[str]) -> list[Fact]:
    """What the same attack did to each source itself: the diagonal."""
    attack, threat, target = cell
    metric = "attack_success" if target in ("", "none") else "targeted_success"
    found = context.find(metric, attack=attack, threat=threat, target=target, source="")
    chosen = {fact.variant: fact for fact in reversed(found) if fact.variant in sources and fact.value is not None}
    return [fact.model_copy(update={"source": fact.variant}) for fact in chosen.values()]


def _ends(fact: Fact) -> str:
    """An interval as short as a cell of the map needs it: `66-72`."""
    if fact.low is None or fact.high is None:
        return ""
    return f"{100 * fact.low:.0f}\N{EN DASH}{100 * fact.high:.0f}"


def _warm(context: Context) -> Table | None:
    """Images of a parent as the start of an attack on what was made from it."""
    return pivot(
        context,
        "Warm starts: broken by the parent's adversarial images as they are, before any query of its own",
        {"variant": "variant", "source": "parent", "attack": "protocol", "threat": "threat", "target": "target"},
        {"warm_start_broken": "broken, of those attacked"},
    )


def _table(caption: str, judged: list[str], sources: list[str], cells: dict[tuple[str, str], Fact]) -> Table:
    rows = [[name, *(_words.said(cells.get((source, name))) for source in sources)] for name in judged]
    return Table(caption, ["judged by", *(f"made on {source}" for source in sources)], rows)
