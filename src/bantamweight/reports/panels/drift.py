"""Did the gaze move: by how much the net is cut, and by how much the image is attacked, over the method's own noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Cell, Chart, Panel, Table
from bantamweight.reports._charts import lines
from bantamweight.reports._galleries import named
from bantamweight.reports._run import Context

__all__ = ["drift"]

MEASURES = {
    "rank": "1 - rank correlation",
    "top": "1 - IoU of the top 20%",
    "centre": "shift of the centre, diagonals",
    "ssim": "1 - SSIM",
}


def drift(context: Context) -> Panel | None:
    """Drift over sparsity and over eps with its noise floor, and the tests; None where no drift was asked for."""
    facts = context.find("drift_rank")
    if not facts:
        return None
    blocks: list[Block] = []
    for family in context.families:
        mine = [fact for fact in facts if context.variety(fact.variant).family == family]
        blocks += [
            chart
            for chart in (
                _by_sparsity(context, family, [fact for fact in mine if fact.against == "dense"]),
                _by_eps(context, family, [fact for fact in mine if fact.against == "attacked"]),
            )
            if chart
        ]
    blocks.append(_tests(context))
    lead = (
        "Distance between maps of the same class, against how far the method's own maps move when the image changes by "
        "less than a file can store (and, where it draws, when its seed changes). Only what is above that is movement."
    )
    return Panel("Did the gaze move", 144, blocks, lead)


def _by_sparsity(context: Context, family: str, facts: Sequence[Fact]) -> Chart | None:
    rows = []
    for fact in facts:
        variety = context.variety(fact.variant)
        if variety.sparsity is not None and fact.value is not None:
            how = f"{variety.criterion}{', fine-tuned' if variety.tuned else ''}"
            rows += _pair(context, fact, variety.sparsity, named(fact.item), how)
    title = f"Drift of the gaze from the dense net by sparsity, {family}"
    return _chart(title, "weights cut", rows, percent=True)


def _by_eps(context: Context, family: str, facts: Sequence[Fact]) -> Chart | None:
    rows = []
    for fact in facts:
        size = _words.eps(fact.threat)
        if size is not None and fact.value is not None and context.variety(fact.variant).dense:
            rows += _pair(context, fact, size, named(fact.item), f"{fact.attack}, {_words.norm(fact.threat)}")
    return _chart(f"Drift of the gaze under attack by eps, {family}", "eps", rows, percent=False)


def _pair(context: Context, fact: Fact, x: float, method: str, how: str) -> list[dict[str, Any]]:
    """A point and the floor under it."""
    keys = ("variant", "item", "against", "attack", "threat", "target", "seed")
    floor = context.one("drift_rank_floor", **{key: getattr(fact, key) for key in keys})
    made = []
    for label, one in ((how, fact), ("noise floor", floor)):
        if one is not None and one.value is not None:
            made.append(
                {"x": x, "y": one.value, "low": one.low, "high": one.high, "n": one.n, "method": method, "of": label}
            )
    return made


def _chart(title: str, x: str, rows: Sequence[dict[str, Any]], *, percent: bool) -> Chart | None:
    if not rows:
        return None
    body = [
        [
            _words.percent(row["x"]) if percent else _words.number(row["x"]),
            row["method"],
            row["of"],
            f"{_words.figure(row['y'])}{_ends(row)}, n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{_words.whole(row['n'])}",
        ]
        for row in sorted(rows, key=lambda row: (row["x"], row["method"], row["of"]))
    ]
    table = Table(title, [x, "method", "", MEASURES["rank"]], body)
    spec = lines(rows, x=x, y=MEASURES["rank"], colour="method", dash="of", percent_x=percent, from_zero=True)
    return Chart(title, spec, table, "0 is unmoved, 1 unrelated, 2 reversed.")


def _ends(row: dict[str, Any]) -> str:
    if row["low"] is None or row["high"] is None:
        return ""
    return f" [{_words.figure(row['low'])}, {_words.figure(row['high'])}]"


def _tests(context: Context) -> Table:
    rows: list[Sequence[str | Cell]] = []
    for flag in context.find("gaze_moved"):
        keys = ("variant", "item", "against", "attack", "threat", "target", "seed")
        same = {key: getattr(flag, key) for key in keys}
        cells = [_against(context, measure, same) for measure in MEASURES]
        by = "the cut" if flag.against == "dense" else f"{flag.attack}, {flag.threat}"
        moved = Cell("moved", kind="bad") if flag.value else Cell("not shown to move", kind="quiet")
        rows.append([flag.variant, named(flag.item), by, *cells, _words.whole(flag.n), moved])
    head = ["variant", "method", "by", *MEASURES.values(), "n", "the gaze"]
    note = (
        "Each cell: mean distance / noise floor; * where images exceed their own floor (Wilcoxon, one-sided, p < 0.05 "
        "after Holm). The verdict is that of the rank correlation."
    )
    return Table("Drift against the noise floor", head, rows, note)


def _against(context: Context, measure: str, same: dict[str, Any]) -> str:
    own, floor = (context.one(f"drift_{measure}{tail}", **same) for tail in ("", "_floor"))
    if own is None or own.value is None or floor is None or floor.value is None:
        return _words.NONE
    above = own.p_adjusted is not None and own.p_adjusted < 0.05 and own.value > floor.value
    return f"{_words.figure(own.value)} / {_words.figure(floor.value)}{' *' if above else ''}"
