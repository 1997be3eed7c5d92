"""Precision, recall and F1 of every class."""

from __future__ import annotations

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Fragment, Panel, Table
from bantamweight.reports._charts import dots
from bantamweight.reports._run import Context

__all__ = ["classes"]

METRICS = ("recall", "precision", "f1")
CHARTED = 24


def classes(context: Context) -> Panel | None:
    """A chart for each dense net and the tables of all variants; None without such facts."""
    found: dict[str, dict[tuple[str, str], Fact]] = {}
    for metric in METRICS:
        for fact in context.find(metric, split=context.split):
            found.setdefault(fact.variant, {})[fact.item, metric] = fact
    if not found:
        return None
    blocks: list[Block] = []
    rest: list[Table] = []
    for name in sorted(found, key=context.place):
        table = _table(context, name, found[name])
        if context.variety(name).dense:
            blocks.append(_chart(context, name, found[name], table))
        else:
            rest.append(table)
    if rest:
        source = (
            "{% from 'blocks.html' import table with context %}<details class='data'><summary>Tables of the cut "
            "variants</summary>{% for one in tables %}{{ table(one) }}{% endfor %}</details>"
        )
        blocks.append(Fragment(source, {"tables": rest}))
    lead = (
        f"On {context.split} images. Recall: of a class's images, how many are given it. Precision: of the images "
        "given a class, how many are of it. Where a class was never answered, it has no precision."
    )
    return Panel("Class by class", 50, blocks, lead)


def _chart(context: Context, name: str, cells: dict[tuple[str, str], Fact], table: Table) -> Chart:
    rows = []
    for item in context.classes[:CHARTED]:
        for metric in ("recall", "precision"):
            fact = cells.get((item, metric))
            if fact is not None:
                rows.append(
                    {"x": fact.value, "low": fact.low, "high": fact.high, "n": fact.n, "class": item, "what": metric}
                )
    spec = dots(rows, x="share", y="class", colour="what", percent_x=True)
    note = f"The first {CHARTED} of {len(context.classes)} classes." if len(context.classes) > CHARTED else ""
    return Chart(f"Precision and recall, {name}", spec, table, note)


def _table(context: Context, name: str, cells: dict[tuple[str, str], Fact]) -> Table:
    items = list(dict.fromkeys([*context.classes, *(item for item, _ in cells)]))
    rows = [[item, *(_words.said(cells.get((item, metric))) for metric in METRICS)] for item in items]
    return Table(f"Per class, {name}", ["class", "recall", "precision", "F1"], rows)
