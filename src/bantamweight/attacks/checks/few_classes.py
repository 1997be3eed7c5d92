"""Enough classes for the objectives in use (AutoAttack's flag: DLR needs 3 classes, its targeted form 4)."""

from __future__ import annotations

from bantamweight.attacks.checks._core import Check, Evidence, failed, passed

__all__ = ["few_classes"]

LEVEL = "probe"
DLR = 4


def few_classes(evidence: Evidence) -> Check:
    """At least two classes; below four, attacks on DLR use the margin instead, and that is said. Costs nothing."""
    count = evidence.clean.shape[1]
    if count < 2:
        return failed("few_classes", float(count), f"a model with {count} outputs has no other class to be led to")
    if count < DLR:
        said = f"{count} classes are too few for DLR, so its attacks use the logit margin in its place"
        return passed("few_classes", float(count), said)
    return passed("few_classes", float(count), f"{count} classes are enough for every objective")
