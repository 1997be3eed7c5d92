"""Accuracy under attack, cell by cell, with the effort and the size of the perturbations."""

from __future__ import annotations

from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Cell, Panel, Table
from bantamweight.reports._run import Context
from bantamweight.reports._tables import measured, pivot, untargeted

__all__ = ["robustness"]

KEYS = {"variant": "variant", "attack": "attack", "threat": "threat", "seed": "seed"}


def robustness(context: Context) -> Panel | None:
    """One row per cell of the attack grid; None without cells."""
    rates = pivot(
        context,
        "Accuracy under attack, over all images of the cell",
        KEYS,
        {"robust_accuracy": "still right", "attack_success": "fooled, of those right before",
         "fooled_overall": "wrong, of all", "survives_8bit": "successes that survive 8-bit rounding"},
        where=untargeted,
    )  # fmt: skip
    if rates is None:
        return None
    effort = pivot(
        context,
        "Effort and confidence",
        KEYS,
        {"iterations_to_success": "queries to success (mean)", "iterations_for_half": "queries until half are fooled",
         "confidence_wrong": "confidence in the wrong class (mean)", "forwards": "forwards per image",
         "backwards": "backwards per image", "attack_seconds": "seconds (measured)"},
        where=untargeted,
        note=measured(context.find("attack_seconds")),
        folded=True,
    )  # fmt: skip
    norms = {
        "perturbation_linf": "Linf",
        "perturbation_l2": "L2",
        "perturbation_l1": "L1",
        "perturbation_l0": "L0 (elements)",
    }
    sizes = pivot(context, "Size of successful perturbations, in pixels of [0, 1] (median)", KEYS, norms,
                  where=untargeted, folded=True)  # fmt: skip
    blocks: list[Block] = [rates, *(table for table in (effort, sizes, _paired(context)) if table)]
    lead = "White-box unless said: the attack sees the gradients of the very variant it attacks. Sizes are measured on the stored images."
    return Panel("Accuracy under attack", 90, blocks, lead.replace("measured on", "taken from"))


def _paired(context: Context) -> Table | None:
    facts = [fact for fact in context.find("robust_accuracy_difference") if untargeted(fact)]
    if not facts:
        return None
    rows = []
    for fact in facts:
        p = fact.p_adjusted if fact.p_adjusted is not None else fact.p
        shown = p is not None and p < 0.05
        rows.append([
            fact.variant, fact.other, f"{fact.attack}, {fact.threat}", _words.said(fact),
            f"{fact.gained} / {fact.lost}", "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}",
            Cell("shown" if shown else "not shown", kind="" if shown else "quiet"),
        ])  # fmt: skip
    head = ["variant", "against", "under", "difference", "gained / lost", "p (Holm)", ""]
    return Table("Compared under attack on the same images (exact McNemar)", head, rows, folded=True)
