"""Why verdicts may be believed: what the checks found, and what the audit proves."""

from __future__ import annotations

from collections.abc import Sequence

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Cell, Panel, Prose, Table
from bantamweight.reports._run import Context
from bantamweight.reports._tables import Asked

__all__ = ["checks"]

PASSED, FAILED, ABSENT = "pass", "fail", "did not run"
KINDS = {PASSED: "good", FAILED: "bad", ABSENT: "quiet"}


def checks(context: Context) -> Panel | None:
    """One line per protocol and variant, then every check that failed, then all of them; None without protocols."""
    cells: dict[Asked, list[str]] = {}
    for metric in ("check", "audited", "escalated"):
        for fact in context.find(metric):
            names = cells.setdefault(Asked.of(fact), [])
            names += [fact.variant] if fact.variant not in names else []
    if not cells:
        return None
    ordered = sorted(cells, key=lambda cell: cell.place)
    blocks: list[Block] = [_overview(context, [(cell, name) for cell in ordered for name in cells[cell]])]
    failed = [fact for fact in context.find("check") if _state(fact) == FAILED]
    if failed:
        blocks.append(_listed(context, failed, "Checks that failed", folded=False))
    elif context.find("check"):
        blocks.append(Prose("No check failed."))
    blocks += [_every(context, cell, ordered) for cell in ordered if _of(context, "check", cell)]
    blocks += _missing(context)
    lead = (
        "A check looks for what makes a verdict worthless, on a probe of 32 images; the audit hands a random sample of "
        "survivors to the full reference ensemble. A failed check, or one image broken in the audit, sends everything "
        "that still stands there: that is what escalated means."
    )
    return Panel("Why the verdicts may be believed", 96, blocks, lead)


def _of(context: Context, metric: str, cell: Asked, **columns: str) -> list[Fact]:
    return context.find(metric, **cell._asdict(), **columns)


def _state(fact: Fact) -> str:
    return ABSENT if fact.value is None else PASSED if fact.value else FAILED


def _overview(context: Context, found: Sequence[tuple[Asked, str]]) -> Table:
    among = [cell for cell, _ in found]
    rows: list[Sequence[str | Cell]] = []
    for cell, name in found:
        states = [_state(fact) for fact in _of(context, "check", cell, variant=name)]
        counts = {state: states.count(state) for state in KINDS}
        told = Cell(" / ".join(map(str, counts.values())), kind="bad" if counts[FAILED] else "")
        escalated = next(iter(_of(context, "escalated", cell, variant=name)), None)
        reason = Cell(escalated.note, kind="bad") if escalated and escalated.value else "no"
        rows.append(
            [
                name,
                cell.said(among),
                told if states else _words.NONE,
                _audit(context, cell, name),
                reason,
            ]
        )
    heads = ["variant", "under", "checks passed / failed / not run", "audit", "escalated"]
    return Table("What vouches for each number", heads, rows)


def _audit(context: Context, cell: Asked, name: str) -> str:
    """`broken: 0 of 59; at 95% at most 4.2% of survivors`."""
    audited = next(iter(_of(context, "audited", cell, variant=name)), None)
    if audited is None:
        return "not asked for"
    broken = next(iter(_of(context, "audit_broken", cell, variant=name)), None)
    bound = next(iter(_of(context, "audit_bound", cell, variant=name)), None)
    if broken is None or bound is None:
        return "nothing was left to audit"
    said = f"broken: {_words.whole(broken.k)} of {_words.whole(broken.n)}"
    if bound.value == broken.value:
        return f"{said}, all survivors"
    return f"{said}; at 95% at most {_words.percent(bound.value)} of survivors"


def _every(context: Context, cell: Asked, among: Sequence[Asked]) -> Table:
    """The checks that ran."""
    ran = [fact for fact in _of(context, "check", cell) if _state(fact) != ABSENT]
    return _listed(context, ran, f"Every check that ran, {cell.said(among)}", folded=True, under=False)


def _listed(context: Context, facts: Sequence[Fact], caption: str, *, folded: bool, under: bool = True) -> Table:
    rows: list[Sequence[str | Cell]] = []
    among = [Asked.of(fact) for fact in facts]
    for fact in facts:
        cell = Asked.of(fact)
        figure = next(iter(_of(context, "check_figure", cell, variant=fact.variant, item=fact.item)), None)
        state = _state(fact)
        told = _words.figure(figure.value) if figure and figure.value is not None else _words.NONE
        where = [cell.said(among)] if under else []
        rows.append([fact.variant, *where, fact.item, Cell(state, kind=KINDS[state]), told, fact.note])
    heads = ["variant", *(["under"] if under else []), "check", "state", "figure", "what it says"]
    return Table(caption, heads, rows, folded=folded)


def _missing(context: Context) -> list[Block]:
    """Which checks did not run, by reason."""
    reasons: dict[str, dict[str, None]] = {}
    for fact in context.find("check"):
        if _state(fact) == ABSENT:
            reasons.setdefault(fact.note, {})[fact.item] = None
    return [Prose(f"Did not run: {', '.join(names)} ({why}).", "note") for why, names in reasons.items()]
