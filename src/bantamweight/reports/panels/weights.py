"""How the weights of each variant are spread."""

from __future__ import annotations

from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Panel, Table
from bantamweight.reports._charts import lines
from bantamweight.reports._run import Context

__all__ = ["weights"]

MOST = 6


def weights(context: Context) -> Panel | None:
    """A chart per net with its forms, of the weights that are not zero; None without histograms."""
    blocks: list[Block] = []
    for family in context.families:
        facts = [
            fact
            for fact in context.find("weight_histogram")
            if context.variety(fact.variant).family == family and fact.step is not None and fact.n
        ]
        names = list(dict.fromkeys(fact.variant for fact in facts))
        if not names:
            continue
        shown = names[:1] + names[1:][-(MOST - 1) :] if len(names) > MOST else names
        rows = [
            {"x": fact.step, "y": (fact.value or 0.0) / (fact.n or 1), "form": context.variety(fact.variant).form}
            for fact in facts
            if fact.variant in shown
        ]
        body = []
        for name in names:
            mine = [fact for fact in facts if fact.variant == name]
            largest = max(abs(fact.step or 0.0) for fact in mine)
            middle = min(mine, key=lambda fact: abs(fact.step or 0.0))
            near = (middle.value or 0.0) / (middle.n or 1)
            body.append([name, _words.whole(mine[0].n), _words.percent(near), _words.number(largest)])
        head = ["variant", "weights that are not zero", "in the bin around zero", "outermost bin at"]
        table = Table(f"Spread of the weights, {family}", head, body)
        spec = lines(rows, x="weight", y="share of the weights that are not zero", colour="form", percent_y=False)
        note = f"{MOST} of {len(names)} forms are drawn." if len(names) > MOST else ""
        blocks.append(Chart(f"Weights of {family}", spec, table, note))
    if not blocks:
        return None
    lead = "Convolutions and linear layers together; the largest 0.1% are counted in the outermost bins."
    return Panel("Weights", 62, blocks, lead)
