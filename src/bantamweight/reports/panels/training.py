"""Loss and accuracy by epoch, and what training cost."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Group, Panel, Table
from bantamweight.reports._charts import lines
from bantamweight.reports._run import Context
from bantamweight.reports._tables import measured, pivot

__all__ = ["training"]

CURVES = {"epoch_loss": "Loss", "epoch_accuracy": "Accuracy"}


def training(context: Context) -> Panel | None:
    """Curves of each dense net, of a net's fine-tunings together, and a table of costs; None without any."""
    if not (context.find("epoch_loss") or context.find("training_seconds")):
        return None
    blocks: list[Block] = []
    trained = list(dict.fromkeys(fact.variant for fact in context.find("epoch_loss")))
    blocks += [Group(name, _curves(context, [name]), side=True) for name in trained if context.variety(name).dense]
    for family in context.families:
        tuned = [name for name in trained if context.variety(name).family == family and not context.variety(name).dense]
        if tuned:
            blocks.append(Group(f"Fine-tuning of {family}", _curves(context, tuned), side=True))
    costs = {"training_seconds": "time in all (measured)", "epochs": "epochs", "best_epoch": "best epoch"}
    keys = {"variant": "variant", "seed": "seed"}
    table = pivot(context, "What training cost", keys, costs)
    if table:
        rows = [[*row, _per_epoch(context, str(row[0]))] for row in table.rows]
        note = measured(context.find("training_seconds"))
        blocks.append(Table(table.caption, [*table.head, "median epoch (measured)"], rows, note))
    return Panel("Training", 20, blocks)


def _curves(context: Context, names: Sequence[str]) -> list[Block]:
    blocks: list[Block] = []
    one = len(names) == 1 and context.variety(names[0]).dense
    what = names[0] if one else f"fine-tuning of {context.variety(names[0]).family}"
    for metric, title in CURVES.items():
        facts = [fact for name in names for fact in context.find(metric, variant=name) if fact.value is not None]
        if not facts:
            continue
        # Intervals on every epoch of every line would hide the lines; the table has them.
        rows = [
            {
                "x": fact.step,
                "y": fact.value,
                "n": fact.n,
                "variant": context.variety(fact.variant).form,
                "split": _seen(fact),
            }
            for fact in facts
        ]
        share = metric == "epoch_accuracy"
        colour, dash = ("split", "") if one else ("variant", "split")
        spec = lines(rows, x="epoch", y=title.lower(), colour=colour, dash=dash, percent_y=share, from_zero=not share)
        caption = f"{title} by epoch, {what}"
        blocks.append(Chart(caption, spec, _table(caption, facts, one)))
    return blocks


def _table(caption: str, facts: Sequence[Fact], one: bool) -> Table:
    """Epochs down, splits (and variants) across."""
    keys = list(dict.fromkeys((fact.variant, _seen(fact)) for fact in facts))
    cells = {(fact.step, fact.variant, _seen(fact)): fact for fact in facts}
    steps = sorted({fact.step for fact in facts if fact.step is not None})
    heads = [split if one else f"{variant}, {split}" for variant, split in keys]
    rows = [[_words.number(step), *(_words.short(cells.get((step, *key))) for key in keys)] for step in steps]
    counts = {fact.split: fact.n for fact in facts if fact.n}
    note = ", ".join(f"n = {_words.whole(n)} {split} images" for split, n in counts.items())
    return Table(caption, ["epoch", *heads], rows, note)


def _seen(fact: Fact) -> str:
    """The split, and under what it was seen: an adversary's loss and accuracy are not those on clean images."""
    return f"{fact.split}, {fact.attack} at {fact.threat}" if fact.threat else fact.split


def _per_epoch(context: Context, variant: str) -> str:
    """Over the rows of one split; the others repeat it."""
    found = [fact for fact in context.find("epoch_seconds", variant=variant) if fact.value is not None]
    seconds = [fact.value or 0.0 for fact in found if fact.split == found[0].split]
    return f"{_words.number(median(seconds))} s" if seconds else _words.NONE
