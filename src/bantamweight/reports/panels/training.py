"""Curves of loss and accuracy over the epochs, and what each training cost."""

from __future__ import annotations

from typing import Any

from bantamweight.reports import _charts
from bantamweight.reports._blocks import Block, Chart, Group, Panel, Table
from bantamweight.reports._run import Context
from bantamweight.reports._tables import measured, pivot

__all__ = ["training"]

CURVES = {"epoch_loss": "Loss", "epoch_accuracy": "Accuracy"}


def training(context: Context) -> Panel | None:
    """Loss and accuracy per epoch of every net trained from scratch; the cost of every training."""
    names = [one.name for one in context.varieties if one.dense and context.find("epoch_loss", variant=one.name)]
    if not names:
        return None
    blocks: list[Block] = []
    for name in names:
        charts = [chart for metric, title in CURVES.items() if (chart := _curve(context, name, metric, title))]
        blocks.append(Group(name, charts, side=True))
    heads = {"training_seconds": "seconds", "epochs": "epochs", "best_epoch": "best epoch"}
    note = measured(context.find("training_seconds"))
    table = pivot(context, "What each training took", {"variant": "variant", "seed": "seed"}, heads, note=note)
    return Panel("Training", 20, [*blocks, *([table] if table else [])])


def _curve(context: Context, name: str, metric: str, title: str) -> Chart | None:
    facts = context.find(metric, variant=name)
    if not facts:
        return None
    rows: list[dict[str, Any]] = [{"x": fact.step, "y": fact.value, "split": fact.split} for fact in facts]
    share = metric == "epoch_accuracy"
    spec = _charts.lines(rows, x="epoch", y=title.lower(), colour="split", percent_y=share)
    splits = list(dict.fromkeys(fact.split for fact in facts))
    epochs = sorted({fact.step for fact in facts if fact.step is not None})
    values = {(fact.split, fact.step): fact.value for fact in facts}
    cells = [[f"{epoch:g}", *(_short(values.get((split, epoch)), share) for split in splits)] for epoch in epochs]
    return Chart(f"{title} of {name}", spec, Table(f"{title} of {name}", ["epoch", *splits], cells, folded=True))


def _short(value: float | None, share: bool) -> str:
    if value is None:
        return "unknown"
    return f"{100 * value:.1f}%" if share else f"{value:.3f}"
