"""How far the maps may be trusted: scores beside maps that know nothing, and who fails the check of the parameters."""

from __future__ import annotations

from collections.abc import Sequence

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Cell, Chart, Group, Panel, Prose, Table
from bantamweight.reports._charts import lines
from bantamweight.reports._galleries import FAILS, marks, named
from bantamweight.reports._run import Context

__all__ = ["trust"]

BASELINES = ("random_map", "centre_gaussian", "edge_map")
METRICS = {
    "mprt": "parameters, lower",
    "deletion": "deletion, lower",
    "insertion": "insertion, higher",
    "road": "ROAD, higher",
    "faithfulness_correlation": "faithfulness, higher",
    "pointing_game": "pointing game, higher",
    "iou": "IoU, higher",
    "pixel_auc": "pixel AUC, higher",
    "localisation_error": "localisation error, lower",
    "max_sensitivity": "max-sensitivity, lower",
    "stability": "stability, lower",
    "sparseness": "sparseness",
    "complexity": "complexity",
}


def trust(context: Context) -> Panel | None:
    """A table of scores per variant, what they allow one to say, and the layers of the check; None without scores."""
    names = list(dict.fromkeys(fact.variant for metric in METRICS for fact in context.find(f"map_{metric}")))
    if not names:
        return None
    blocks: list[Block] = []
    for name in sorted(names, key=context.place):
        inner: list[Block] = [_scores(context, name)]
        inner += [Prose(sentence) for sentence in _sentences(context, name)]
        gains = _gains(context, name)
        layers = _layers(context, name)
        inner += [block for block in (gains, layers) if block]
        blocks.append(Group(name, inner))
    lead = (
        "Means over images with 95% intervals. A score means something only beside maps that know nothing of the "
        "model; a method that keeps its maps when the parameters are re-initialised shows nothing that was learned."
    )
    return Panel("How far the maps may be trusted", 142, blocks, lead)


def _scores(context: Context, name: str) -> Table:
    there = [metric for metric in METRICS if context.find(f"map_{metric}", variant=name)]
    cells = {(fact.item, metric): fact for metric in there for fact in context.find(f"map_{metric}", variant=name)}
    methods = list(dict.fromkeys(method for method, _ in cells))
    mark = marks(context)
    rows: list[Sequence[str | Cell]] = []
    for method in sorted(methods, key=BASELINES.__contains__):
        said = mark.get((name, method), "")
        kind = "quiet" if method in BASELINES else "bad" if said == FAILS else ""
        tag = "knows nothing" if method in BASELINES else said
        rows.append([Cell(named(method), tag, kind), *(_words.short(cells.get((method, metric))) for metric in there)])
    counts = sorted({fact.n for fact in cells.values() if fact.n is not None})
    said = _words.whole(counts[-1]) if counts else "0"
    fewer = "; fewer where a map or an object is missing" if len(counts) > 1 else ""
    return Table(f"Scores of maps, {name}", ["method", *(METRICS[one] for one in there)], rows, f"n = {said}{fewer}.")


def _sentences(context: Context, name: str) -> list[str]:
    for job in context.jobs("score", variant=name):
        said = job.json("scores.json")
        if isinstance(said, dict) and isinstance(said.get("sentences"), list):
            return [str(sentence) for sentence in said["sentences"]]
    return []


def _gains(context: Context, name: str) -> Table | None:
    facts = [fact for metric in METRICS for fact in context.find(f"map_{metric}_gain", variant=name)]
    if not facts:
        return None
    rows: list[Sequence[str | Cell]] = [
        [
            named(fact.item),
            METRICS[fact.metric.removeprefix("map_").removesuffix("_gain")].partition(",")[0],
            named(fact.against),
            _words.said(fact),
            _words.p_value(fact),
            _verdict(fact),
        ]
        for fact in facts
    ]
    head = ["method", "score", "against", "better by", "p (Holm)", "difference is"]
    return Table(f"Against maps that know nothing, {name}", head, rows, "Paired by image; positive is better.", True)


def _verdict(fact: Fact) -> Cell:
    shown = fact.p_adjusted is not None and fact.p_adjusted < 0.05
    return Cell("shown" if shown else "not shown", kind="" if shown else "quiet")


def _layers(context: Context, name: str) -> Chart | None:
    facts = [
        fact
        for fact in context.find("map_mprt_curve", variant=name)
        if fact.value is not None and fact.item not in BASELINES
    ]
    if not facts:
        return None
    rows = [{"x": fact.step, "y": fact.value, "method": named(fact.item), "n": fact.n} for fact in facts]
    stops = list(dict.fromkeys((fact.step, fact.against) for fact in facts))
    cells = {(fact.item, fact.step): fact for fact in facts}
    methods = list(dict.fromkeys(fact.item for fact in facts))
    body = [
        [f"{_words.number(step)}: down to {layer}", *(_words.short(cells.get((one, step))) for one in methods)]
        for step, layer in stops
    ]
    table = Table(f"Check of the parameters, {name}", ["re-initialised", *(named(one) for one in methods)], body)
    spec = lines(rows, x="layers re-initialised, from the top", y="rank correlation", colour="method")
    return Chart(f"Maps of {name} as its layers are re-initialised from the top down", spec, table)
