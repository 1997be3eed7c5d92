"""What the maps of one variant cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bantamweight.facts import Fact
from bantamweight.recipes.explain_cost import explain_cost as measure
from bantamweight.studies._place import Place, draw, part, split_of
from bantamweight.variants import build

__all__ = ["explain_cost"]


def explain_cost(
    place: Place,
    *,
    explainers: Sequence[dict[str, Any]],
    batches: Sequence[int],
    sizes: Sequence[int],
    runs: int,
    split: str,
) -> list[Fact]:
    """Facts of `recipes.explain_cost`, on images of the split."""
    chosen = split_of(place, split)
    return measure(
        build(place.variant(), trust=place.trust),
        chosen.floats(draw(len(chosen), max(batches))),
        [part(place, "explainers", spec) for spec in explainers],
        batches=batches,
        sizes=sizes or None,
        runs=runs,
        heard=place.tell,
    )
