"""What is left against the work that is left: accuracy, under attack, distances, latency and bytes over MACs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Group, Panel, Prose, Table
from bantamweight.reports._charts import lines
from bantamweight.reports._run import Context
from bantamweight.reports._tables import untargeted

__all__ = ["work"]

NORMS = ("linf", "l2", "l1", "l0")
MOST = 4


def work(context: Context) -> Panel | None:
    """Lines over achieved MACs, as a share of the dense net's, and what neighbours on a line say of over-pruning.

    None unless two variants of one net have different MACs.
    """
    shares = _shares(context)
    if len({round(share, 6) for share in shares.values()}) < 2:
        return None
    blocks: list[Block] = [*_verdicts(context)]
    facts = [fact for fact in context.find("accuracy", split=context.split) if not fact.item]
    blocks += _drawn(context, shares, f"Accuracy on {context.split} images", facts, "accuracy", percent=True)
    for (attack, threat), found in _cells(context).items():
        blocks += _drawn(context, shares, f"Accuracy under {attack}, {threat}", found, "still right", percent=True)
    for attack, threat in dict.fromkeys((fact.attack, fact.threat) for fact in context.find("distance_l2")):
        charts: list[Block] = []
        for norm in NORMS:
            found = context.find(f"distance_{norm}", attack=attack, threat=threat)
            charts += _drawn(context, shares, f"Median {norm} distance", found, f"{norm} distance")
        title = f"{attack}, {_words.norm(threat)}: the smallest perturbation found, over all images"
        blocks += [Group(title, charts, side=True)] if charts else []
    timed = context.find("latency_ms", batch=1)
    for runtime in dict.fromkeys(fact.runtime for fact in timed):
        found = [fact for fact in timed if fact.runtime == runtime]
        blocks += _drawn(context, shares, f"One image on {runtime}", found, "milliseconds")
    blocks += _drawn(
        context, shares, "The smallest file", _smallest(context), "MB", value=lambda fact: (fact.value or 0.0) / 1e6
    )
    lead = (
        "Achieved multiply-accumulates, as a share of the dense net's, on every axis: what was asked is in the next "
        "section. A line starts at the control that was trained on without a cut, where there is one, else at the net."
    )
    return Panel("What is left of the work", 32, blocks, lead)


def _shares(context: Context) -> dict[str, float]:
    """MACs of each variant over its dense net's."""
    counts = {fact.variant: fact.value for fact in context.find("macs")}
    shares = {fact.variant: fact.value or 0.0 for fact in context.find("macs_share")}
    for one in context.varieties:
        mine, whole = counts.get(one.name), counts.get(one.family)
        if one.dense:
            shares[one.name] = 1.0
        elif one.name not in shares and mine and whole:
            shares[one.name] = mine / whole
    return shares


def _verdicts(context: Context) -> list[Block]:
    """One sentence per line and reading of over-pruning."""
    said = []
    for fact in context.find("over_pruning"):
        under = f" under {fact.attack}, {_words.norm(fact.threat)}" if fact.attack else ""
        seed = f", seed {fact.seed}" if fact.seed else ""
        found = "over-pruning is shown" if fact.value else "no over-pruning is shown"
        said.append([f"{fact.variant}, {fact.against}", f"{fact.item}{under}{seed}", found, fact.note])
    if not said:
        return []
    whole = sum(bool(fact.value) for fact in context.find("over_pruning"))
    head = ["line", "reading", "answer", "why"]
    text = (
        f"Over-pruning (more asked, and yet more MACs, a better accuracy or a larger distance): shown in {whole} of "
        f"{_words.plural(len(said), 'reading')} of lines of cuts, each step tested on the same images."
    )
    return [Prose(text), Table("Does anything rise where less is left?", head, said, folded=True)]


def _cells(context: Context) -> dict[tuple[str, str], list[Fact]]:
    """Robust accuracies told apart by attack and threat, those on most variants first, a few of them."""
    found: dict[tuple[str, str], list[Fact]] = {}
    for fact in context.find("robust_accuracy"):
        if untargeted(fact) and not fact.source and fact.value is not None:
            found.setdefault((fact.attack, fact.threat), []).append(fact)
    most = sorted(found, key=lambda cell: -len({fact.variant for fact in found[cell]}))
    return {cell: found[cell] for cell in most[:MOST]}


def _smallest(context: Context) -> list[Fact]:
    found: dict[str, Fact] = {}
    for fact in context.find("size_bytes"):
        if fact.value and (fact.variant not in found or fact.value < (found[fact.variant].value or 0.0)):
            found[fact.variant] = fact
    return list(found.values())


def _drawn(
    context: Context,
    shares: dict[str, float],
    title: str,
    facts: Iterable[Fact],
    name: str,
    *,
    percent: bool = False,
    value: Callable[[Fact], float | None] = lambda fact: fact.value,
) -> list[Block]:
    """A chart with its table; nothing where fewer than two points lie on any line."""
    known = {fact.variant: fact for fact in reversed(list(facts)) if fact.variant in shares}
    rows: list[dict[str, Any]] = []
    for variant, fact in known.items():
        one, y = context.variety(variant), value(fact)
        if y is None:
            continue
        point = {"x": shares[variant], "y": y, "low": fact.low, "high": fact.high, "n": fact.n}
        if value(fact) != fact.value:
            point |= {"low": None, "high": None}
        if one.dense:
            rows += [point | line for line in _lines_of(context, variant, known)]
        else:
            rows.append(point | _line(context, variant))
    rows.sort(key=lambda row: (row["net"], row["state"], row["x"]))
    if len({(row["net"], row["x"]) for row in rows}) < 2:
        return []
    body: Sequence[Sequence[str]] = [
        [name_, _words.percent(shares[name_]), _words.said(known[name_])] for name_ in sorted(known, key=context.place)
    ]
    spec = lines(rows, x="share of MACs left", y=name, colour="net", dash="state", percent_x=True, percent_y=percent)
    return [Chart(title, spec, Table(title, ["variant", "MACs left", name], body))]


def _line(context: Context, variant: str) -> dict[str, str]:
    one = context.variety(variant)
    criteria = {other.criterion for other in context.varieties if other.criterion}
    net = f"{one.family}, {one.criterion}" if len(criteria) > 1 and one.criterion else one.family
    return {"net": net, "state": "fine-tuned" if one.tuned else "as cut"}


def _lines_of(context: Context, dense: str, known: dict[str, Fact]) -> list[dict[str, str]]:
    """The lines that start at a dense net: those of its cuts that have no control trained as they were."""
    mine = [one for one in context.varieties if one.family == dense and not one.dense and one.name in known]
    controlled = [_line(context, one.name) for one in mine if one.sparsity == 0]
    starts = [line for one in mine if (line := _line(context, one.name)) not in controlled]
    return [line for at, line in enumerate(starts) if line not in starts[:at]]
