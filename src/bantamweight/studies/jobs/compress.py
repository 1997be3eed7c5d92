"""One cut: score, allocate, cut; what was asked and what was achieved."""

from __future__ import annotations

from typing import Any

from bantamweight.compression._core import compress as thin
from bantamweight.facts import Fact
from bantamweight.judging.sparsity import sparsity_facts
from bantamweight.studies._place import Place, part

__all__ = ["compress"]


def compress(place: Place, *, criterion: dict[str, Any], sparsity: float, allocate: str) -> list[Fact]:
    """Facts sparsity_asked, sparsity, layer_sparsity (per tensor); `variant/`."""
    made, achieved = thin(
        place.variant(),
        part(place, "compression", criterion),
        sparsity=sparsity,
        allocate=allocate,
        trust=place.trust,
    )
    place.save(made)
    return sparsity_facts(achieved)
