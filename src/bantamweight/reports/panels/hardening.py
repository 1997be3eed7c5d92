"""What training against attack, and compression inside training, did on the way: residuals, cuts, recoveries, cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Cell, Chart, Panel, Table
from bantamweight.reports._charts import lines
from bantamweight.reports._run import Context
from bantamweight.reports._tables import measured

__all__ = ["hardening"]

RESIDUALS = {"epoch_primal_residual": "|W - Z| / |W|", "epoch_dual_residual": "|Z - Z'| / |Z|"}


def hardening(context: Context) -> Panel | None:
    """Residuals and robust validation accuracy by epoch, and a row per training; None where there was none of it."""
    blocks: list[Block] = []
    residuals = [fact for metric in RESIDUALS for fact in context.find(metric) if fact.value is not None]
    if residuals:
        blocks.append(_chart("Residuals of ADMM by epoch", residuals, "residual", kinds=RESIDUALS))
    robust = context.find("epoch_robust_accuracy")
    if robust:
        plain = [fact for fact in context.find("epoch_accuracy", split="val") if fact.variant in _names(robust)]
        kinds = {"epoch_robust_accuracy": "under attack", "epoch_accuracy": "clean"}
        title = "Validation accuracy by epoch"
        blocks.append(_chart(title, [*robust, *plain], "accuracy", kinds=kinds, percent=True))
    table = _table(context)
    blocks += [table] if table else []
    if not blocks:
        return None
    lead = (
        "A residual near zero says that the weights lay in the scheme before they were cut, so the cut cost little. "
        "Steps of recovery are those in which the guard had seen robustness being lost; a setback is an epoch that "
        "exploded and was begun again at half the rate."
    )
    return Panel("Hardening", 22, blocks, lead)


def _names(facts: Sequence[Fact]) -> list[str]:
    return list(dict.fromkeys(fact.variant for fact in facts))


def _chart(title: str, facts: Sequence[Fact], y: str, *, kinds: dict[str, str], percent: bool = False) -> Chart:
    facts = [fact for fact in facts if fact.value is not None]
    rows = [
        {"x": fact.step, "y": fact.value, "n": fact.n, "variant": fact.variant, "of": _kind(fact, kinds)}
        for fact in facts
    ]
    keys = list(dict.fromkeys((fact.variant, _kind(fact, kinds)) for fact in facts))
    cells = {(fact.step, fact.variant, _kind(fact, kinds)): fact for fact in facts}
    steps = sorted({fact.step for fact in facts if fact.step is not None})
    head = ["epoch", *(f"{name}, {kind}" for name, kind in keys)]
    body = [[_words.number(step), *(_words.short(cells.get((step, *key))) for key in keys)] for step in steps]
    spec = lines(rows, x="epoch", y=y, colour="variant", dash="of", percent_y=percent, from_zero=True)
    return Chart(title, spec, Table(title, head, body, _counted(facts)))


def _kind(fact: Fact, kinds: dict[str, str]) -> str:
    """What a line is of, and under what."""
    met = " at ".join(filter(None, (f"{fact.attack} ({fact.note})" if fact.note else fact.attack, fact.threat)))
    return f"under {met}" if met else kinds[fact.metric]


def _counted(facts: Iterable[Fact]) -> str:
    counts = sorted({fact.n for fact in facts if fact.n})
    return f"n = {', '.join(map(_words.whole, counts))} validation images" if counts else ""


def _table(context: Context) -> Table | None:
    """One row per training that had an adversary, a cut inside, or trouble."""
    cuts = {fact.variant: fact for fact in context.find("epoch_accuracy_after_cut")}
    shares = {fact.variant: fact for fact in context.find("attack_share")}
    trouble = [*context.find("epoch_recovering"), *context.find("epoch_setbacks")]
    met = [fact for fact in context.find("epoch_loss", split="train") if fact.threat]
    names = sorted({*cuts, *shares, *_names(met), *_names(trouble)}, key=context.place)
    if not names:
        return None
    rows: list[Sequence[str | Cell]] = []
    for name in names:
        before = context.one("epoch_accuracy_before_cut", variant=name)
        rate = context.one("training_images_per_second", variant=name)
        recovered = sum(fact.value or 0.0 for fact in context.find("epoch_recovering", variant=name))
        setbacks = sum(fact.value or 0.0 for fact in context.find("epoch_setbacks", variant=name))
        share = shares.get(name)
        rows.append(
            [
                name,
                _words.NONE if name not in cuts else _change(before, cuts[name]),
                _words.whole(recovered),
                _words.whole(setbacks),
                _words.NONE if rate is None else _words.number(rate.value),
                _words.NONE if share is None else _words.percent(share.value),
            ]
        )
    head = ["variant", "accuracy around the last cut (val)", "steps of recovery", "setbacks", "images/s", "attack"]
    note = ". ".join(filter(None, (_counted(cuts.values()), measured(shares.values()))))
    return Table("Trainings that had an adversary or a cut inside", head, rows, note)


def _change(before: Fact | None, after: Fact) -> str:
    return f"{_words.NONE if before is None else _words.short(before)} to {_words.short(after)}"
