"""Accuracy under attack, cell by cell, with the effort and the size of the perturbations."""

from __future__ import annotations

from bantamweight.facts import Fact
from bantamweight.reports._blocks import Block, Panel
from bantamweight.reports._run import Context
from bantamweight.reports._tables import measured, paired, pivot, untargeted

__all__ = ["robustness"]

KEYS = {"variant": "variant", "attack": "attack", "threat": "threat", "seed": "seed"}


def robustness(context: Context) -> Panel | None:
    """One row per cell of the attack grid; None without cells."""
    rates = pivot(
        context,
        "Accuracy under attack, over all images of the cell",
        KEYS,
        {
            "robust_accuracy": "still right",
            "attack_success": "fooled, of those right before",
            "fooled_overall": "wrong, of all",
            "survives_8bit": "successes that survive 8-bit rounding",
        },
        where=_bounded,
    )
    if rates is None:
        return None
    effort = pivot(
        context,
        "Effort and confidence",
        KEYS,
        {
            "iterations_to_success": "queries to success (mean)",
            "iterations_for_half": "queries until half are fooled",
            "confidence_wrong": "confidence in the wrong class (mean)",
            "forwards": "forwards per image",
            "backwards": "backwards per image",
            "attack_seconds": "seconds (measured)",
        },
        where=_bounded,
        note=measured(context.find("attack_seconds")),
        folded=True,
    )
    norms = {
        "perturbation_linf": "Linf",
        "perturbation_l2": "L2",
        "perturbation_l1": "L1",
        "perturbation_l0": "L0 (pixels)",
    }
    sizes = pivot(
        context,
        "Size of successful perturbations, in pixels of [0, 1] (median)",
        KEYS,
        norms,
        where=untargeted,
        folded=True,
    )
    pairs = [fact for fact in context.find("robust_accuracy_difference") if untargeted(fact)]
    compared = paired(pairs, "Compared under attack on the same images (exact McNemar, Holm-adjusted)")
    blocks: list[Block] = [rates, *(table for table in (effort, sizes, compared) if table)]
    lead = (
        "White-box: each attack sees the gradients of the very variant it attacks. Every success was confirmed on the "
        "stored image, and sizes are taken from it."
    )
    return Panel("Accuracy under attack", 90, blocks, lead)


def _bounded(fact: Fact) -> bool:
    """Whether a fact is of an untargeted attack within a budget; smallest perturbations have a panel of their own."""
    return untargeted(fact) and not fact.threat.endswith(" unbounded")
