"""Success against epsilon, and every attack cell with its n and interval."""

from __future__ import annotations

from typing import Any

from bantamweight.reports import _charts, _words
from bantamweight.reports._blocks import Block, Chart, Group, Panel, Table
from bantamweight.reports._run import Context
from bantamweight.reports._tables import measured, pivot, untargeted

__all__ = ["attacks"]

CELL = {"variant": "variant", "attack": "attack", "threat": "threat", "target": "target", "split": "split"}


def attacks(context: Context) -> Panel | None:
    """What the attacks did to every variant; None without one."""
    facts = context.find("attack_success")
    if not facts:
        return None
    blocks: list[Block] = _curves(context)
    heads = {
        "robust_accuracy": "robust accuracy (all)",
        "attack_success": "success (of those right before)",
        "fooled_overall": "wrong after (all)",
    }
    open_cells = pivot(context, "Any wrong class will do", CELL, heads, where=untargeted)
    blocks += [open_cells] if open_cells else []
    aimed = {"targeted_success": "target reached", "attack_success": "success", "confidence_target": "its confidence"}
    closed = pivot(context, "Aimed at one class", CELL, aimed, where=lambda fact: not untargeted(fact))
    blocks += [Group("Targeted", [closed])] if closed else []
    cost = {
        "iterations_to_success": "queries to success (mean)",
        "iterations_for_half": "queries until half are broken",
        "forwards": "forwards per image",
        "backwards": "backwards per image",
        "confidence_wrong": "confidence of the wrong answer",
        "survives_8bit": "survives rounding to 8 bits",
        "attack_seconds": "seconds",
    }
    note = measured(context.find("attack_seconds"))
    norms = {f"perturbation_{norm}": f"median {norm}" for norm in ("linf", "l2", "l1", "l0")}
    for title, columns, said in (("What it cost", cost, note), ("How large the perturbations are", norms, "")):
        if table := pivot(context, title, CELL, columns, note=said, folded=True):
            blocks.append(table)
    half = {"eps_for_half": "eps at which half are broken"}
    if table := pivot(context, "Smallest budgets, image by image", {"variant": "variant", "attack": "attack"}, half):
        blocks.append(table)
    return Panel("Attacks", 40, blocks)


def _curves(context: Context) -> list[Block]:
    """One chart per attack and norm that was run at several budgets."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for fact in context.find("attack_success"):
        if untargeted(fact) and (budget := _words.eps(fact.threat)) is not None:
            row = {"x": budget, "y": fact.value, "low": fact.low, "high": fact.high, "n": fact.n}
            row |= {"variant": fact.variant, "said": _words.said(fact)}
            groups.setdefault((fact.attack, _words.norm(fact.threat)), []).append(row)
    made: list[Block] = []
    for (attack, norm), rows in groups.items():
        for family in context.families:
            kept = [row for row in rows if context.variety(row["variant"]).family == family]
            if len({row["x"] for row in kept}) < 2:
                continue
            spec = _charts.lines(kept, x="eps", y="success", colour="variant", percent_y=True, from_zero=True)
            cells = [[str(row["variant"]), _words.number(row["x"]), str(row["said"])] for row in kept]
            title = f"{attack} on {family}: success against eps ({norm}), of the images right before"
            made.append(Chart(title, spec, Table(title, ["variant", "eps", "success"], cells)))
    return made
