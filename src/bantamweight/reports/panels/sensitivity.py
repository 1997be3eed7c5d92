"""Which layers bear a cut, and where the zeros of each cut went."""

from __future__ import annotations

from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Panel, Table
from bantamweight.reports._charts import lines
from bantamweight.reports._run import Context

__all__ = ["sensitivity"]


def sensitivity(context: Context) -> Panel | None:
    """Accuracy with one layer cut alone, and the sparsity each layer has in each variant; None without either."""
    blocks: list[Block] = []
    for name in dict.fromkeys(fact.variant for fact in context.find("sensitivity_accuracy")):
        blocks.append(_layers(context, name))
    for family in context.families:
        table = _achieved(context, family)
        blocks += [table] if table else []
    if not blocks:
        return None
    lead = "Each layer is cut alone, the rest left as trained; fine lines are 95% Wilson intervals."
    return Panel("Layer by layer", 120, blocks, lead if context.find("sensitivity_accuracy") else "")


def _layers(context: Context, name: str) -> Chart:
    facts = [fact for fact in context.find("sensitivity_accuracy", variant=name) if fact.value is not None]
    layers = list(dict.fromkeys(fact.item for fact in facts))
    steps = sorted({fact.step for fact in facts if fact.step is not None})
    cells = {(fact.item, fact.step): fact for fact in facts}
    rows = [
        {"x": fact.step, "y": fact.value, "low": fact.low, "high": fact.high, "n": fact.n, "layer": fact.item}
        for fact in facts
    ]
    spec = lines(
        rows, x="share of this layer's weights cut", y="accuracy", colour="layer", percent_x=True, percent_y=True
    )
    head = ["layer", *(f"{_words.percent(step)} cut" for step in steps)]
    body = [[layer, *(_words.short(cells.get((layer, step))) for step in steps)] for layer in layers]
    note = f"n = {_words.whole(facts[0].n)} {facts[0].split} images in every cell." if facts else ""
    return Chart(f"Accuracy of {name} with one layer cut", spec, Table(f"Layer sensitivity, {name}", head, body, note))


def _achieved(context: Context, family: str) -> Table | None:
    facts = [fact for fact in context.find("layer_sparsity") if context.variety(fact.variant).family == family]
    if not facts:
        return None
    names = list(dict.fromkeys(fact.variant for fact in facts))
    layers = list(dict.fromkeys(fact.item for fact in facts))
    cells = {(fact.item, fact.variant): fact for fact in facts}
    shares = {
        (layer, name): _words.percent(cells[layer, name].value) if (layer, name) in cells else _words.NONE
        for layer in layers
        for name in names
    }
    rows = [[layer, *(shares[layer, name] for name in names)] for layer in layers]
    whole = [context.one("sparsity", variant=name) for name in names]
    asked = [context.one("sparsity_asked", variant=name) for name in names]
    for label, found in (("all layers", whole), ("asked for", asked)):
        if any(found):
            rows.append([label, *(_words.percent(fact.value) if fact else _words.NONE for fact in found)])
    heads = [context.variety(name).form for name in names]
    return Table(f"Zeros in each layer, {family}", ["layer", *heads], rows, folded=False)
