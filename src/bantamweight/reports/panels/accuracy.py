"""Accuracy against sparsity, as cut and after fine-tuning."""

from __future__ import annotations

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Panel
from bantamweight.reports._charts import dots, lines
from bantamweight.reports._run import Context
from bantamweight.reports._tables import paired, pivot

__all__ = ["accuracy"]


def accuracy(context: Context) -> Panel | None:
    """A chart with intervals, the table of all splits, and the paired comparisons; None without accuracies."""
    facts = [fact for fact in context.find("accuracy", split=context.split) if not fact.item and fact.value is not None]
    if not facts:
        return None
    blocks: list[Block] = [_chart(context, facts)]
    keys = {"variant": "variant", "split": "split"}
    every = pivot(
        context, "Accuracy on every split", keys, {"accuracy": "accuracy", "f1_macro": "macro F1"}, folded=True
    )
    blocks += [every] if every else []
    recovered = pivot(
        context,
        "Recovered by fine-tuning: accuracy over that of the dense net, same images",
        {"variant": "variant", "split": "split"},
        {"recovery_rate": "tuned over dense"},
        where=lambda fact: fact.split == context.split,
    )
    blocks += [recovered] if recovered else []
    pairs = [fact for fact in context.find("accuracy_difference") if fact.split in ("", context.split)]
    compared = paired(pairs, "Compared on the same images (exact McNemar, Holm-adjusted)")
    blocks += [compared] if compared else []
    n = facts[0].n
    lead = f"On {_words.whole(n)} {context.split} images; bars are 95% Wilson intervals." if n else ""
    return Panel("Accuracy and sparsity", 30, blocks, lead)


def _chart(context: Context, facts: list[Fact]) -> Chart:
    caption = f"Accuracy on {context.split} images"
    cut = [fact for fact in facts if context.variety(fact.variant).sparsity is not None]
    table = pivot(
        context,
        caption,
        {"variant": "variant"},
        {"accuracy": "accuracy", "sparsity": "zeros achieved"},
        where=lambda fact: fact.metric == "sparsity" or fact.split == context.split,
    )
    assert table is not None
    if not cut:
        rows = [
            _row(fact, 0.0) | {"x": fact.value, "variant": context.label(fact.variant), "what": "accuracy"}
            for fact in facts
        ]
        return Chart(caption, dots(rows, x="accuracy", y="variant", colour="what", percent_x=True), table)
    # A net may be cut while it is trained: what was asked there comes before what its block says.
    asked = {fact.variant: fact.value for fact in context.find("sparsity_asked") if fact.value}
    rows = []
    for fact in facts:
        one = context.variety(fact.variant)
        gone = asked.get(fact.variant, one.sparsity)
        if one.sparsity is None and not one.dense:  # a budget in bytes or milliseconds has no place on this axis
            continue
        if not one.dense:
            state = "fine-tuned" if one.tuned else "as cut"
            rows.append(_row(fact, gone) | {"net": _net(context, fact.variant), "state": state})
            continue
        # A dense net is where each of its lines starts.
        states = dict.fromkeys(
            (_net(context, other.name), "fine-tuned" if other.tuned else "as cut")
            for other in context.varieties
            if other.family == one.family and other.sparsity is not None
        )
        starts = list(states) or [(one.name, "as cut")]
        rows += [_row(fact, gone or 0.0) | {"net": net, "state": state} for net, state in starts]
    rows.sort(key=lambda row: (row["net"], row["state"], row["x"]))
    spec = lines(rows, x="share asked to go", y="accuracy", colour="net", dash="state", percent_x=True, percent_y=True)
    return Chart("Accuracy against sparsity", spec, table)


def _net(context: Context, variant: str) -> str:
    """The net, and the criterion where the run has several."""
    one = context.variety(variant)
    criteria = {other.criterion for other in context.varieties if other.criterion}
    return f"{one.family}, {one.criterion}" if len(criteria) > 1 and one.criterion else one.family


def _row(fact: Fact, x: float | None) -> dict[str, object]:
    return {"x": x, "y": fact.value, "low": fact.low, "high": fact.high, "n": fact.n}
