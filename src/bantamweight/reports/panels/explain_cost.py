"""What maps cost, and what the cost buys."""

from __future__ import annotations

from collections.abc import Sequence

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Cell, Chart, Panel, Table
from bantamweight.reports._charts import lines
from bantamweight.reports._galleries import named
from bantamweight.reports._run import Context
from bantamweight.reports._tables import measured

__all__ = ["explain_cost"]

BOUGHT = {
    "pixel_auc": "pixel AUC",
    "pointing_game": "pointing game",
    "insertion": "insertion",
    "road": "ROAD",
}
"""What a map is good for, the first that was scored being shown; each is better the higher."""


def explain_cost(context: Context) -> Panel | None:
    """Times, passes and memory of every method, and a score against the time; None without costs."""
    facts = context.find("explain_ms")
    if not facts:
        return None
    blocks: list[Block] = []
    for name in dict.fromkeys(fact.variant for fact in facts):
        mine = [fact for fact in facts if fact.variant == name]
        bought = _bought(context, name, mine)
        blocks += [bought] if bought else []
        blocks.append(_costs(context, name, mine))
    lead = (
        "Per image and class. Rows are images that pass through the net, padding to full tiles included; memory is "
        "what tensors hold at most beyond plain inference of the same images."
    )
    return Panel("What maps cost", 146, blocks, lead)


def _costs(context: Context, name: str, facts: Sequence[Fact]) -> Table:
    rows: list[Sequence[str | Cell]] = []
    for fact in sorted(facts, key=lambda one: (one.step or 0.0, one.batch or 0, one.value or 0.0)):
        same = {key: getattr(fact, key) for key in ("variant", "item", "batch", "step")}
        parts = [context.one(f"explain_{part}_ms", **same) for part in ("forward", "backward", "rest")]
        passes = [context.one(f"explain_{part}", **same) for part in ("forwards", "backwards")]
        peak = context.one("explain_peak_bytes", **same)
        rows.append(
            [
                named(fact.item),
                _words.number(fact.step),
                _words.whole(fact.batch),
                _words.short(fact),
                *(_words.NONE if one is None else _words.bare(one) for one in parts),
                *(_words.NONE if one is None else _words.number(one.value) for one in passes),
                _words.NONE if peak is None else _words.size(peak.value),
            ]
        )
    head = ["method", "side", "batch", "time", "forward", "backward", "rest", "rows forward", "rows backward", "memory"]
    return Table(f"Cost of maps, {name}", head, rows, measured(facts))


def _bought(context: Context, name: str, facts: Sequence[Fact]) -> Chart | None:
    """The first score that there is, against the time at the largest batch on the smallest images."""
    batch, side = max(fact.batch or 0 for fact in facts), min(fact.step or 0.0 for fact in facts)
    times = {fact.item: fact for fact in facts if (fact.batch, fact.step) == (batch, side)}
    for metric, title in BOUGHT.items():
        scores = {fact.item: fact for fact in context.find(f"map_{metric}", variant=name) if fact.value is not None}
        both = [item for item in times if item in scores]
        if not both:
            continue
        rows = [
            {
                "x": times[item].value,
                "y": scores[item].value,
                "low": scores[item].low,
                "high": scores[item].high,
                "n": scores[item].n,
                "method": named(item),
            }
            for item in both
        ]
        cells = [[named(item), _words.short(times[item]), _words.said(scores[item])] for item in both]
        caption = f"{title[0].upper()}{title[1:]} against time, {name}"
        table = Table(caption, ["method", f"time, batch {batch}", title], cells)
        spec = lines(rows, x="ms per image", y=title, colour="method")
        return Chart(caption, spec, table, "Up is better, left is cheaper.")
    return None
