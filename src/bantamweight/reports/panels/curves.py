"""Accuracy under attack as the budget grows, with interval bands and the line of chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Group, Panel, Table
from bantamweight.reports._charts import lines
from bantamweight.reports._run import Context
from bantamweight.reports._tables import pivot, untargeted

__all__ = ["curves"]

Point = tuple[float, Fact]


def curves(context: Context) -> Panel | None:
    """Robust accuracy against eps of every variant, per attack and norm, and the distances behind it; None where no
    attack was made at two budgets or more, nor a minimum-norm attack."""
    blocks: list[Block] = []
    for (attack, norm), facts in _swept(context).items():
        charts = [_chart(context, attack, norm, family, _points(context, facts)) for family in context.families]
        blocks.append(Group(f"{attack}, {norm}", [chart for chart in charts if chart], side=True))
    found: dict[tuple[str, str], list[Fact]] = {}
    for fact in context.find("accuracy_at_eps"):
        if fact.step is not None:
            found.setdefault((fact.attack, fact.threat), []).append(fact)
    for (attack, threat), facts in found.items():
        points = [(fact.step or 0.0, fact) for fact in facts]
        charts = [_chart(context, attack, _words.norm(threat), family, points) for family in context.families]
        title = f"{attack}, {_words.norm(threat)}: from the smallest perturbation of each image"
        blocks.append(Group(title, [chart for chart in charts if chart], side=True))
    table = _distances(context)
    blocks += [table] if table else []
    if not blocks:
        return None
    chance = f" The dashed line is chance, 1 in {len(context.classes)}." if len(context.classes) > 1 else ""
    lead = (
        "The share of all images still right when each may be changed by eps; bands are 95% Wilson intervals. A curve "
        f"that stays above chance at any budget would mean that the attack failed.{chance}"
    )
    return Panel("Accuracy against eps", 92, blocks, lead)


def _swept(context: Context) -> dict[tuple[str, str], list[Fact]]:
    """Untargeted robust accuracy of attacks that were made at two budgets or more."""
    found: dict[tuple[str, str], list[Fact]] = {}
    for fact in context.find("robust_accuracy"):
        if untargeted(fact) and not fact.source and fact.value is not None and _words.eps(fact.threat) is not None:
            found.setdefault((fact.attack, _words.norm(fact.threat)), []).append(fact)
    return {line: facts for line, facts in found.items() if len({fact.threat for fact in facts}) > 1}


def _points(context: Context, facts: Sequence[Fact]) -> list[Point]:
    """Each fact at its budget, and what was right before any change at 0."""
    points = [(_words.eps(fact.threat) or 0.0, fact) for fact in facts]
    for fact in {fact.variant: fact for fact in reversed(facts)}.values():
        cell = {"variant": fact.variant, "attack": fact.attack, "threat": fact.threat, "target": fact.target}
        before = context.one("right_before", **cell)
        points += [(0.0, before)] if before else []
    return sorted(points, key=lambda point: (context.place(point[1].variant), point[0]))


def _chart(context: Context, attack: str, norm: str, family: str, points: Sequence[Point]) -> Chart | None:
    mine = [(eps, fact) for eps, fact in points if context.variety(fact.variant).family == family]
    if not mine:
        return None
    rows: list[dict[str, Any]] = []
    for eps, fact in mine:
        one = context.variety(fact.variant)
        shade = "as trained" if one.sparsity is None else f"{one.criterion or 'cut'} {100 * one.sparsity:g}%"
        state = "fine-tuned" if one.tuned else "as trained or cut"
        rows.append({"x": eps, "y": fact.value, "low": fact.low, "high": fact.high, "n": fact.n, "cut": shade})
        rows[-1]["state"] = state
    caption = f"Still right, {family}, {attack}, {norm}"
    body = [[fact.variant, _words.figure(eps, 4), _words.said(fact)] for eps, fact in mine]
    dash = "state" if len({row["state"] for row in rows}) > 1 else ""
    chance = 1 / len(context.classes) if len(context.classes) > 1 else None
    spec = lines(
        rows,
        x=f"eps ({norm})",
        y="still right",
        colour="cut",
        dash=dash,
        percent_y=True,
        from_zero=True,
        band=True,
        level=chance,
    )
    return Chart(f"Still right, {family}", spec, Table(caption, ["variant", "eps", "still right, of all"], body))


def _distances(context: Context) -> Table | None:
    """Medians in every norm, the budgets that matter, and what is left of it in 8 bits."""
    return pivot(
        context,
        "The smallest perturbation found for each image (medians; an image that was wrong before needs 0)",
        {"variant": "variant", "attack": "attack", "threat": "sought in", "seed": "seed"},
        {
            "distance_linf": "Linf",
            "distance_l2": "L2",
            "distance_l1": "L1",
            "distance_l0": "L0 (pixels)",
            "eps_for_half": "eps that half fall to",
            "eps_for_chance": "eps to below chance",
            "iterations_for_half": "queries until half are fooled",
            "survives_8bit": "successes that survive 8-bit rounding",
        },
        where=lambda fact: untargeted(fact) and fact.threat.endswith(" unbounded"),
        note="Every norm is measured on the same images, those that are smallest in the norm that was sought.",
    )
