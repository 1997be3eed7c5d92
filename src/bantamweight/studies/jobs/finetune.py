"""Training after a cut: what was cut stays zero."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bantamweight.facts import Fact
from bantamweight.studies._place import Place
from bantamweight.studies.jobs import train
from bantamweight.studies.jobs.compress import counted
from bantamweight.variants import load

__all__ = ["finetune"]


def finetune(place: Place, *, recipe: dict[str, Any], asked: float, seed: int) -> list[Fact]:
    """Curves, times, and what was cut counted again (`asked` was the cut's, unless the training cuts too); `variant/`,
    `history.json`."""
    cut = place.variant()
    facts = train.fitted(place, replace(cut, name=f"{cut.name}/tuned"), recipe, seed)
    inside = train.asked(recipe)
    return facts + counted(place, load(place.out / "variant"), asked if inside is None else inside)
